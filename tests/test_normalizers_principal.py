"""Principal components: the directions of scikit-learn, the scale, bounds from quantiles, frames without variance."""

import keras
import numpy as np
import pytest
from _parts import Projection

import gruvlike as gl
from gruvlike import normalizers
from gruvlike.encoders import _base
from gruvlike.normalizers import _moments, _principal_components

pytestmark = pytest.mark.backends

FEATURES = 12


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


def make_frames(count, random_seed=0):
    """Frames of features that hang together, of different strength, around large means."""
    rng = np.random.default_rng(random_seed)
    mixed = rng.normal(size=(count, FEATURES)) @ np.random.default_rng(99).normal(size=(FEATURES, FEATURES))
    return (mixed * np.geomspace(0.01, 10, FEATURES) + np.linspace(-50, 50, FEATURES)).astype("float32")


@pytest.fixture(scope="module")
def frames():
    return make_frames(1000)


@pytest.fixture(scope="module")
def standardized(frames):
    exact = frames.astype("float64")
    return (exact - exact.mean(axis=0)) / exact.std(axis=0)


def fitted(frames, components=5):
    """Fits to frames as they are: a block of sound is a frame."""
    return gl.PrincipalComponents(components).fit(frames.ravel(), gl.TimeBlocks(frames.shape[1]))


def test_directions_are_those_of_scikit_learn(frames, standardized):
    decomposition = pytest.importorskip("sklearn.decomposition")
    other = decomposition.PCA(5, svd_solver="full").fit(standardized)
    normalizer = fitted(frames)
    directions, scale = to_numpy(normalizer.directions), to_numpy(normalizer.scale)
    np.testing.assert_allclose(np.abs(np.sum(directions * other.components_.T, axis=0)), 1, atol=1e-5)
    np.testing.assert_allclose(directions.T @ directions, np.eye(5), atol=1e-5)
    variances = other.explained_variance_ * (len(frames) - 1) / len(frames)
    np.testing.assert_allclose((to_numpy(normalizer.spread) / scale) ** 2, variances, rtol=1e-5)
    numbers = normalizer(frames)
    signs = np.sign(np.sum(directions * other.components_.T, axis=0))
    np.testing.assert_allclose(numbers / scale * signs, other.transform(standardized), rtol=1e-3, atol=1e-3)


def test_a_coefficient_is_divided_by_the_root_of_its_deviation(frames, standardized):
    normalizer = fitted(frames)
    coefficients = standardized @ to_numpy(normalizer.directions)
    deviation = coefficients.std(axis=0)
    numbers = normalizer(frames)
    expected = coefficients / np.sqrt(deviation)
    expected /= np.sqrt(np.mean(expected.var(axis=0)))
    np.testing.assert_allclose(numbers, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(np.mean(numbers.var(axis=0, dtype="float64")), 1, rtol=1e-5)
    np.testing.assert_allclose(to_numpy(normalizer.spread), numbers.std(axis=0, dtype="float64"), rtol=1e-5)
    np.testing.assert_array_equal(to_numpy(normalizer.center), np.zeros(5))
    assert deviation[0] > 1.5 * deviation[-1]  # the control: the scale matters


def test_the_way_back_is_the_projection_within_the_range_of_each_feature(frames, standardized):
    normalizer = fitted(frames)
    directions = to_numpy(normalizer.directions).astype("float64")
    exact = frames.astype("float64")
    projected = exact.mean(axis=0) + exact.std(axis=0) * (standardized @ directions @ directions.T)
    low, high = frames.min(axis=0), frames.max(axis=0)
    back = normalizer.inverse(normalizer(frames))
    np.testing.assert_allclose(back, np.clip(projected, low, high), rtol=1e-4, atol=1e-3)
    assert np.abs(back - frames).max() > 0.1  # the control
    wild = normalizer.inverse(np.array([[1e6] * 5, [-1e6] * 5], "float32"))
    assert ((wild >= low) & (wild <= high)).all()


def test_all_components_lose_nothing_within_the_bounds(frames):
    normalizer = fitted(frames, FEATURES)
    np.testing.assert_allclose(normalizer.inverse(normalizer(frames)), frames, rtol=1e-4, atol=1e-4)
    further = normalizer(frames + 1000)
    np.testing.assert_allclose(normalizer.inverse(further)[0], frames.max(axis=0), rtol=1e-6)
    assert (further > to_numpy(normalizer.bounds[1])).any()  # only the way back clips


def test_pieces_and_tracks_give_what_the_whole_gives(frames, monkeypatch):
    whole = fitted(frames)
    monkeypatch.setattr(_base, "PIECE_SIZE", 7 * FEATURES)
    pieces = gl.PrincipalComponents(5).fit([frames[:300].ravel(), frames[300:].ravel()], gl.TimeBlocks(FEATURES))
    rows = gl.PrincipalComponents(5).fit(frames.reshape(50, -1), gl.TimeBlocks(FEATURES))
    for other in (pieces, rows):
        for one, two in zip(whole.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-5)


def test_covariance_in_pieces_is_that_of_numpy(frames):
    moments = _moments.Moments(FEATURES)
    for start in range(0, 1000, 37):
        moments.add(frames[start : start + 37] + np.float32(1000))
    exact = (frames + np.float32(1000)).astype("float64")
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.variance, exact.var(axis=0), rtol=1e-6)
    variances, directions = moments.principal(np.sqrt(moments.variance), FEATURES)
    expected = np.corrcoef(exact.T)
    np.testing.assert_allclose(directions * variances @ directions.T, expected, atol=1e-6)


# --- quantiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 100, 5001])
@pytest.mark.parametrize("share", [0.0, 0.0003, 0.01])
def test_quantiles_are_those_of_numpy(rng, count, share):
    numbers = rng.normal(size=(count, 70)).astype("float32")
    low, high = _moments.quantiles(numbers, share)
    np.testing.assert_array_equal(low, np.quantile(numbers, share, axis=0, method="lower"))
    np.testing.assert_array_equal(high, np.quantile(numbers, 1 - share, axis=0, method="higher"))


def test_bounds_are_quantiles_of_music():
    frames = make_frames(15_000)
    normalizer = fitted(frames)
    numbers = normalizer(frames)
    for bound, share, method in zip(normalizer.bounds, (0.0003, 0.9997), ("lower", "higher"), strict=True):
        np.testing.assert_allclose(to_numpy(bound), np.quantile(numbers, share, axis=0, method=method), rtol=1e-5)
    clipped = normalizer.inverse(np.array([[1e6] * 5, [-1e6] * 5], "float32"))
    extremes = [np.quantile(frames, q, axis=0, method=m) for q, m in ((0.0005, "lower"), (0.9995, "higher"))]
    np.testing.assert_array_equal(np.sort(clipped, axis=0), extremes)
    assert (numbers.max(axis=0) > to_numpy(normalizer.bounds[1])).all()  # rare extremes lie outside


@pytest.mark.parametrize("sizes", [[5], [64], [65], [1] * 200, [3, 100, 1, 900, 17], [5000]])
def test_a_sample_is_even_and_bounded(sizes):
    sample, total = _moments.EvenSample(1, most=64), sum(sizes)
    for frames in np.split(np.arange(total, dtype="float32")[:, None], np.cumsum(sizes)[:-1]):
        sample.add(frames)
    step = 1
    while -(-total // step) > 64:
        step *= 2
    np.testing.assert_array_equal(sample.frames[:, 0], np.arange(0, total, step))


def test_more_frames_than_the_sample_holds_give_nearly_the_same_bounds(monkeypatch):
    frames = make_frames(15_000)
    all_of_them = fitted(frames)
    monkeypatch.setattr(_moments, "_MOST_FRAMES", 4096)
    some = fitted(frames)
    spread = to_numpy(some.spread)
    for one, other in zip(all_of_them.bounds, some.bounds, strict=True):
        assert (np.abs(to_numpy(one) - to_numpy(other)) < 0.6 * spread).all()
    np.testing.assert_array_equal(to_numpy(some.directions), to_numpy(all_of_them.directions))


def test_wide_frames_are_sampled_less():
    assert len(_moments.EvenSample(513)._kept) == 2**14
    assert _moments.EvenSample(22_050)._kept.nbytes <= 2**27
    assert len(_moments.EvenSample(22_050)._kept) == 1520


# --- what does not vary -----------------------------------------------------------------------------------------------


def test_signs_are_fixed(rng):
    """Mirrored spectra: for each number of a direction there is one of the same size and often of the other sign."""
    sound = rng.normal(size=4000).astype("float32")
    encoder = gl.BlockDFT(16)
    one = gl.PrincipalComponents(10).fit(sound, encoder)
    order = rng.permutation(250)
    other = gl.PrincipalComponents(10).fit(sound.reshape(250, 16)[order].ravel(), encoder)
    np.testing.assert_allclose(to_numpy(other.directions), to_numpy(one.directions), atol=1e-4)
    directions = to_numpy(one.directions)
    assert (directions.max(axis=0) >= 0.999 * -directions.min(axis=0)).all()


def test_constant_features_and_directions_without_variance_are_zeros(frames):
    frames = np.concatenate([frames, frames[:, :3], np.full((1000, 1), 0.5), np.zeros((1000, 1))], axis=1)
    normalizer = fitted(frames.astype("float32"), 17)
    numbers = normalizer(frames)
    np.testing.assert_array_equal(numbers[:, FEATURES:], 0)  # three copies and two constants add no dimension
    assert (numbers[:, :FEATURES].std(axis=0) > 0).all()
    np.testing.assert_array_equal(to_numpy(normalizer.spread)[FEATURES:], 0)
    np.testing.assert_allclose(normalizer.inverse(numbers), frames, rtol=1e-4, atol=1e-4)
    wild = normalizer.inverse(np.full((1, 17), 1e6, "float32"))
    np.testing.assert_array_equal(wild[0, -2:], [0.5, 0])
    assert all(np.isfinite(weight).all() for weight in normalizer.get_weights())
    other = normalizer(np.where(np.arange(17) > 14, 1e6, frames).astype("float32"))
    np.testing.assert_allclose(other, numbers)  # a constant feature is not blown up


def test_fewer_frames_than_components():
    frames = make_frames(3)
    normalizer = fitted(frames, 8)
    numbers = normalizer(frames)
    np.testing.assert_array_equal(numbers[:, 2:], 0)
    np.testing.assert_allclose(normalizer.inverse(numbers), frames, rtol=1e-4, atol=1e-4)
    single = gl.PrincipalComponents(2)
    with pytest.warns(UserWarning, match="varies"):
        single.fit(frames[:1].ravel(), gl.TimeBlocks(FEATURES))
    np.testing.assert_allclose(single.inverse([[9.0, 9.0]]), frames[:1])


def test_silence_is_warned_of():
    encoder = gl.LogSpectrum(64)
    with pytest.warns(UserWarning, match="is it silence"):
        normalizer = gl.PrincipalComponents(4).fit(np.zeros(1000, "int16"), encoder)
    loud = encoder.encode(np.ones(64, "float32"), padded=False)
    np.testing.assert_array_equal(normalizer(loud), 0)
    quiet = encoder.encode(np.zeros(64, "float32"), padded=False)
    np.testing.assert_allclose(normalizer.inverse(np.ones((1, 4), "float32")), quiet, rtol=1e-5)
    for bound in (*normalizer.bounds, normalizer.spread):
        np.testing.assert_array_equal(to_numpy(bound), 0)


# --- music and bad input ----------------------------------------------------------------------------------------------


def test_frames_at_an_edge_that_are_not_full_are_left_out(rng):
    encoder = gl.LogSpectrum(64, hop=16)
    sound = rng.normal(size=encoder.span(40)).astype("float32") / 10
    normalizer = gl.PrincipalComponents(6).fit(sound, encoder)
    loud = np.concatenate([sound, np.ones(15, "float32")])  # one sample is missing to the next frame
    other = gl.PrincipalComponents(6).fit([loud, np.ones(63, "float32")], encoder)
    for one, two in zip(normalizer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    padded = fitted(encoder.encode(sound), 6)
    assert np.abs(to_numpy(padded.mean) - to_numpy(normalizer.mean)).max() > 0.01  # the control


def test_a_tensor_gives_what_numpy_gives_within_a_model(frames, tmp_path):
    normalizer = fitted(frames)
    inputs = keras.Input((None, FEATURES))
    numbers = normalizer(inputs)
    model = keras.Model(inputs, [numbers, normalizer.inverse(3 * numbers)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    found, back = loaded.predict(frames[None], verbose=0)
    np.testing.assert_allclose(found[0], normalizer(frames), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(back[0], normalizer.inverse(3 * normalizer(frames)), rtol=1e-4, atol=1e-4)
    within = next(layer for layer in loaded.layers if isinstance(layer, gl.PrincipalComponents))
    assert (within.components, within.width, within.features) == (5, 5, FEATURES)
    for one, other in zip(within.bounds, normalizer.bounds, strict=True):
        np.testing.assert_array_equal(to_numpy(one), to_numpy(other))
    np.testing.assert_array_equal(to_numpy(within.spread), to_numpy(normalizer.spread))


def test_spread_and_bounds_are_known_where_they_are_cheap(frames):
    encoder, music = gl.TimeBlocks(FEATURES + 1), np.pad(frames, ((0, 0), (0, 1))).ravel()
    standardizer = gl.Standardizer().fit(music, encoder)
    np.testing.assert_array_equal(to_numpy(standardizer.spread), [1] * FEATURES + [0])
    assert standardizer.bounds is None
    for make in (gl.GlobalScale, gl.MinMax, gl.Identity, Projection):
        assert make().fit(music, encoder).spread is None
    for make in (gl.PrincipalComponents, gl.Standardizer):
        with pytest.raises(RuntimeError, match="no statistics"):
            make().spread  # noqa: B018
    with pytest.raises(RuntimeError, match="no statistics"):
        gl.PrincipalComponents().bounds  # noqa: B018


@pytest.mark.parametrize("components", [0, -1, 2.5, True, None, "4"])
def test_components_are_a_positive_integer(components):
    with pytest.raises(ValueError, match="`components` must be a positive integer"):
        gl.PrincipalComponents(components)


def test_more_components_than_features_are_refused(frames):
    message = r"at most the features of a frame.*components=128, 12 features\. Use fewer components"
    normalizer = gl.PrincipalComponents()
    with pytest.raises(ValueError, match=message):
        normalizer.fit(frames.ravel(), gl.TimeBlocks(FEATURES))
    with pytest.raises(ValueError, match=message):
        gl.PrincipalComponents(features=FEATURES)
    assert not normalizer.fitted
    assert normalizers.get("principal_components", components=3).width == 3


def test_it_is_fitted_again_to_frames_of_the_same_size_alone(frames):
    normalizer = fitted(frames)
    other = make_frames(500, random_seed=1)
    again = normalizer.fit(other.ravel(), gl.TimeBlocks(FEATURES))
    np.testing.assert_array_equal(again(other), fitted(other)(other))
    with pytest.raises(ValueError, match=r"made for 12 features.*an encoder of 8"):
        normalizer.fit(other.ravel(), gl.TimeBlocks(8))


def test_a_matrix_that_does_not_fit_in_memory_is_refused(monkeypatch):
    monkeypatch.setattr(_principal_components, "host_bytes", lambda: 10**9)
    with pytest.raises(
        ValueError, match=r"22050 features, which take 5\.88 GB, with 1 GB free\. Use an encoder of fewer"
    ):
        gl.PrincipalComponents().fit([], gl.BlockDFT(11025))
    for free in (10**6, None):  # enough, or not known
        monkeypatch.setattr(_principal_components, "host_bytes", lambda free=free: free)
        fitted(make_frames(30))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_frames_that_are_not_finite_are_refused(value):
    class Broken(gl.TimeBlocks):
        def analyze(self, pieces, xp):
            return xp.where(pieces == 0.5, value, pieces)

    music = np.array([0.1, 0.2, 0.3, 0.5, 0.5, 0.1, 0.1, 0.5], "float32")
    with pytest.raises(ValueError, match=r"Frames must be finite.*in 2 of 2 features"):
        gl.PrincipalComponents(1).fit(music, Broken(2))
    with pytest.raises(ValueError, match="at least one whole frame"):
        gl.PrincipalComponents(1).fit(music, gl.TimeBlocks(9))
