"""The files that `gruv2015` reads: music in formats that 2015 did not understand, and files that hold no weights."""

import logging
import struct

import h5py
import numpy as np
import pytest
import soundfile

from gruvlike import gruv2015

pytestmark = pytest.mark.backends

RATE = 8000
MELODY = (0.4 * np.sin(np.arange(2000) / 7) + 0.2 * np.sin(np.arange(2000) / 3)).astype("float32")
SIZES = {"block_size": 16, "steps": 10}


def write(path, samples=MELODY, subtype="PCM_16", rate=RATE):
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


# --------------------------------------------------------------------------------------------------------- music


def test_prepare_by_hand(tmp_path):
    """Windows, targets and statistics as the facts state them, in plain numpy and float64."""
    pcm, _ = soundfile.read(write(tmp_path / "a.wav", MELODY[:1000]), dtype="int16")  # 62.5 blocks
    blocks = np.pad(pcm / 32767, (0, 8)).reshape(63, 16)
    spectra = np.fft.fft(blocks)
    frames = np.concatenate([spectra.real, spectra.imag], axis=1)
    starts = range(0, 60, 10)  # start + T < 63
    x, y = (np.stack([frames[start + k : start + k + 10] for start in starts]) for k in (0, 1))
    mean, std = x.mean(axis=(0, 1)), np.maximum(x.std(axis=(0, 1)), 1e-8)
    expected = ((x - mean) / std, (y - mean) / std, mean, std)
    for actual, array in zip(gruv2015.prepare(tmp_path / "a.wav", **SIZES), expected, strict=True):
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, array, rtol=0, atol=1e-5 * np.abs(array).max())


@pytest.mark.parametrize(("blocks", "windows"), [(11, 1), (20, 1), (21, 2), (30, 2), (31, 3)])
def test_a_window_that_fits_exactly_is_dropped(tmp_path, blocks, windows):
    x, y, *_ = gruv2015.prepare(write(tmp_path / "a.wav", MELODY[: blocks * 16]), **SIZES)
    assert len(x) == len(y) == windows


def test_constant_features_keep_the_clamp_of_2015(tmp_path):
    x, _, mean, std = gruv2015.prepare(write(tmp_path / "a.wav"), **SIZES)
    constant = [16, 24]  # imaginary part of DC and of Nyquist
    np.testing.assert_array_equal(std[constant], np.float32(1e-8))
    np.testing.assert_array_equal(mean[constant], 0)
    np.testing.assert_array_equal(x[..., constant], 0)


def test_mono_16_bit_is_taken_as_it_is(tmp_path, caplog):
    gruv2015.prepare(write(tmp_path / "a.wav"), **SIZES)
    assert not caplog.records


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 1 / 128), ("PCM_24", 3.1e-5), ("PCM_32", 3.1e-5), ("FLOAT", 3.1e-5), ("DOUBLE", 3.1e-5)],
)
def test_other_formats_are_the_same_music(tmp_path, caplog, subtype, step):
    caplog.set_level(logging.INFO)
    expected = gruv2015.prepare(write(tmp_path / "a.wav"), **SIZES, time_domain=True)
    x, _, mean, std = gruv2015.prepare(write(tmp_path / "b.wav", subtype=subtype), **SIZES, time_domain=True)
    np.testing.assert_allclose(x * std + mean, expected.x * expected.std + expected.mean, atol=1.1 * step)
    assert "b.wav" in caplog.text
    assert "is not mono 16-bit PCM" in caplog.text


def test_stereo_is_mixed_down(tmp_path, caplog):
    expected = gruv2015.prepare(write(tmp_path / "a.wav"), **SIZES)
    actual = gruv2015.prepare(write(tmp_path / "b.wav", np.stack([1.5 * MELODY, 0.5 * MELODY], axis=1)), **SIZES)
    for one, other in zip(expected, actual, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)
    assert "2 channels" in caplog.text


def test_a_folder_is_sorted_and_cut_with_a_warning(tmp_path, caplog):
    for index in (2, 0, 1):
        write(tmp_path / f"{index}.wav", MELODY * (index + 1) / 3)
    x, _, mean, std = gruv2015.prepare(tmp_path, **SIZES, max_files=2, time_domain=True)
    assert "1 of 3 files" in caplog.text
    assert "max_files=2" in caplog.text
    sound = (x * std + mean).reshape(2, -1)
    np.testing.assert_allclose(sound[1], 2 * sound[0], atol=1e-4)
    caplog.clear()
    assert len(gruv2015.prepare(tmp_path, **SIZES).x) == 36
    assert not caplog.records


def test_a_short_track_is_named_and_others_go_on(tmp_path, caplog):
    write(tmp_path / "a.wav", MELODY[:100])
    write(tmp_path / "b.wav")
    assert len(gruv2015.prepare(tmp_path, **SIZES).x) == 12
    assert "a.wav is too short for a window of 10 blocks: it has 7" in caplog.text


def test_a_track_too_short_for_one_window(tmp_path):
    with pytest.raises(ValueError, match=r"No window of steps=10 fits: .*more than 160 samples.*longest track has 160"):
        gruv2015.prepare(write(tmp_path / "a.wav", MELODY[:160]), **SIZES)


def test_music_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="must exist"):
        gruv2015.prepare(tmp_path / "none.wav", **SIZES)
    with pytest.raises(FileNotFoundError, match="at least one audio file"):
        gruv2015.prepare(tmp_path, **SIZES)


def test_music_that_is_none(tmp_path):
    (tmp_path / "a.wav").write_text("no music")
    with pytest.raises(ValueError, match=r"must be a WAV file.*a\.wav"):
        gruv2015.prepare(tmp_path / "a.wav", **SIZES)


def test_two_sample_rates(tmp_path):
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav", rate=11_025)
    with pytest.raises(ValueError, match=r"one sample rate.*8000 Hz.*b\.wav with 11025 Hz"):
        gruv2015.prepare(tmp_path, **SIZES)


@pytest.mark.parametrize("name", ["block_size", "steps", "max_files"])
@pytest.mark.parametrize("value", [0, -1, 2.5, None])
def test_sizes_must_be_positive_integers(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
        gruv2015.prepare(write(tmp_path / "a.wav"), **(SIZES | {name: value}))


# ------------------------------------------------------------------------------------------------------- weights


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights"
    gruv2015.save_weights(gruv2015.network(8, 4, "gru", layers=2, random_seed=0), path)
    return path


def test_missing_weights_are_never_ignored(tmp_path):
    with pytest.raises(FileNotFoundError, match="must exist: nothing starts from random weights"):
        gruv2015.load_network(tmp_path / "Weights25")


def test_weights_that_are_not_hdf5(tmp_path, weights):
    content = weights.read_bytes()
    for wrong in (b"", b"no weights", content[: len(content) // 2], b"RIFF" + struct.pack("<I", 36) + b"WAVE"):
        weights.write_bytes(wrong)
        with pytest.raises(ValueError, match="must be complete HDF5"):
            gruv2015.load_network(weights)


def test_weights_of_something_else(tmp_path):
    with h5py.File(tmp_path / "corpus.h5", "w") as file:
        file["pcm"] = np.zeros(10)
    with pytest.raises(ValueError, match=r"attribute nb_layers.*corpus\.h5: .*`gruvlike\.load`"):
        gruv2015.load_network(tmp_path / "corpus.h5")


@pytest.mark.parametrize(("where", "name"), [("/", "nb_layers"), ("layer_1", "nb_params")])
@pytest.mark.parametrize("value", ["three", [3, 3], []])
def test_counts_that_are_no_numbers(weights, where, name, value):
    with h5py.File(weights, "r+") as file:
        file[where].attrs[name] = value
    with pytest.raises(ValueError, match=r"attribute nb_layers.*weights: "):
        gruv2015.load_network(weights)


def change(path, name, value):
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer_1", None, "groups layer_0, layer_1.*layer_1"),
        ("layer_1/param_3", None, "param_0, param_1.*param_3"),
        ("layer_2/param_1", np.zeros((4, 5)), r"layer_2/param_1 must be floats of shape \(4, 4\).*shape=\(4, 5\)"),
        ("layer_3/param_0", np.zeros((4, 7)), r"layer_3/param_0 must be floats of shape \(4, 8\)"),
        ("layer_0/param_0", np.zeros(4), r"layer_0/param_0 must be floats"),
        ("layer_0/param_0", np.zeros((0, 4)), r"layer_0/param_0 must be floats"),
        ("layer_0/param_1", np.zeros(4, int), r"layer_0/param_1 must be floats of shape \(4,\).*int64"),
        ("layer_0/param_1", np.array(["a", "b"], "S1"), r"layer_0/param_1 must be floats"),
    ],
)
def test_weights_of_wrong_sizes(weights, name, value, message):
    change(weights, name, value)
    with pytest.raises(ValueError, match=message):
        gruv2015.load_network(weights)


@pytest.mark.parametrize(("layer", "count"), [(1, 8), (0, 1), (3, 1), (1, 0)])
def test_unknown_numbers_of_arrays(weights, layer, count):
    with h5py.File(weights, "r+") as file:
        file[f"layer_{layer}"].attrs["nb_params"] = count
    counts = [2, 9, 9, 2]
    counts[layer] = count
    with pytest.raises(ValueError, match=rf"Received: .* with \[{', '.join(map(str, counts))}\]"):
        gruv2015.load_network(weights)


@pytest.mark.parametrize("layers", [0, 2])
def test_too_few_layers(weights, layers):
    with h5py.File(weights, "r+") as file:
        file.attrs["nb_layers"] = layers
    with pytest.raises(ValueError, match="holds 2 arrays"):
        gruv2015.load_network(weights)


def test_a_damaged_file_never_takes_the_place_of_a_good_one(weights, monkeypatch):
    before = weights.read_bytes()
    monkeypatch.setattr(h5py.Group, "create_group", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gruv2015.save_weights(gruv2015.network(8, 4), weights)
    assert weights.read_bytes() == before
    assert [path.name for path in weights.parent.iterdir()] == ["weights"]
