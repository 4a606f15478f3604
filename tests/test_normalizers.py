"""Normalizers: statistics in one pass, scaling both ways, constant features, saving."""

import copy
import pickle

import keras
import numpy as np
import pytest
from _parts import Piece, Pieces, Projection
from hypothesis import given, settings
from hypothesis import strategies as st

import gruvlike as gl
from gruvlike import normalizers
from gruvlike.encoders import _base

pytestmark = pytest.mark.backends

ALL = [gl.Standardizer, gl.GlobalScale, gl.MinMax, gl.Identity]
FITTED = ALL[:3]


@keras.saving.register_keras_serializable(package="tests")
class SixComponents(gl.PrincipalComponents):
    """Principal components that are as many as the directions of `Projection`."""

    def __init__(self, components=6, features=None, **kwargs):
        super().__init__(components, features, **kwargs)


NARROW = [Projection, SixComponents]
CONTRACT = [*ALL, *NARROW]


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.fixture
def encoder():
    return gl.BlockDFT(10)


@pytest.fixture
def corpus(rng):
    """Three tracks as a corpus gives them: PCM of different lengths, one of them too short for a frame."""
    tracks = [(rng.normal(size=size) * level).astype("int16") for size, level in [(1234, 3000), (7, 900), (555, 9000)]]
    return Pieces(Piece(str(index), track) for index, track in enumerate(tracks))


@pytest.fixture
def frames(corpus, encoder):
    return np.concatenate([encoder.encode(track.pcm, padded=False) for track in corpus])


@pytest.mark.parametrize("make", ALL)
def test_inverse_undoes_scaling(make, corpus, encoder, frames):
    normalizer = make()
    assert normalizer.fit(corpus, encoder) is normalizer
    assert normalizer.fitted
    scaled = normalizer(frames)
    assert scaled.dtype == np.float32
    assert scaled.shape == frames.shape
    np.testing.assert_allclose(normalizer.inverse(scaled), frames, atol=1e-5 * np.abs(frames).max())
    batch = normalizer(np.stack([frames[:5], frames[5:10]]))
    np.testing.assert_array_equal(batch[1], scaled[5:10])


@pytest.mark.parametrize("make", CONTRACT)
def test_a_normalizer_knows_its_sizes(make, corpus, encoder, frames):
    normalizer = make()
    assert normalizer.fit(corpus, encoder) is normalizer
    assert (normalizer.features, normalizer.fitted) == (20, True)
    assert normalizer.width == (6 if make in NARROW else 20)
    assert normalizer.center.shape == (normalizer.width,)
    scaled = normalizer(frames[None])
    assert scaled.shape == (1, len(frames), normalizer.width)
    assert normalizer.inverse(scaled).shape == (1, len(frames), 20)
    assert scaled.dtype == normalizer.inverse(scaled).dtype == np.float32
    symbolic = normalizer(keras.Input((None, 20)))
    assert symbolic.shape == normalizer.compute_output_shape((None, None, 20)) == (None, None, normalizer.width)
    assert normalizer.inverse(symbolic).shape == (None, None, 20)
    assert normalizer.compute_output_shape(symbolic.shape, reverse=True) == (None, None, 20)


@pytest.mark.parametrize("make", CONTRACT)
def test_what_a_network_predicts_survives_the_way_back(make, corpus, encoder, frames):
    normalizer = make().fit(corpus, encoder)
    scaled = normalizer(frames) / 2  # within the range of the music, where nothing clips
    np.testing.assert_allclose(normalizer(normalizer.inverse(scaled)), scaled, rtol=1e-4, atol=1e-4)
    assert np.ptp(scaled) > 0.1  # the control: it is not the same number everywhere


@pytest.mark.parametrize("make", CONTRACT)
def test_tensors_give_what_numpy_gives(make, corpus, encoder, frames):
    normalizer = make().fit(corpus, encoder)
    scaled = normalizer(frames)
    for function, numbers in ((normalizer, frames), (normalizer.inverse, scaled)):
        result = function(keras.ops.convert_to_tensor(numbers))
        assert keras.ops.is_tensor(result)
        np.testing.assert_allclose(to_numpy(result), function(numbers), rtol=1e-5, atol=1e-5)


def test_standardizer_has_numpys_statistics(corpus, encoder, frames):
    normalizer = gl.Standardizer().fit(corpus, encoder)
    exact = frames.astype("float64")
    np.testing.assert_allclose(to_numpy(normalizer.mean), exact.mean(axis=0), rtol=1e-5, atol=1e-6)
    constant = [10, 15]  # imaginary parts of DC and of the highest frequency
    np.testing.assert_allclose(
        np.delete(to_numpy(normalizer.scale), constant), np.delete(exact.std(axis=0), constant), rtol=1e-5
    )
    np.testing.assert_array_equal(to_numpy(normalizer.scale)[constant], 0)


def test_global_scale_and_min_max(corpus, encoder, frames):
    scaled = gl.GlobalScale().fit(corpus, encoder)(frames)
    np.testing.assert_allclose([scaled.mean(), scaled.std()], [0, 1], atol=1e-4)
    assert np.ptp(scaled.std(axis=0)) > 0.1  # the control: features keep their relative strength
    scaled = np.delete(gl.MinMax().fit(corpus, encoder)(frames), [10, 15], axis=1)
    np.testing.assert_allclose(scaled.min(axis=0), -1, atol=1e-5)
    np.testing.assert_allclose(scaled.max(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("make", CONTRACT)
def test_center_is_the_normalized_training_mean(make, corpus, encoder, frames):
    normalizer = make().fit(corpus, encoder)
    expected = normalizer(frames).mean(axis=0, dtype="float64")
    np.testing.assert_allclose(to_numpy(normalizer.center), expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    level=st.floats(1e-3, 1.0),
    offset=st.floats(-1, 1),
    random_seed=st.integers(0, 99),
)
def test_one_pass_equals_two(sizes, level, offset, random_seed):
    """Merged in float64, whatever the tracks and pieces; the offset is where naive sums of squares fail."""
    rng = np.random.default_rng(random_seed)
    tracks = [(offset + level * rng.normal(size=size)).astype("float32") for size in [*sizes, 64]]
    encoder = gl.MDCT(4)
    exact = np.concatenate([encoder.encode(track, padded=False) for track in tracks]).astype("float64")
    statistics = normalizers.measure(tracks, encoder)
    assert statistics.frames == len(exact)
    np.testing.assert_allclose(statistics.mean, exact.mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(statistics.variance, exact.var(axis=0), rtol=1e-4, atol=1e-9)
    np.testing.assert_array_equal(statistics.low, exact.min(axis=0))
    np.testing.assert_array_equal(statistics.high, exact.max(axis=0))


def test_pieces_are_bounded(monkeypatch, rng, encoder):
    track = rng.normal(size=1000).astype("float32")
    whole = normalizers.measure(track, encoder)
    monkeypatch.setattr(_base, "PIECE_SIZE", 64)
    pieces = normalizers.measure(track, encoder)
    assert pieces.frames == whole.frames == 100
    np.testing.assert_allclose(pieces.mean, whole.mean, atol=1e-7)
    np.testing.assert_allclose(pieces.variance, whole.variance, rtol=1e-6, atol=1e-9)


def test_many_ways_to_give_the_music(corpus, encoder):
    expected = to_numpy(gl.Standardizer().fit(corpus[:1], encoder).scale)
    pcm = corpus[0].pcm
    for music in (pcm, pcm[None], corpus[0], [pcm], (track for track in corpus[:1]), pcm / np.float32(32768)):
        np.testing.assert_allclose(to_numpy(gl.Standardizer().fit(music, encoder).scale), expected, rtol=1e-6)


@pytest.mark.parametrize("make", FITTED)
def test_constant_features_are_not_blown_up(make, rng):
    encoder = gl.TimeBlocks(4)
    blocks = rng.normal(size=(500, 4)).astype("float32")
    blocks[:, 1] = 0.5
    blocks[:, 2] = 1e-9 * rng.normal(size=500)
    blocks[:, 3] = 1 + np.finfo("float32").eps * rng.integers(0, 2, 500)  # rounding noise on a constant
    normalizer = make().fit(blocks.ravel(), encoder)
    scaled = normalizer(blocks)
    assert np.abs(scaled).max() < 10
    if make is not gl.GlobalScale:
        np.testing.assert_array_equal(scaled[:, 1:], 0)
        wild = normalizer.inverse(np.full((1, 4), 1e6, "float32"))[0]
        np.testing.assert_allclose(wild[1:], [0.5, 0, 1], atol=1e-6)


def test_rounding_noise_of_a_transform_is_constant_and_quiet_sound_is_not():
    encoder = gl.BlockDFT(16)
    low = np.cos(2 * np.pi * np.arange(1600) / 16)  # frequency 1 only: all else is rounding noise
    level = np.repeat(np.linspace(0.5, 1, 100), 16)
    normalizer = gl.Standardizer().fit((low * level).astype("float32"), encoder)
    assert set(np.flatnonzero(to_numpy(normalizer.scale))) == {1, 15}
    quiet = low + 1e-5 * np.cos(3 * low * np.arange(1600))  # 100 dB below
    assert (to_numpy(gl.Standardizer().fit((quiet * level).astype("float32"), encoder).scale) > 0).sum() > 20


@pytest.mark.parametrize("make", FITTED)
def test_silence_is_warned_of(make, encoder):
    with pytest.warns(UserWarning, match="is it silence"):
        normalizer = make().fit(np.zeros(100, "int16"), encoder)
    np.testing.assert_array_equal(normalizer(np.ones((1, 20), "float32")), 0)


def test_statistics_can_be_given(frames):
    mean, std = frames.mean(axis=0), frames.std(axis=0)
    normalizer = gl.Standardizer(mean=mean, std=std)
    expected = (frames - mean) / np.where(std > 1e-8, std, np.inf)
    np.testing.assert_allclose(normalizer(frames), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(gl.GlobalScale(20, mean=1, std=2)(frames), (frames - 1) / 2, rtol=1e-6)
    given = gl.MinMax(low=[0, 0], high=[4, 2], mean=[1, 1])
    np.testing.assert_allclose(given([[4.0, 1.0]]), [[1, 0]])
    np.testing.assert_allclose(to_numpy(given.center), [-0.5, 0])


def test_bad_statistics_are_refused(frames):
    with pytest.raises(ValueError, match="finite"):
        gl.Standardizer(mean=[0.0, np.nan], std=[1.0, 1.0])
    with pytest.raises(ValueError, match="negative"):
        gl.Standardizer(mean=[0.0], std=[-1.0])
    with pytest.raises(ValueError, match=r"\(2,\), \(3,\)"):
        gl.Standardizer(mean=[0.0, 1.0], std=[1.0, 1.0, 1.0])
    for options in ({"mean": [0.0]}, {"std": [1.0]}):
        with pytest.raises(ValueError, match="together"):
            gl.Standardizer(**options)
    with pytest.raises(ValueError, match="together"):
        gl.MinMax(low=[0.0])
    with pytest.raises(ValueError, match="Swap"):
        gl.MinMax(low=[2.0], high=[1.0])
    with pytest.raises(ValueError, match="features"):
        gl.GlobalScale(mean=0.0, std=1.0)


@pytest.mark.parametrize("make", [*FITTED, *NARROW])
def test_use_before_fit_is_an_error_and_fit_still_works(make, frames, corpus, encoder, tmp_path):
    normalizer = make()
    assert not normalizer.fitted
    tensor = keras.ops.convert_to_tensor(frames)
    for use in (
        lambda: normalizer(frames),
        lambda: normalizer(tensor),
        lambda: normalizer.inverse(frames),
        lambda: normalizer.inverse(tensor),
        lambda: normalizer(keras.Input((None, 20))),
        lambda: normalizer.center,
    ):
        with pytest.raises(RuntimeError, match=r"no statistics yet. Call `fit\(corpus, encoder\)`"):
            use()
    bare = make.from_config(make().fit(corpus, encoder).get_config())  # its size is known, its statistics are not
    with pytest.raises(RuntimeError, match="no statistics"):
        bare(frames)
    assert normalizer.fit(corpus, encoder).fitted


def test_bad_music_is_refused(encoder):
    with pytest.raises(ValueError, match=r"one whole frame, 10 samples.*longest track of 7 samples"):
        gl.Standardizer().fit([np.zeros(7, "int16"), np.zeros(3, "int16")], encoder)
    with pytest.raises(ValueError, match="at least one track"):
        gl.Standardizer().fit([], encoder)
    with pytest.raises(ValueError, match="finite"):
        gl.Standardizer().fit(np.full(100, np.nan, "float32"), encoder)


def test_other_features_are_refused(corpus, encoder):
    normalizer = gl.Standardizer().fit(corpus, encoder)
    with pytest.raises(ValueError, match=r"20 features.*shape=\(3, 8\)"):
        normalizer(np.zeros((3, 8), "float32"))
    with pytest.raises(ValueError, match="20 features"):
        normalizer(keras.Input((None, 8)))
    with pytest.raises(ValueError, match=r"6 numbers.*shape=\(3, 20\)"):
        Projection().fit(corpus, encoder).inverse(np.zeros((3, 20), "float32"))
    with pytest.raises(ValueError, match=r"made for 20 features.*statistics of 4"):
        normalizer.fit(corpus, gl.TimeBlocks(4))
    np.testing.assert_array_equal(
        to_numpy(normalizer.fit(corpus[:1], encoder).scale) > 0,
        [True] * 10 + [False] + [True] * 4 + [False] + [True] * 4,
    )


@pytest.mark.parametrize("make", CONTRACT)
def test_statistics_survive_saving_and_copying(make, corpus, encoder, frames, tmp_path):
    normalizer = make().fit(corpus, encoder)
    expected = normalizer(frames)
    inputs = keras.Input((None, 20))
    scaled = normalizer(inputs)
    model = keras.Model(inputs, [scaled, normalizer.inverse(scaled)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    results = loaded.predict(frames[None], verbose=0)
    np.testing.assert_allclose(results[0][0], expected, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(results[1][0], normalizer.inverse(expected), atol=1e-4)
    within = next(layer for layer in loaded.layers if isinstance(layer, make))
    for other in (within, copy.deepcopy(normalizer), pickle.loads(pickle.dumps(normalizer))):
        assert other.fitted
        np.testing.assert_array_equal(other(frames), expected)
        np.testing.assert_array_equal(to_numpy(other.center), to_numpy(normalizer.center))


def test_weights_can_be_set_on_a_bare_copy(corpus, encoder, frames):
    normalizer = gl.Standardizer().fit(corpus, encoder)
    other = gl.Standardizer.from_config(normalizer.get_config())
    other.set_weights(normalizer.get_weights())
    np.testing.assert_array_equal(other(frames), normalizer(frames))


@keras.saving.register_keras_serializable(package="tests")
class Scaler(keras.Model):
    """Owns its normalizer, as `AudioModel` does."""

    def __init__(self, normalizer, **kwargs):
        super().__init__(**kwargs)
        self.normalizer = (
            keras.saving.deserialize_keras_object(normalizer) if isinstance(normalizer, dict) else normalizer
        )

    def call(self, frames):
        return self.normalizer(frames) - self.normalizer.center

    def get_config(self):
        return {"normalizer": keras.saving.serialize_keras_object(self.normalizer)}


@pytest.mark.parametrize("make", CONTRACT)
def test_subclassed_models_load_their_statistics(make, corpus, encoder, frames, tmp_path):
    model = Scaler(make().fit(corpus, encoder))
    expected = model.predict(frames[None], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.normalizer.fitted
    np.testing.assert_allclose(loaded.predict(frames[None], verbose=0), expected, atol=1e-6)


def test_statistics_are_not_trained(corpus, encoder):
    normalizer = gl.Standardizer().fit(corpus, encoder)
    assert normalizer.trainable_variables == []
    assert [weight.shape for weight in normalizer.non_trainable_variables] == [(20,)] * 3


def test_identity_works_without_fit(frames):
    normalizer = gl.Identity()
    np.testing.assert_array_equal(normalizer(frames), frames)
    np.testing.assert_array_equal(normalizer.inverse(frames), frames)
    np.testing.assert_array_equal(to_numpy(normalizer.center), 0)


def test_a_new_normalizer_is_one_method(corpus, encoder, frames):
    class Loudest(normalizers.Affine):
        def choose(self, statistics):
            return np.zeros_like(statistics.mean), np.maximum(-statistics.low, statistics.high)

    np.testing.assert_allclose(np.abs(Loudest().fit(corpus, encoder)(frames)).max(), 1, atol=1e-6)
    with pytest.raises(NotImplementedError, match="choose"):
        normalizers.Affine().fit(corpus, encoder)


@pytest.mark.parametrize("make", CONTRACT)
def test_statistics_are_weights_in_single_precision_that_nobody_trains(make, corpus, encoder):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        normalizer = make().fit(corpus, encoder)
        assert {weight.dtype for weight in normalizer.weights} == {"float32"}
        assert normalizer.trainable_variables == []
        assert normalizer(keras.ops.ones((1, 20), "float16")).dtype == normalizer.center.dtype
    finally:
        keras.config.set_dtype_policy(before)


def test_get_takes_a_name_or_a_normalizer(corpus, encoder):
    for name, kind in zip(("standardizer", "global_scale", "min_max", "identity"), ALL, strict=True):
        assert type(normalizers.get(name)) is kind
    own = Projection()
    assert normalizers.get(own) is own
    assert normalizers.get("standardizer", mean=[1.0], std=[2.0]).inverse([[1.0]]) == 3
    with pytest.raises(ValueError, match=r"must be a Normalizer or one of standardizer.*Did you mean 'standardizer'"):
        normalizers.get("standarizer")
    with pytest.raises(ValueError, match="takes no options"):
        normalizers.get(own, width=2)


def test_a_contract_that_is_not_kept_is_named(corpus, encoder):
    bare = gl.Normalizer(2, 3)
    for use, name in (
        (lambda: bare.fit(corpus, encoder), "fit"),
        (lambda: bare(np.zeros((1, 2))), "normalize"),
        (lambda: bare.inverse(np.zeros((1, 3))), "restore"),
        (lambda: bare.center, "center"),
    ):
        with pytest.raises(NotImplementedError, match=name):
            use()
