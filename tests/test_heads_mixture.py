"""A mixture of Gaussians over frames: its density and draws against scipy, its bounds, and its way through a model."""

import keras
import numpy as np
import pytest
from _parts import shaken
from keras import ops
from scipy.special import logsumexp
from scipy.stats import norm

import gruvlike as gl
from gruvlike.heads import Mixture

pytestmark = pytest.mark.backends

K, W = 3, 4


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.fixture
def head():
    return Mixture(components=K)


@pytest.fixture
def output(rng, head):
    return (1.5 * rng.standard_normal((2, 5, head.outputs(W)))).astype("float32")


def parts_of(output):
    """The parts of outputs, in float64 and by another way: means, deviations, weights."""
    output = output.astype("float64")
    lead = output.shape[:-1]
    means = output[..., : K * W].reshape(*lead, K, W)
    raw = output[..., K * W : 2 * K * W].reshape(*lead, K, W)
    deviations = np.exp(-1 + 3 * np.tanh((raw + 1) / 3))
    logits = output[..., 2 * K * W :]
    return means, deviations, np.exp(logits - logsumexp(logits, axis=-1, keepdims=True))


def test_the_density_is_that_of_scipy(head, output, rng):
    target = rng.standard_normal((2, 5, W)).astype("float32")
    means, deviations, weights = parts_of(output)
    each = norm.logpdf(target[..., None, :].astype("float64"), means, deviations).sum(axis=-1)
    wanted = logsumexp(each + np.log(weights), axis=-1)
    found = numpy(head.log_density(target, ops.convert_to_tensor(output)))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(numpy(head.loss(target, ops.convert_to_tensor(output))), -found / W, rtol=1e-6)


def test_draws_have_the_moments_of_the_distribution(head, output, rng):
    one = output[0, 0]
    noise = rng.uniform(2**-24, 1 - 2**-24, (100_000, head.draws(W))).astype("float32")
    drawn = numpy(head.sample(ops.convert_to_tensor(np.tile(one, (len(noise), 1))), noise, 1.0))
    means, deviations, weights = parts_of(one)
    mean = (weights[:, None] * means).sum(axis=0)
    variance = (weights[:, None] * (deviations**2 + means**2)).sum(axis=0) - mean**2
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=5 * np.sqrt(variance.max() / len(noise)))
    np.testing.assert_allclose(drawn.var(axis=0), variance, rtol=0.05)
    np.testing.assert_allclose(numpy(head.mean(ops.convert_to_tensor(one))), mean, rtol=1e-4, atol=1e-5)


def test_temperature_scales_the_deviations_around_the_component_that_was_drawn(head, output, rng):
    noise = rng.uniform(0.01, 0.99, (2, 5, head.draws(W))).astype("float32")
    tensor = ops.convert_to_tensor(output)
    cold, mild, warm = (numpy(head.sample(tensor, noise, np.float32(t))) for t in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(mild - cold, 0.5 * (warm - cold), rtol=1e-3, atol=1e-5)
    means, _, weights = parts_of(output)
    index = (noise[..., :1] > np.cumsum(weights, axis=-1)[..., :-1]).sum(axis=-1)
    np.testing.assert_allclose(cold, np.take_along_axis(means, index[..., None, None], axis=-2)[..., 0, :], rtol=1e-5)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_no_output_makes_the_likelihood_or_its_gradient_blow_up(head, size):
    for sign in (1, -1):
        output = np.full((1, head.outputs(W)), sign * size, "float32")
        output[:, : K * W] = 0.25
        assert np.isfinite(numpy(head.loss(np.zeros((1, W), "float32"), ops.convert_to_tensor(output)))).all()
    exact = np.zeros((1, head.outputs(W)), "float32")
    exact[:, K * W : 2 * K * W] = -size
    assert numpy(head.loss(np.zeros((1, W), "float32"), ops.convert_to_tensor(exact)))[0] > -5  # nats a number


def test_a_component_that_dies_does_no_harm(head, rng):
    output = rng.standard_normal((1, head.outputs(W))).astype("float32")
    output[:, -1] = -1e9
    noise = np.full((1, head.draws(W)), 1 - 2.0**-24, "float32")
    assert np.isfinite(numpy(head.loss(np.zeros((1, W), "float32"), ops.convert_to_tensor(output)))).all()
    assert np.isfinite(numpy(head.sample(ops.convert_to_tensor(output), noise, np.float32(1)))).all()


def test_the_first_guess_has_six_tenths_of_the_deviation_of_the_music(head):
    spread = np.array([0.2, 0.5, 1.0, 3.0])
    _, log_deviations, _ = head.parts(ops.convert_to_tensor(head.start(W, spread)))
    np.testing.assert_allclose(np.exp(numpy(log_deviations)), np.tile(0.6 * spread, (K, 1)), rtol=1e-4)


def test_a_shift_moves_the_mean_and_nothing_else(head, output, rng):
    offset = rng.standard_normal((2, 5, W)).astype("float32")
    tensor = ops.convert_to_tensor(output)
    moved = head.shift(tensor, ops.convert_to_tensor(offset))
    np.testing.assert_allclose(numpy(head.mean(moved)), numpy(head.mean(tensor)) + offset, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(numpy(moved)[..., K * W :], output[..., K * W :])


def test_components_are_checked():
    with pytest.raises(ValueError, match="components"):
        Mixture(components=0)


@pytest.fixture
def model(melody):
    encoder = gl.MDCT(8)
    normalizer = gl.Standardizer().fit(melody, encoder)
    head = Mixture(components=2)
    stack = gl.recurrent_stack(8, cell="gru", units=(12,), head=head, input_noise=0.2, random_seed=0)
    model = gl.AudioModel(encoder, normalizer, stack, sample_rate=8000, head=head)
    model.compile("adam")
    return model


def test_a_model_with_a_mixture_learns_saves_and_sings(model, melody, tmp_path):
    windows = melody[: 40 * 136].reshape(40, 136)
    losses = model.fit(windows, epochs=15, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0] - 0.2
    model.save(tmp_path / "run.keras")
    songs = [
        gl.Generator(one).extend(melody[:800], steps=40, random_seed=3, temperature=0.7)
        for one in (model, gl.load(tmp_path / "run.keras"))
    ]
    np.testing.assert_array_equal(*songs)
    assert np.std(songs[0]) > 0.01


def test_carried_states_and_the_whole_past_give_the_same_draws(model, melody):
    shaken(model.stack)
    generator = gl.Generator(model)
    carried, full = (generator.extend(melody[:400], steps=20, history=h, random_seed=1) for h in ("carry", "full"))
    np.testing.assert_allclose(carried, full, atol=1e-4)


def test_a_mixture_computes_in_float32_under_mixed_precision(melody):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        head = Mixture(components=2)
        stack = gl.recurrent_stack(8, units=(4,), head=head, random_seed=0)
        assert head.compute_dtype == "float32"
        assert "float32" in str(stack.outputs[0].dtype)
    finally:
        keras.config.set_dtype_policy("float32")
