"""Model files of earlier formats: they load, and sing what they sang."""

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import gruvlike as gl

pytestmark = pytest.mark.backends

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def generator():
    return gl.Generator(gl.load(DATA / "model_format_1.keras"))


@pytest.fixture(scope="module")
def songs():
    return np.load(DATA / "model_format_1_songs.npz")


def test_the_file_is_of_format_1():
    with zipfile.ZipFile(DATA / "model_format_1.keras") as archive:
        assert json.loads(archive.read("config.json"))["config"]["format_version"] == 1


@pytest.mark.parametrize("name", ["carry", "full", "window", "clips"])
def test_a_model_of_format_1_sings_the_same_samples(generator, songs, name):
    """To the last bit on TensorFlow, on a processor of the kind that made the files; elsewhere to rounding."""
    seed, other = songs["seed"], songs["other_seed"]
    calls = {
        "carry": lambda: generator.extend(seed, seconds=0.2),
        "full": lambda: generator.extend(seed, steps=20, history="full"),
        "window": lambda: generator.extend(seed, steps=20, history=5),
        "clips": lambda: generator.extend([seed, other], steps=40),
    }
    song = calls[name]()
    np.testing.assert_allclose(song, songs[name], atol=1e-4)
    if keras.backend.backend() == "tensorflow" and str(songs["machine"]) == machine():
        np.testing.assert_array_equal(song, songs[name])
    assert not np.allclose(songs["full"], songs["window"], atol=1e-2)  # the control: these songs differ


def machine():
    """The processor and the TensorFlow that decide the last bit."""
    import tensorflow as tf

    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line for line in lines if line.startswith("flags")), "") + tf.__version__


def test_it_keeps_its_options_and_becomes_a_file_of_format_2(generator, songs, tmp_path):
    model = gl.load(DATA / "model_format_1.keras")
    assert (model.scheduled_sampling, model.sampling_updates, model.rollout_steps) == (0.1, 50, 2)
    assert isinstance(model.head, gl.heads.Point)
    model.save(tmp_path / "new.keras")
    with zipfile.ZipFile(tmp_path / "new.keras") as archive:
        config = json.loads(archive.read("config.json"))["config"]
    assert config["format_version"] == 2
    assert config["head"]["registered_name"] == "gruvlike>Point"
    song = gl.Generator(gl.load(tmp_path / "new.keras")).extend(songs["seed"], steps=20)
    np.testing.assert_array_equal(song, generator.extend(songs["seed"], steps=20))
