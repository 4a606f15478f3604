"""The pipeline of 2015 against golden data, to the digit.

The data of `made` cases lies in tests/data/gruv2015; a script that uses nothing of gruvlike made it. The published
program itself wrote that of `published` cases, which lies beside the checkout (absent: skipped).
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import soundfile

from gruvlike import gruv2015

pytestmark = pytest.mark.backends

MADE = Path(__file__).parent / "data" / "gruv2015"


class Case(NamedTuple):
    folder: Path
    config: dict[str, Any]
    golden: dict[str, np.ndarray]

    @property
    def network(self):
        return gruv2015.load_network(self.folder / "weights")


@pytest.fixture(
    params=[f"made/{n}" for n in ("lstm2", "gru1", "time_lstm")]
    + [pytest.param(f"published/{n}", marks=pytest.mark.slow) for n in ("lstm1", "gru2", "time_lstm")]
)
def case(request):
    origin, name = request.param.split("/")
    folder = MADE / name if origin == "made" else request.getfixturevalue("shared") / "gruv2015" / name
    with np.load(folder / "expected.npz") as file:
        return Case(folder, json.loads((folder / "config.json").read_text()), dict(file))


def assert_close(actual, golden, tolerance):
    """Equal to `tolerance` of the largest magnitude of the golden array."""
    assert actual.shape == golden.shape
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, golden, rtol=0, atol=tolerance * np.abs(golden).max())


@pytest.mark.parametrize("name", ["wave/a.wav", "wave"])
def test_prepare(case, name):
    config = case.config
    prepared = gruv2015.prepare(
        case.folder / name, config["block_size"], config["steps"], time_domain=config["time_domain"]
    )
    for field in prepared._fields:
        assert_close(getattr(prepared, field), case.golden[field], 1e-5)


def test_load_network_and_predict(case):
    model, config = case.network, case.config
    assert [type(layer).__name__.lower() for layer in model.layers[1:-1]] == [config["cell"]] * config["layers"]
    assert model.input_shape == (None, None, config["features"])
    assert model.layers[0].units == config["hidden"]
    np.testing.assert_allclose(model.predict(case.golden["x"], verbose=0), case.golden["predict"], rtol=0, atol=1e-5)


def test_loss(case):
    loss = case.network.evaluate(case.golden["x"], case.golden["y"], verbose=0)
    assert loss == pytest.approx(float(case.golden["mse"]), abs=1e-6)
    assert loss == pytest.approx(case.config["mse"], abs=1e-6)


@pytest.mark.parametrize("history", ["carry", "full"])
def test_generate(case, history):
    golden = case.golden
    frames = gruv2015.generate(
        case.network, golden["seed"], 2 * case.config["steps"], golden["mean"], golden["std"], history=history
    )
    assert_close(frames, golden["generated"], 1e-4)


def steps_apart(samples, written):
    """Largest distance in steps of 16 bits; a file of 2015 wraps around beyond full scale, `to_samples` does not."""
    difference = samples * 32767.0 - written
    return np.abs((difference + 32768) % 65536 - 32768).max()


def test_to_samples_agrees_with_the_written_file(case):
    written, rate = soundfile.read(case.folder / "generated.wav", dtype="int16")
    samples = gruv2015.to_samples(case.golden["generated"], case.config["time_domain"])
    assert rate == case.config["sample_rate"]
    assert samples.shape == written.shape
    assert steps_apart(samples, written) <= 1
    assert steps_apart(samples[:-1], written[1:]) > 100  # the control: the same sound one sample later


def test_generated_sound_from_the_input_file_alone(case):
    """The whole chain on its own results: file, windows, network, song."""
    config = case.config
    x, _, mean, std = gruv2015.prepare(
        case.folder / "wave", config["block_size"], config["steps"], time_domain=config["time_domain"]
    )
    frames = gruv2015.generate(case.network, x[1:2], 2 * config["steps"], mean, std)
    written, _ = soundfile.read(case.folder / "generated.wav", dtype="int16")
    assert steps_apart(gruv2015.to_samples(frames, config["time_domain"]), written) <= 2


def test_save_weights_writes_the_same_file(case, tmp_path):
    gruv2015.save_weights(case.network, tmp_path / "weights")
    with h5py.File(case.folder / "weights") as golden, h5py.File(tmp_path / "weights") as file:
        assert attributes(golden) == attributes(file)
        assert set(golden) == set(file)
        for name, group in golden.items():
            assert attributes(group) == attributes(file[name])
            assert set(group) == set(file[name])
            for key, dataset in group.items():
                assert dataset.dtype == file[name][key].dtype
                assert dataset.shape == file[name][key].shape
                assert dataset[()].tobytes() == file[name][key][()].tobytes()


def attributes(item):
    return {name: (value, np.asarray(value).dtype) for name, value in item.attrs.items()}
