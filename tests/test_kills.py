"""A model that is being saved, or a song that is being made and written, when the process is killed."""

import keras
import pytest
from _corpora import killed

import gruvlike as gl

pytestmark = pytest.mark.programs

RATE = 8000

# The model that a kill left is loaded before the next one is saved: it is whole.
SAVE = """
import keras, zipfile
first = open("model.keras", "rb").read()
def begin():
    global model
    model = gl.load("model.keras")
def prepare():
    open("model.keras", "wb").write(first)
def work():
    for _ in range({times}):
        model.save("model.keras")
def check(was_killed):
    names = os.listdir(".")
    with zipfile.ZipFile("model.keras") as archive:
        assert archive.testzip() is None
        assert {{"config.json", "model.weights.h5"}} <= set(archive.namelist())
    if was_killed:
        assert all(name.endswith(".gruvlike-tmp") for name in names if name != "model.keras"), names
    else:
        assert names == ["model.keras"], names
"""

# The command has its network compiled before it begins, so that kills hit the song and its file.
GENERATE = """
import keras, gruvlike.generation
from gruvlike import cli
from gruvlike.cli import generate
words = ["generate", "model.keras", "seed.wav", "song.flac", "--overwrite", "--seconds", "{seconds}"]
def begin():
    generator = gl.Generator(gl.load("model.keras"))
    generator.extend("seed.wav", seconds=1.0)
    generate._generator = lambda *_: generator
def prepare():
    open("song.flac", "wb").write(bytes(1000))
def work():
    for _ in range({times}):
        assert not cli.main(words)
def check(was_killed):
    kept = {{"model.keras", "seed.wav", "song.flac"}}
    left = set(os.listdir(".")) - kept
    earlier = os.path.getsize("song.flac") == 1000
    if was_killed:
        assert all(name.endswith(".gruvlike-tmp") for name in left), left
    else:
        assert not left and not earlier, left
    assert earlier or len(gl.audio.read("song.flac", 8000)) == {seconds} * 8000
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with a small model of long blocks, so that a song is made quickly and its file is large."""
    encoder = gl.TimeBlocks(2000)
    normalizer = gl.GlobalScale().fit(gl.tune.compose(1, RATE), encoder)
    stack = keras.Sequential([keras.Input((None, 2000)), keras.layers.Dense(4), keras.layers.Dense(2000)])
    model = gl.AudioModel(encoder, normalizer, stack, RATE)
    model.compile("sgd")
    model.save(tmp_path / "model.keras")
    return tmp_path


@pytest.mark.parametrize(("trials", "times"), [(1, 10), pytest.param(20, 40, marks=pytest.mark.slow)])
def test_a_killed_save_leaves_the_earlier_model_or_the_new_one(folder, trials, times):
    killed(SAVE.format(times=times), trials, folder)


@pytest.mark.parametrize(
    ("trials", "times", "seconds"), [(1, 1, 300), pytest.param(20, 2, 1800, marks=pytest.mark.slow)]
)
def test_a_killed_song_leaves_the_earlier_one_or_the_new_one(folder, trials, times, seconds):
    gl.audio.write(folder / "seed.wav", gl.tune.compose(2, RATE), RATE)
    killed(GENERATE.format(times=times, seconds=seconds), trials, folder)
