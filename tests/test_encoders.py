"""The contract of encoders, over all of them."""

import copy
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gruvlike as gl
from gruvlike import encoders
from gruvlike.encoders import _base

pytestmark = pytest.mark.backends

INVERTIBLE = [
    ("time_blocks", {"block_size": 10}),
    ("block_dft", {"block_size": 10}),
    ("block_dft", {"block_size": 7}),
    ("half_dft", {"block_size": 10}),
    ("half_dft", {"block_size": 7}),
    ("stft", {"frame_size": 16}),
    ("stft", {"frame_size": 16, "hop": 4, "window": "hamming"}),
    ("stft", {"frame_size": 17, "hop": 5, "window": ("kaiser", 8.0)}),
    ("stft", {"frame_size": 16, "hop": 11}),
    ("stft", {"frame_size": 9, "hop": 9, "window": "boxcar"}),
    ("mdct", {"block_size": 10}),
    ("mdct", {"block_size": 8, "window": "kbd"}),
    ("mdct", {"block_size": 600, "window": "vorbis"}),
]
LOG = [("log_spectrum", {"frame_size": 16}), ("log_spectrum", {"frame_size": 64, "mels": 5, "sample_rate": 8000})]


def named(cases):
    """Parametrizes over encoders, with readable test names."""
    ids = ["-".join(str(value) for value in [name, *options.values()]) for name, options in cases]
    return pytest.mark.parametrize("encoder", [encoders.get(name, **options) for name, options in cases], ids=ids)


def joined(pieces):
    return np.concatenate(list(pieces), axis=0)


@named(INVERTIBLE)
@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 2000), random_seed=st.integers(0, 99))
def test_decode_inverts_encode_whatever_the_length(encoder, size, random_seed):
    x = np.random.default_rng(random_seed).uniform(-1, 1, size).astype("float32")
    frames = encoder.encode(x)
    y = encoder.decode(frames)
    assert frames.shape == (-(-(size + encoder.lap) // encoder.hop), encoder.features)
    assert y.shape == (len(frames) * encoder.hop - encoder.lap,)
    assert frames.dtype == y.dtype == np.float32
    np.testing.assert_allclose(y[:size], x, atol=1e-5)
    np.testing.assert_allclose(y[size:], 0, atol=1e-5)


@named(INVERTIBLE + LOG)
@pytest.mark.parametrize("steps", [0, 1, 2, 9])
@pytest.mark.parametrize("more", [0, 1])
def test_unpadded_gives_exactly_the_frames_inside(encoder, steps, more, rng):
    size = encoder.span(steps) + min(more, encoder.hop - 1)
    if size:
        x = rng.uniform(-1, 1, size).astype("float32")
        frames = encoder.encode(x, padded=False)
        assert frames.shape == (steps, encoder.features)
        assert encoder.compute_output_shape((size,)) == frames.shape


@named(INVERTIBLE)
def test_any_run_of_frames_decodes_to_what_it_covers(encoder, rng):
    x = rng.uniform(-1, 1, encoder.span(12)).astype("float32")
    frames = encoder.encode(x, padded=False)
    for start, stop in [(0, 12), (3, 4), (2, 9)]:
        y = encoder.decode(frames[start:stop])
        assert len(y) == max(0, (stop - start) * encoder.hop - encoder.lap)
        begin = start * encoder.hop + encoder.lap
        np.testing.assert_allclose(y, x[begin : begin + len(y)], atol=1e-5)


@named(INVERTIBLE + LOG)
def test_batches_are_encoded_each_alone(encoder, rng):
    x = rng.uniform(-1, 1, (3, encoder.span(6) + 1)).astype("float32")
    frames = encoder.encode(x)
    np.testing.assert_allclose(frames, np.stack([encoder.encode(row) for row in x]), atol=1e-5)
    if encoder.invertible:
        np.testing.assert_allclose(encoder.decode(frames)[:, : x.shape[1]], x, atol=1e-5)
    assert encoder.decode(frames).shape == (3, frames.shape[1] * encoder.hop - encoder.lap)


@named(INVERTIBLE + LOG)
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, 900), max_size=6), padded=st.booleans())
def test_reading_in_pieces_gives_the_same_frames(encoder, cuts, padded):
    x = np.random.default_rng(0).uniform(-1, 1, 900).astype("float32")
    if not padded and len(x) < encoder.span(1):
        x = np.tile(x, 3)
    pieces = np.split(x, sorted(cuts))
    frames = joined(encoder.encode_stream(pieces, padded=padded))
    np.testing.assert_allclose(frames, encoder.encode(x, padded=padded), atol=2e-5)


@named(INVERTIBLE)
@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 30), max_size=6, unique=True))
def test_speaking_in_pieces_gives_the_same_samples(encoder, cuts):
    frames = np.random.default_rng(0).normal(size=(31, encoder.features)).astype("float32")
    pieces = np.split(frames, sorted(cuts))
    whole = encoder.decode(frames)
    np.testing.assert_allclose(joined(encoder.decode_stream(pieces)), whole, atol=1e-5 * np.abs(whole).max())
    if encoder.lap and cuts:  # the control: without context even the length differs
        assert sum(len(encoder.decode(piece)) for piece in pieces) < len(whole)


def test_streams_hold_batches_and_bounded_pieces(monkeypatch, rng):
    monkeypatch.setattr(_base, "PIECE_SIZE", 64)
    encoder = gl.MDCT(8)
    x = rng.integers(-9000, 9000, (2, 1000)).astype("int16")
    frames = list(encoder.encode_stream([x]))
    assert max(piece.shape[1] for piece in frames) <= 64 // 8 + 1
    np.testing.assert_allclose(np.concatenate(frames, axis=1), encoder.encode(x), atol=1e-6)
    sound = np.concatenate(list(encoder.decode_stream(frames)), axis=1)
    np.testing.assert_allclose(sound[:, :1000], x / 32768, atol=1e-5)


@named(INVERTIBLE + LOG)
def test_pcm_and_doubles_are_understood(encoder, rng):
    pcm = rng.integers(-32768, 32767, encoder.span(3)).astype("int16")
    frames = encoder.encode(pcm)
    np.testing.assert_array_equal(frames, encoder.encode((pcm / 32768).astype("float32")))
    np.testing.assert_array_equal(frames, encoder.encode(pcm / 32768))
    assert frames.dtype == np.float32


@named(INVERTIBLE + LOG)
def test_configuration_copies_and_pickles_give_the_same_encoder(encoder, rng):
    x = rng.uniform(-1, 1, encoder.span(3)).astype("float32")
    saved = keras.saving.serialize_keras_object(encoder)
    for other in (
        type(encoder).from_config(encoder.get_config()),
        keras.saving.deserialize_keras_object(saved),
        copy.deepcopy(encoder),
        pickle.loads(pickle.dumps(encoder)),
    ):
        assert other is not encoder
        assert other.get_config() == encoder.get_config()
        np.testing.assert_array_equal(other.encode(x), encoder.encode(x))


@named(INVERTIBLE + LOG)
def test_sizes_agree_and_there_are_no_weights(encoder):
    assert encoder.lap == encoder.span(1) - encoder.hop
    assert encoder.span(5) - encoder.span(4) == encoder.hop
    assert encoder.weights == []


@named(INVERTIBLE[:1] + INVERTIBLE[-1:] + LOG[:1])
def test_bad_samples_are_refused(encoder):
    for bad, match in [
        (np.zeros(0, "float32"), "S > 0"),
        (np.zeros((2, 0), "float32"), "S > 0"),
        (np.float32(1), "shape"),
        (np.zeros((1, 2, 3), "float32"), r"\(1, 2, 3\)"),
        (np.array([0, np.nan, np.inf], "float32"), "finite. Received: 2"),
        (np.zeros(3, "int32"), "int32"),
        (np.zeros(3, "complex64"), "complex64"),
    ]:
        with pytest.raises(ValueError, match=match):
            encoder.encode(bad)
    with pytest.raises(ValueError, match="no sample at all"):
        list(encoder.encode_stream([]))
    with pytest.raises(ValueError, match="int32"):
        encoder.encode(keras.ops.zeros((30,), "int32"))


@named(INVERTIBLE[:1] + INVERTIBLE[-1:] + LOG[:1])
def test_bad_frames_are_refused(encoder):
    features = encoder.features
    for bad, match in [
        (np.zeros((2, features + 1), "float32"), rf"of {features} features.*with {features + 1} features"),
        (np.zeros((0, features), "float32"), "T > 0"),
        (np.zeros(features, "float32"), "T, F"),
        (np.full((2, features), np.nan, "float32"), "finite"),
        (np.zeros((2, features), "complex64"), "real"),
    ]:
        with pytest.raises(ValueError, match=match):
            encoder.decode(bad)
        with pytest.raises(ValueError, match=match):
            list(encoder.decode_stream([bad]))


@pytest.mark.parametrize("bad", [0, -3, 2.5, "8", True, None])
@pytest.mark.parametrize("make", [gl.TimeBlocks, gl.BlockDFT, gl.HalfDFT, gl.MDCT, gl.STFT, gl.LogSpectrum])
def test_sizes_must_be_positive_integers(make, bad):
    with pytest.raises(ValueError, match=r"positive integer.*Received: (block|frame)_size="):
        make(bad)


def test_get_knows_names_and_passes_encoders_through():
    encoder = encoders.get("mdct", block_size=256, window="kbd")
    assert isinstance(encoder, gl.MDCT)
    assert (encoder.block_size, encoder.window) == (256, "kbd")
    assert encoders.get(encoder) is encoder
    with pytest.raises(ValueError, match=r"time_blocks, block_dft, half_dft, stft, mdct, log_spectrum.*'fft'"):
        encoders.get("fft")
    with pytest.raises(ValueError, match="takes no options"):
        encoders.get(encoder, block_size=2)
    with pytest.raises(TypeError, match="hop"):
        encoders.get("mdct", block_size=2, hop=2)


def test_every_public_encoder_has_a_name():
    classes = {type(encoders.get(name, **options)).__name__ for name, options in INVERTIBLE + LOG}
    assert classes == set(encoders.__all__) - {"Encoder", "get"}


def test_a_new_encoder_is_one_class(rng):
    @keras.saving.register_keras_serializable(package="tests")
    class Halves(gl.Encoder):
        def __init__(self, block_size, gain=0.5, **kwargs):
            super().__init__(features=block_size, frame_size=2 * block_size, hop=block_size, **kwargs)
            self.block_size, self.gain = block_size, gain

        def analyze(self, pieces, xp):
            return pieces[..., : self.block_size] * self.gain

        def synthesize(self, frames, xp):
            return xp.pad(frames / self.gain, ((0, 0), (0, 0), (0, self.block_size)))

    encoder = Halves(4, gain=0.25)
    x = rng.uniform(-1, 1, 33).astype("float32")
    np.testing.assert_allclose(encoder.decode(encoder.encode(x))[:33], x, atol=1e-6)
    assert Halves.from_config(encoder.get_config()).gain == 0.25
    with pytest.raises(NotImplementedError, match="analyze"):
        gl.Encoder(features=2, frame_size=2, hop=2).encode(x)
    with pytest.raises(ValueError, match="hop=3, frame_size=2"):
        gl.Encoder(features=2, frame_size=2, hop=3)


def test_the_example_of_the_docs_runs(rng):
    page = (Path(__file__).parents[1] / "docs" / "encoders.md").read_text()
    names = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    encoder = names["Differences"](5)
    x = rng.uniform(-1, 1, 33).astype("float32")
    frames = encoder.encode(keras.ops.convert_to_tensor(x))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(encoder.decode(frames))[:33], x, atol=1e-6)
    assert type(encoder).from_config(encoder.get_config()).block_size == 5
