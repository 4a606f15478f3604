"""The benchmark for accelerators, on a CPU at tiny sizes: it reports the rows that it skips, and needs few packages."""

import importlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import gruvlike as gl

pytestmark = pytest.mark.backends

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"matrix": 32, "bytes": 4096, "steps": 2, "rounds": 1}


@pytest.fixture
def gpu(bench):
    return bench("gpu")


@pytest.fixture
def network(bench):
    return bench("_networks").PAPER._replace(block_size=16, units=(4,), projection=4, batch_size=2, steps=5)


@pytest.fixture
def mixed():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


def test_cudnn_is_not_taken_for_granted(bench, gpu, network):
    if bench("_measure").accelerator() is None:
        with pytest.raises(RuntimeError, match="cuDNN is not used by the recurrent layers of '2015"):
            gpu.evidence_of_cudnn(network)


@pytest.mark.usefixtures("mixed")
def test_cudnn_is_left_out_where_it_would_fail(gpu, network):
    """On JAX it knows float32 alone."""
    left_out = keras.backend.backend() == "jax"
    for stack in (gpu.fit_for_cudnn(network.make_stack()), gpu.fit_for_cudnn(gpu.stateful_twin(network.make_stack()))):
        assert [layer.use_cudnn is False for layer in stack.layers if isinstance(layer, keras.layers.RNN)] == [left_out]
    if left_out:
        assert gpu.evidence_of_cudnn(network) == "not used, JAX has it for float32 alone"


def test_cudnn_is_not_left_out_in_float32(gpu, network):
    stack = gpu.fit_for_cudnn(network.make_stack())
    assert [layer.use_cudnn for layer in stack.layers if isinstance(layer, keras.layers.RNN)] == ["auto"]


def test_what_fails_and_what_there_is_no_time_for_is_named(gpu, network, monkeypatch):
    def fails(*_):
        raise ValueError("Unknown output type\nand so on")

    monkeypatch.setattr(gpu, "train_row", fails)
    monkeypatch.setattr(gpu, "matrix_peak", lambda *_, **__: 1.0)
    monkeypatch.setattr(gpu, "copy_rate", lambda _: 1.0)
    monkeypatch.setattr(gpu, "generate_row", lambda name, *_: gpu.Row(name, 1.0, 2.0, 0.5, "ms a step"))
    monkeypatch.setattr(gpu, "evidence_of_cudnn", lambda _: "used (it is)")
    rows, remarks, missing = gpu.measure((network,), ("float32",), SIZES)
    assert len(rows) == 3
    assert remarks == [f"cuDNN, float32, {network.name}: used (it is)"]
    assert missing == [f"training, float32, {network.name}, batch 2, T = 5: ValueError: Unknown output type"]
    rows, remarks, missing = gpu.measure((network,), ("float32",), SIZES, seconds=0)
    assert not rows
    assert len(missing) == 5
    assert all(name.endswith(": the time was up") for name in missing)


@pytest.mark.parametrize("missing", [[], ["training, float32: the time was up"]])
def test_the_page_and_the_exit_code_tell_what_is_missing(bench, gpu, monkeypatch, tmp_path, missing):
    monkeypatch.setattr(bench("_page"), "DOCS", tmp_path)
    monkeypatch.setattr(gpu, "accelerator", lambda: "A device")
    monkeypatch.setattr(gpu, "measure", lambda: ([gpu.Row("job", 1.0, 2.0, 0.5, "s")], ["cuDNN, used"], missing))
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert gpu.main() == len(missing)
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "| job | 1.00 s | 2.00 s | 0.500 s | 2 | 0.5 |" in text
    assert "A device" in text
    assert "- cuDNN, used" in text
    assert ("- **Not measured: training, float32: the time was up**" in text) == bool(missing)


@pytest.mark.slow
def test_weights_in_half_precision_have_a_row(gpu, network):
    row = gpu.generate_row("job", network, {**SIZES, "steps": 1}, 1, 1e9, "bfloat16")
    assert row.ours > 0
    assert row.rival > 0
    assert row.limit == pytest.approx(2e3 * network.parameters() / 1e9)


def test_without_an_accelerator_it_says_so(gpu, monkeypatch, caplog):
    monkeypatch.setattr(gpu, "accelerator", lambda: None)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with caplog.at_level(logging.INFO):
        assert gpu.main() == 0
    assert "skipped, there is no accelerator" in caplog.text


BARE = """
import sys
from functools import partial
from pathlib import Path

sys.modules.update(dict.fromkeys(["librosa", "soundfile", "soxr", "tqdm", "matplotlib", %s]))  # as if not installed
sys.path.insert(0, sys.argv[1])
import _networks, _page, gpu

_page.DOCS = Path.cwd()
gpu.accelerator = lambda: "pretended"
network = _networks.PAPER._replace(block_size=16, units=(4,), projection=4, batch_size=2, steps=5)
sizes = {"matrix": 32, "bytes": 4096, "steps": 2, "rounds": 1}
gpu.measure = partial(gpu.measure, (network,), ("mixed_bfloat16",), sizes)
sys.argv = ["gpu.py"]
sys.exit(gpu.main())
"""


@pytest.mark.slow
def test_it_needs_keras_and_numpy_and_a_backend_alone(bench, tmp_path):
    """From a folder that is not the checkout, on the CPU, in mixed precision: only cuDNN is missed, and told."""
    if bench("_measure").accelerator():
        pytest.skip("it is run as it is here")
    backend = keras.backend.backend()
    scipy = "" if backend == "jax" else '"scipy", "scipy.fft"'  # JAX brings it
    environment = dict(os.environ)
    if importlib.util.find_spec("tensorflow") is None:
        del environment["KERAS_BACKEND"]  # the benchmark then takes the installed backend
    command = [sys.executable, "-c", BARE % scipy, str(ROOT / "benchmarks")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == (0 if backend == "jax" else 1), done.stderr
    lines = (tmp_path / "benchmarks.md").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.startswith(("| training,", "| generating,"))]) == 3, done.stderr
    missed = [line for line in lines if "Not measured" in line]
    assert all("cuDNN is not used" in line for line in missed)
    assert len(missed) == (0 if backend == "jax" else 1)
    assert f"pretended, {backend}." in "\n".join(lines)


@pytest.mark.parametrize("name", ["BlockDFT", "HalfDFT", "MDCT"])
def test_without_scipy_the_host_transforms_by_numpy(monkeypatch, melody, name):
    encoder = getattr(gl, name)(48)
    frames = encoder.encode(melody[:480])
    samples = encoder.decode(frames)
    monkeypatch.setitem(sys.modules, "scipy.fft", None)
    with pytest.raises(ImportError):
        import scipy.fft  # noqa: F401
    bare = encoder.encode(melody[:480])
    assert bare.dtype == np.float32
    np.testing.assert_allclose(bare, frames, atol=1e-5)
    np.testing.assert_allclose(encoder.decode(frames), samples, atol=1e-5)


# --- weights in half precision


@pytest.mark.slow
def test_half_precision(bench, network, monkeypatch, tmp_path):
    script = bench("half_precision")
    monkeypatch.setattr(bench("_page"), "DOCS", tmp_path)
    text = script.measure((network._replace(sample_rate=4000),), training_seconds=0.1, seconds=2.0, at=(1, 2), rounds=1)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| 2015")]
    assert [row[1] for row in rows] == ["float32", "bfloat16", "float16"]
    assert all(float(row[2]) > 0 and float(row[4]) > 0 for row in rows)
    assert rows[0][5].strip("| ") == "0"
    assert float(rows[1][5]) > float(rows[2][5]) > 0  # 8 bits are further from float32 than 11


def test_the_distance_of_songs(bench):
    distances = bench("half_precision").distances
    plain = np.r_[np.ones(10), np.full(10, 2.0)]
    song = np.r_[np.ones(10), np.full(10, 3.0)]
    assert distances(plain, plain, 10, (1, 2)) == [0, 0, 0]
    assert distances(song, plain, 10, (1, 2)) == pytest.approx([np.sqrt(0.5 / 2.5), 0, 0.5])
