"""The script behind docs/ticks.md."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import gruvlike as gl

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "ticks.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("ticks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(melody):
    encoder = gl.BlockDFT(16)
    stack = gl.recurrent_stack(32, units=(8,), random_seed=0)
    stack.set_weights([3 * w for w in stack.get_weights()])  # so that its past matters
    return gl.AudioModel(encoder, gl.Standardizer().fit(melody, encoder), stack, sample_rate=8000)


def test_predictions_know_as_much_of_the_past_as_they_are_shown(script, model, melody):
    music = melody[: 16 * 61]  # 60 frames to predict from
    whole = script.predicted_sound(model, music).reshape(60, 16)
    np.testing.assert_allclose(script.predicted_sound(model, music, -60).reshape(60, 16), whole, atol=1e-4)
    restarted = script.predicted_sound(model, music, -20).reshape(60, 16)
    np.testing.assert_allclose(restarted[:20], whole[:20], atol=1e-4)
    assert np.abs(restarted[20] - whole[20]).max() > 1e-3
    sliding = script.predicted_sound(model, music, 20).reshape(41, 16)
    np.testing.assert_allclose(sliding[0], whole[19], atol=1e-4)
    assert np.abs(sliding[1:] - whole[20:]).max() > 1e-3


def test_the_table_shows_three_digits(script):
    rows = [{"encoder": "a", "updates": 1234, "loss": 0.98765}, {"encoder": "b", "loss": 12345.6}]
    assert script.as_table(rows).splitlines()[2:] == ["| a | 1,234 | 0.988 |", "| b |  | 12346 |"]
