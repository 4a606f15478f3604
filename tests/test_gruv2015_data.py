"""The golden data in tests/data/gruv2015: whether its script is the program of 2015, and whether it made this data."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parent / "data"
CASES = ["lstm2", "gru1", "time_lstm"]


def files_of(folder):
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def arrays_of(folder):
    with np.load(folder / "expected.npz") as file:
        return dict(file)


def config_of(folder):
    return json.loads((folder / "config.json").read_text("utf-8"))


def recompute(script, folder):
    """(arrays, song) that the script makes of a folder's sound and weights."""
    pcm, weights = script.read_pcm(folder / "wave" / "a.wav"), script.read_weights(folder / "weights")
    return script.expected(config_of(folder), pcm, weights)


def assert_same_arrays(actual, expected, tolerance):
    """Equal to `tolerance` of the largest magnitude: the order of the terms of a sum is the machine's own."""
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        assert actual[name].shape == array.shape
        np.testing.assert_allclose(actual[name], array, rtol=0, atol=tolerance * np.abs(array).max(), err_msg=name)


def assert_same_song(actual, expected):
    assert actual.shape == expected.shape
    # On another machine, a number close to an integer may be cut to the integer's neighbor.
    apart = np.abs(actual.astype(int) - expected)
    assert apart.max() <= 1
    assert apart.mean() < 0.01


@pytest.mark.parametrize("name", ["lstm1", "gru2", "time_lstm"])
def test_the_script_makes_what_the_published_program_made(shared, golden_script, name):
    folder = shared / "gruv2015" / name
    arrays, song = recompute(golden_script, folder)
    assert_same_arrays(arrays, arrays_of(folder), 2e-6)  # the published network computed in 32 bits
    assert_same_song(song, golden_script.read_pcm(folder / "generated.wav"))
    assert arrays["mse"] == pytest.approx(config_of(folder)["mse"], abs=1e-8)


def test_the_script_uses_nothing_of_what_it_tests():
    tree = ast.parse((DATA / "make_gruv2015.py").read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in imports}
    assert names == {"h5py", "json", "numpy", "pathlib", "wave"}


def test_the_data_is_what_the_script_makes(golden_script, tmp_path):
    golden_script.main(tmp_path)
    made, kept = files_of(tmp_path), files_of(DATA / "gruv2015")
    assert made.keys() == kept.keys()
    for name in CASES:
        new, old = tmp_path / name, DATA / "gruv2015" / name
        assert_same_arrays(arrays_of(new), arrays_of(old), 1e-6)
        assert config_of(new) == config_of(old) | {"mse": pytest.approx(config_of(old)["mse"], rel=1e-9)}
        assert (new / "wave" / "a.wav").read_bytes() == (old / "wave" / "a.wav").read_bytes()
        assert_same_song(golden_script.read_pcm(new / "generated.wav"), golden_script.read_pcm(old / "generated.wav"))
        for one, other in zip(*(golden_script.read_weights(f / "weights") for f in (new, old)), strict=True):
            assert [array.tobytes() for array in one] == [array.tobytes() for array in other]


def test_the_data_is_small():
    sizes = [path.stat().st_size for path in files_of(DATA / "gruv2015").values()]
    assert sum(sizes) + (DATA / "make_gruv2015.py").stat().st_size < 200_000


# --- the data can tell one program from another -----------------------------------------------------------------------


def hard_sigmoid_of_today(z):
    return np.clip(z / 6 + 0.5, 0, 1)


@pytest.mark.parametrize(
    ("name", "formula", "other", "array", "least"),
    [
        ("lstm2", "hard_sigmoid", hard_sigmoid_of_today, "predict", 1e-2),
        ("gru1", "hard_sigmoid", hard_sigmoid_of_today, "predict", 1e-2),
        ("gru1", "logistic", np.tanh, "predict", 1e-2),
        ("lstm2", "FULL_SCALE", 32768, "std", 2e-5),
        ("time_lstm", "FULL_SCALE", 32768, "mean", 2e-5),
    ],
)
def test_another_formula_gives_other_figures(golden_script, monkeypatch, name, formula, other, array, least):
    """By more than the 1e-5 of the largest magnitude that gruvlike may be off."""
    folder = DATA / "gruv2015" / name
    monkeypatch.setattr(golden_script, formula, other)
    right, wrong = arrays_of(folder)[array], recompute(golden_script, folder)[0][array]
    assert np.abs(wrong - right).max() > least * np.abs(right).max()


def test_a_padded_block_is_the_last_target(golden_script):
    folder = DATA / "gruv2015" / "lstm2"
    size, arrays = config_of(folder)["block_size"], arrays_of(folder)
    pcm = golden_script.read_pcm(folder / "wave" / "a.wav")
    rest = len(pcm) % size
    assert rest > 0
    block = np.append(pcm[-rest:] / 32767, np.zeros(size - rest))
    target = arrays["y"][-1, -1] * arrays["std"] + arrays["mean"]
    np.testing.assert_allclose(target[:size], np.fft.fft(block).real, rtol=0, atol=1e-5)


def test_a_window_that_fits_exactly_is_left_out():
    folder = DATA / "gruv2015" / "gru1"
    config, (windows, steps, _) = config_of(folder), arrays_of(folder)["x"].shape
    assert config["samples"] == (windows + 1) * steps * config["block_size"]


def test_one_song_goes_beyond_full_scale_and_wraps_around(golden_script):
    folder = DATA / "gruv2015" / "time_lstm"
    samples = arrays_of(folder)["generated"].reshape(-1)
    song = golden_script.read_pcm(folder / "generated.wav")
    beyond = np.abs(samples) > 1.01
    assert beyond.sum() > 10
    assert (np.sign(song[beyond]) == -np.sign(samples[beyond])).all()


@pytest.mark.parametrize("name", CASES)
def test_a_song_moves_to_its_end(name):
    arrays = arrays_of(DATA / "gruv2015" / name)
    frames = arrays["generated"] / arrays["std"].max()
    assert np.abs(np.diff(frames, axis=0)).max(axis=1).min() > 1e-3
