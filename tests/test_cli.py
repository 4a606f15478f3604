"""The command line: its messages, its files and its errors."""

import csv
import json

import numpy as np
import pytest

import gruvlike as gl
from gruvlike import cli
from gruvlike.cli import _console, _session
from gruvlike.models._audio_model import FORMAT_VERSION
from gruvlike.recipes import Recipe

SMALL = ["--steps", "5", "--validation", "0.3", "--preview-every", "0"]
TRAIN = ["--recipe", "paper", "--block-size", "100", "--units", "8", *SMALL]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with music, the corpus, the model and the seed that the commands made of it."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "music").mkdir()
    for k in range(2):
        gl.audio.write(folder / f"music/{k}.wav", gl.tune.compose(4, 8000, random_seed=k), 8000)
    gl.audio.write(folder / "seed.wav", gl.tune.compose(1, 16_000, random_seed=9), 16_000)
    assert cli.main(["prepare", f"{folder}/music", f"{folder}/music.h5", "--sample-rate", "8000"]) == 0
    assert cli.main(["train", f"{folder}/music.h5", f"{folder}/run", *TRAIN, "--epochs", "2"]) == 0
    return folder


def fails(capsys, arguments, *says):
    """Runs a command that must end with exit code 2 and one line."""
    capsys.readouterr()
    assert cli.main([str(word) for word in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("gruvlike: error: ")
    assert sum(line.startswith("gruvlike: error") for line in lines) == 1
    for text in says:
        assert text in lines[-1]


def test_generate_writes_a_song(work, capsys):
    song = work / "song.wav"
    assert cli.main(["generate", f"{work}/run", f"{work}/seed.wav", str(song), "--seconds", "1.5"]) == 0
    samples = gl.audio.read(song, 8000)
    assert samples.shape == (12_000,)
    assert np.abs(samples).max() > 0
    assert "song.wav: 1.5 s at 8000 Hz" in capsys.readouterr().out


def test_generate_options(work):
    words = ["generate", f"{work}/run", f"{work}/seed.wav", f"{work}/more.wav", "--seconds", "0.5"]
    assert cli.main([*words, "--include-seed", "--history", "3", "--clips", "2"]) == 0
    assert not (work / "more.wav").exists()
    assert [gl.audio.read(work / f"more-{k}.wav", 8000).size for k in (1, 2)] == [12_000, 12_000]


@pytest.fixture(scope="module")
def drawing(tmp_path_factory):
    """A folder with music, and a run that the default recipe made of it, but for sizes."""
    folder = tmp_path_factory.mktemp("drawing")
    gl.audio.write(folder / "tune.wav", gl.tune.compose(20, 8000), 8000)
    assert cli.main(["prepare", f"{folder}/tune.wav", f"{folder}/music.h5", "--sample-rate", "8000"]) == 0
    sizes = ["--units", "8", "--frame-size", "256", "--encoder-hop", "128", "--normalizer-components", "6"]
    words = ["train", f"{folder}/music.h5", f"{folder}/run", *sizes, *SMALL, "--head-components", "2", "--epochs", "2"]
    assert cli.main(words) == 0
    gl.audio.write(folder / "seed.wav", gl.tune.compose(6, 8000, random_seed=0), 8000)
    return folder


def songs(drawing, name, *more):
    words = ["generate", f"{drawing}/run", f"{drawing}/seed.wav", f"{drawing}/{name}.wav", "--seconds", "1"]
    assert cli.main([*words, *more]) == 0
    return [gl.audio.read(path, 8000) for path in sorted(drawing.glob(f"{name}*.wav"))]


def test_without_options_a_run_draws_and_reads_the_beat(drawing):
    model = gl.load(drawing / "run/newest.keras")
    assert isinstance(model.head, gl.heads.Mixture)
    assert [condition.name for condition in gl.conditions.conditions_of(model.stack)] == ["clock", "lags", "anchor"]
    recipe = Recipe.from_file(drawing / "run")
    assert (recipe.minutes, recipe.decay, recipe.epochs, recipe.split["validation"]) == (5, True, 2, 0.3)


def test_songs_of_one_seed_differ(drawing):
    first, second = songs(drawing, "two", "--clips", "2")
    (other,) = songs(drawing, "other", "--random-seed", "4")
    assert all(np.abs(one - two).max() > 0.001 for one, two in ((first, second), (first, other), (second, other)))


def test_takes_are_ranked_and_written_with_a_table(drawing, capsys):
    written = songs(drawing, "best", "--takes", "4", "--keep", "2", "--random-seed", "3", "--match-level")
    assert len(written) == 2
    with open(drawing / "best-takes.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    assert sorted(int(row["take"]) for row in rows) == [0, 1, 2, 3]
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 4]
    distances = [float(row["distance"]) for row in rows]
    assert distances == sorted(distances)
    assert {row["random_seed"] for row in rows} == {"3"}
    assert [row["file"] for row in rows] == [
        f"best-take-{rows[0]['take']}.wav",
        f"best-take-{rows[1]['take']}.wav",
        "",
        "",
    ]
    assert f"4 takes, the best is number {rows[0]['take']}" in capsys.readouterr().out
    (again,) = songs(drawing, "again", "--take", rows[1]["take"], "--random-seed", "3", "--match-level")
    np.testing.assert_array_equal(again, gl.audio.read(drawing / rows[1]["file"], 8000))


def test_takes_with_their_seed(drawing):
    (whole,) = songs(drawing, "whole", "--takes", "2", "--keep", "1", "--include-seed")
    seed = gl.audio.read(drawing / "seed.wav", 8000, high_pass_hz=20)
    assert len(whole) == len(seed) + 8000
    np.testing.assert_allclose(whole[:8000], seed[:8000], atol=1e-3)


def test_takes_never_replace_files_unless_told(drawing, capsys):
    (drawing / "kept-take-1.wav").write_bytes(b"mine")
    words = ["generate", drawing / "run", drawing / "seed.wav", drawing / "kept.wav", "--seconds", "1", "--takes", "2"]
    fails(capsys, words, "kept-take-1.wav", "exists")
    assert (drawing / "kept-take-1.wav").read_bytes() == b"mine"
    assert not (drawing / "kept-takes.csv").exists()


def test_options_of_a_song_reach_the_generator(drawing, monkeypatch):
    given = []
    monkeypatch.setattr(gl.Generator, "extend", lambda _, seed, **options: given.append(options) or np.zeros(8000))
    words = "--temperature 0.5 --leash 0 --choices 2 --random-seed 7 --bpm 120 --pad-seed --take 3 --match-level"
    words += " --style 0=a:b:0.7,rock:0.3 --style 20.5=rock"
    for name, more in (("plain", ""), ("asked", words)):
        songs(drawing, name, *more.split())
    names = ("temperature", "leash", "choices", "random_seed", "bpm", "pad_seed", "take", "match_level", "style")
    usual, asked = (tuple(options[name] for name in names) for options in given)
    assert usual == (None, None, None, None, None, False, 0, False, None)
    style = [(0.0, {"a:b": 0.7, "rock": 0.3}), (20.5, {"rock": 1.0})]
    assert asked == (0.5, 0, 2, 7, 120, True, 3, True, style)


def test_a_song_of_grains(drawing, work, capsys):
    (rebuilt,), (grains,) = songs(drawing, "rebuilt"), songs(drawing, "grains", "--grains", f"{drawing}/music.h5")
    assert grains.shape == rebuilt.shape
    assert np.abs(grains - rebuilt).max() > 0.001
    words = ["generate", f"{drawing}/run", f"{drawing}/seed.wav", f"{drawing}/no.wav", "--grains"]
    gl.Corpus.build(drawing / "tune.wav", drawing / "other.h5", sample_rate=4000)
    fails(capsys, [*words, f"{drawing}/other.h5"], "other.h5", "4000 Hz", "8000 Hz")
    fails(capsys, [*words, f"{drawing}/none.h5"], "none.h5")
    words = ["generate", f"{work}/run", f"{work}/seed.wav", f"{work}/no.wav", "--grains"]
    fails(capsys, [*words, f"{drawing}/music.h5"], "LogSpectrum", "BlockDFT")


def test_a_seed_that_is_too_short_says_how_to_pad_it(drawing, capsys):
    gl.audio.write(drawing / "short.wav", gl.tune.compose(3, 8000), 8000)
    words = ["generate", drawing / "run", drawing / "short.wav", drawing / "x.wav", "--bpm", "120"]
    fails(capsys, words, "A seed must reach back", "--pad-seed")


def test_a_style_for_a_network_without_styles(drawing, capsys):
    words = ["generate", drawing / "run", drawing / "seed.wav", drawing / "x.wav"]
    fails(capsys, [*words, "--style", "jazz"], "a network that reads one style", "--style folder")


def test_a_temperature_for_a_network_that_draws_nothing(work, capsys):
    words = ["generate", work / "run", work / "seed.wav", work / "x.wav"]
    fails(capsys, [*words, "--temperature", "0.5"], "heads that draw")
    assert not list(work.glob("x*"))


def test_info(work, capsys):
    assert cli.main(["info", f"{work}/music.h5"]) == 0
    corpus = capsys.readouterr().out
    assert "corpus, format 2" in corpus
    assert "8000 Hz" in corpus
    assert "0:08" in corpus
    assert cli.main(["info", f"{work}/run"]) == 0
    model = capsys.readouterr().out
    assert f"model, format {FORMAT_VERSION}" in model
    assert "BlockDFT(block_size=100)" in model
    assert "LSTM(8)" in model
    assert "12.5 ms" in model


def test_measure_prints_a_table(work, tmp_path, capsys):
    gl.audio.write(tmp_path / "song.wav", gl.tune.compose(5, 8000, random_seed=5), 8000)
    gl.audio.write(tmp_path / "real.wav", gl.tune.compose(10, 8000), 8000)
    assert cli.main(["measure", f"{tmp_path}/song.wav", "--reference", f"{tmp_path}/real.wav", "--hop", "500"]) == 0
    assert "tick_ratio" in capsys.readouterr().out
    fails(capsys, ["measure", work / "nothing.wav", "--reference", work / "music", "--hop", "500"])
    measure = ["measure", f"{tmp_path}/song.wav", "--reference", f"{tmp_path}/real.wav", "--hop", "500"]
    assert cli.main([*measure, "--seed", f"{tmp_path}/real.wav", "--bpm", "120"]) == 0
    assert "own_rhythm" in capsys.readouterr().out
    fails(capsys, [*measure, "--seed", f"{tmp_path}/real.wav", "--bpm", "0"], "bpm")


def test_info_of_a_model_on_a_corpus(work, capsys):
    words = ["info", f"{work}/run", "--corpus", f"{work}/music.h5"]
    said = {}
    for name, more in (("of the run", []), ("asked for", ["--steps", "7", "--batch-size", "4"])):
        assert cli.main([*words, *more]) == 0
        lines = capsys.readouterr().out.splitlines()
        said[name] = {line[:22].strip(): line[22:].strip() for line in lines} | {"sizes": lines[10]}
    model, corpus = gl.load(work / "run/best.keras"), gl.Corpus(work / "music.h5")
    for name, (steps, size) in (("of the run", (5, 5)), ("asked for", (7, 4))):
        rows = said[name]
        assert rows["sizes"].split(maxsplit=1) == ["windows", f"{steps} steps, {size} in a batch"]
        assert rows["parameters"] == f"{model.stack.count_params():,}"
        assert rows["windows an epoch"] == f"{corpus.windows(model.encoder, steps=steps).count:,}"
        assert rows["context"] == f"{steps * 100 / 8000:.1f} s"
        assert "free (estimate)" in rows["memory in training"]
    fails(capsys, ["info", work / "music.h5", "--corpus", work / "music.h5"], "goes with a model")


def test_a_summary_stands_at_the_end_and_in_the_folder(work, capsys):
    """Here of the same run again: it is that of the whole run."""
    assert cli.main(["train", f"{work}/music.h5", f"{work}/run", *TRAIN, "--epochs", "2"]) == 0
    out = capsys.readouterr().out
    text = (work / "run/summary.txt").read_text()
    assert out.endswith(f"{text}model: {work}/run/best.keras\n")
    rows = [json.loads(line) for line in (work / "run/history.jsonl").read_text().splitlines()]
    baselines = json.loads((work / "run/config.json").read_text())["baselines"]
    best = min(rows, key=lambda row: row["val_loss"])
    assert f"validation loss {best['val_relative_loss']:.3f} after epoch {best['epoch'] + 1} (1 = " in text
    assert f"predicting the mean 1.000, repeating the last frame {baselines['repeat']:.3f}, linear" in text


def test_music_is_set_aside_for_a_test(work, capsys):
    assert cli.main(["train", f"{work}/music.h5", f"{work}/tested", *TRAIN, "--test", "0.2", "--epochs", "1"]) == 0
    parts = json.loads((work / "tested/config.json").read_text())["parts"]
    for one in range(2):
        train, held_out, test = (parts[name][one] for name in ("train", "validation", "test"))
        assert train["stop"] <= held_out["start"] < held_out["stop"] <= test["start"] < test["stop"]
        assert test["stop"] - test["start"] == pytest.approx(0.2 * 32_000, rel=0.2)
    words = ["train", work / "music.h5", work / "x", *TRAIN, "--validation", "0", "--test", "0.2"]
    fails(capsys, words, "needs music for validation")


def test_too_little_is_held_out(work, capsys):
    words = ["train", work / "music.h5", work / "x", *TRAIN, "--validation", "0.01"]
    fails(capsys, words, "held out for validation is too short. No window of steps=5 fits", "Or hold out more.")
    assert not (work / "x").exists()


def test_a_loss_that_is_no_number_ends_with_2(work, capsys):
    words = ["train", work / "music.h5", work / "broken", *TRAIN, "--optimizer", "sgd", "--learning-rate", "1e38"]
    fails(capsys, [*words, "--epochs", "3"], "The loss became ", " in epoch 1, batch ")
    assert all(np.isfinite(w).all() for w in gl.load(work / "broken/newest.keras").get_weights())


def test_progress_tells_the_free_running_loss(capsys):
    progress = _session.ProgressLine(None)
    losses = {"relative_loss": 0.5, "val_relative_loss": 0.6}
    for epoch, loss in enumerate((np.nan, 1.25, np.nan)):
        progress._next = 0
        progress.on_epoch_end(epoch, losses | {"val_free_running_1": 0.1, "val_free_running_10": loss})
    first, *others = capsys.readouterr().out.splitlines()
    assert first.endswith("training loss 0.500  validation loss 0.600")
    assert all(line.endswith("loss 0.600  free-running loss 1.250 at frame 10 (epoch 2)") for line in others)
    assert len(others) == 2


def test_the_config_of_a_run_is_a_recipe_that_repeats_it(work, tmp_path):
    recipe = Recipe.from_file(work / "run/config.json")
    assert (recipe.network["units"], recipe.windows["steps"], recipe.epochs) == ((8,), 5, 2)
    config = ["--recipe", f"{work}/run", "--preview-every", "0"]
    for name, more in (("again", []), ("other", ["--random-seed", "1"])):
        assert cli.main(["train", f"{work}/music.h5", f"{tmp_path}/{name}", *config, *more]) == 0
    paths = (folder / "newest.keras" for folder in (work / "run", tmp_path / "again", tmp_path / "other"))
    first, again, other = (gl.load(path).stack.get_weights() for path in paths)
    assert all(np.array_equal(x, y) for x, y in zip(first, again, strict=True))
    assert not all(np.array_equal(x, y) for x, y in zip(first, other, strict=True))


def test_what_exists_is_not_overwritten_unasked(work, capsys):
    before = {name: (work / name).read_bytes() for name in ("music.h5", "run/newest.keras", "seed.wav")}
    fails(capsys, ["prepare", work / "music", work / "music.h5"], "exists", "--overwrite")
    fails(capsys, ["train", work / "music.h5", work / "run", *TRAIN, "--units", "9"], "network", "was 8 and is 9")
    fails(capsys, ["generate", work / "run", work / "seed.wav", work / "seed.wav"], "exists")
    assert {name: (work / name).read_bytes() for name in before} == before


def test_overwrite(work, tmp_path):
    target = tmp_path / "song.wav"
    target.write_bytes(b"old")
    words = ["generate", f"{work}/run", f"{work}/seed.wav", str(target), "--seconds", "0.5", "--overwrite"]
    assert cli.main(words) == 0
    assert gl.audio.read(target, 8000).size == 4000


@pytest.mark.parametrize("name", ["no\nsuch", "música 🎵"])
def test_bad_paths(work, capsys, name):
    fails(capsys, ["prepare", work / name, work / "x.h5"])
    fails(capsys, ["prepare", work / "music", work / name / "x.h5"], "no folder")
    fails(capsys, ["train", work / name, work / "x"])
    fails(capsys, ["generate", work / name, work / "seed.wav", work / "x.wav"], "no file")
    fails(capsys, ["info", work / name], "no file")
    assert not list(work.glob("x*"))


def test_bad_files_and_numbers(work, capsys):
    fails(capsys, ["info", work / "seed.wav"])
    fails(capsys, ["generate", work / "music.h5", work / "seed.wav", work / "x.wav"], "HDF5")
    fails(capsys, ["train", work / "seed.wav", work / "x"])
    fails(capsys, ["train", work / "music.h5", work / "x.keras"], "A run is a folder")
    fails(capsys, ["train", work / "music.h5", work / "x", *TRAIN, "--block-size", "100000"], "No window")
    assert not list(work.glob("x*"))


def test_a_song_that_cannot_be_written_is_refused_before_it_is_made(work, capsys, monkeypatch):
    monkeypatch.setattr(gl.Generator, "extend", lambda *_, **__: pytest.fail("the song was made"))
    fails(capsys, ["generate", work / "run", work / "seed.wav", work / "x.xyz"], "x.xyz", "suffix")
    model = gl.load(work / "run/newest.keras")
    gl.AudioModel(model.encoder, model.normalizer, model.stack, sample_rate=22_050).save(work / "fast.keras")
    words = ["generate", work / "fast.keras", work / "seed.wav", work / "x.opus"]
    fails(capsys, words, "must be one of 8000", "22050", "Write a .wav")
    assert not list(work.glob("x.*"))


@pytest.mark.parametrize(
    "words", [[], ["sing"], ["train", "a.h5", "b", "--unit"], ["generate", "a", "b", "c", "--history=x"]]
)
def test_bad_words_end_with_2(words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gruvlike: error: ")


@pytest.mark.parametrize("command", ["prepare", "train", "generate", "measure", "info", "doctor"])
def test_help_has_an_example_that_can_be_parsed(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    words = text.rpartition("Example: gruvlike ")[2].split()
    assert cli.parser().parse_args(words).command is not None


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"gruvlike {gl.__version__}\n"


def test_ctrl_c_says_what_is_left(capsys):
    def interrupted(*message):
        raise KeyboardInterrupt(*message)

    assert _console.run(interrupted, "Nothing was written.") == 130
    assert capsys.readouterr().err == "gruvlike: interrupted. Nothing was written.\n"
    assert _console.run(lambda: interrupted("The model is in x."), "Nothing was written.") == 130
    assert capsys.readouterr().err == "gruvlike: interrupted. The model is in x.\n"
