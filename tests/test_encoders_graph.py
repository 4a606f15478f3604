"""Encoders inside models: tensors, compiled, symbolic, with gradients, in half precision, saved."""

import keras
import numpy as np
import pytest

import gruvlike as gl

pytestmark = pytest.mark.backends

ENCODERS = [
    gl.TimeBlocks(10),
    gl.BlockDFT(10),
    gl.HalfDFT(9),
    gl.STFT(16, 5),
    gl.MDCT(10),
    gl.MDCT(514),
    gl.LogSpectrum(16, 4),
    gl.LogSpectrum(64, mels=5, sample_rate=8000),
]
INVERTIBLE = [encoder for encoder in ENCODERS if encoder.invertible]
BACKEND = keras.backend.backend()


def over(encoders):
    return pytest.mark.parametrize("encoder", encoders, ids=lambda encoder: encoder.name)


def to_tensor(x):
    return keras.ops.convert_to_tensor(x)


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


def compiled(function):
    """Compiles a function of one tensor as the backend does: XLA, or as it is under torch."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    return function


def gradient(function, x):
    """Returns the gradient of a scalar function at the numpy array `x`."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x).numpy()
    if BACKEND == "jax":
        import jax

        return np.asarray(jax.jit(jax.grad(function))(x))
    x = keras.ops.convert_to_tensor(x).requires_grad_()
    function(x).backward()
    return x.grad.cpu().numpy()


@over(ENCODERS)
def test_tensors_give_what_numpy_gives(encoder, rng):
    x = rng.uniform(-1, 1, (2, encoder.span(4) + 1)).astype("float32")
    expected = encoder.encode(x)
    frames = encoder.encode(to_tensor(x))
    assert keras.ops.is_tensor(frames)
    np.testing.assert_allclose(to_numpy(frames), expected, atol=2e-5)
    if encoder.invertible:
        np.testing.assert_allclose(to_numpy(encoder.decode(frames)), encoder.decode(expected), atol=1e-5)


@over(ENCODERS)
def test_pcm_tensors_are_scaled(encoder, rng):
    pcm = rng.integers(-32768, 32767, encoder.span(2)).astype("int16")
    frames = compiled(lambda x: encoder.encode(x, padded=False))(to_tensor(pcm))
    np.testing.assert_allclose(to_numpy(frames), encoder.encode(pcm, padded=False), atol=2e-5)


@over(ENCODERS)
def test_too_short_a_tensor_gives_no_frame(encoder):
    if encoder.span(1) > 1:
        short = keras.ops.zeros((2, encoder.span(1) - 1))
        assert tuple(encoder.encode(short, padded=False).shape) == (2, 0, encoder.features)


@over(ENCODERS)
def test_compiled_gives_what_eager_gives(encoder, rng):
    x = rng.uniform(-1, 1, encoder.span(4)).astype("float32")
    frames = encoder.encode(x)
    np.testing.assert_allclose(to_numpy(compiled(encoder.encode)(to_tensor(x))), frames, atol=2e-5)
    if encoder.invertible:
        np.testing.assert_allclose(
            to_numpy(compiled(encoder.decode)(to_tensor(frames))), encoder.decode(frames), atol=1e-5
        )


@over(ENCODERS)
@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow graphs have unknown sizes")
def test_graphs_with_unknown_sizes(encoder, rng):
    import tensorflow as tf

    unknown = tf.TensorSpec((None, None), "float32")
    padded = tf.function(lambda x: encoder.encode(x), input_signature=[unknown])
    inside = tf.function(lambda x: encoder.encode(x, padded=False), input_signature=[unknown])
    decode = tf.function(
        lambda frames: encoder.decode(frames), input_signature=[tf.TensorSpec((None, None, encoder.features))]
    )
    for size in (1, encoder.span(1), encoder.span(5) + 1):
        x = rng.uniform(-1, 1, (2, size)).astype("float32")
        frames = encoder.encode(x)
        np.testing.assert_allclose(padded(x), frames, atol=2e-5)
        np.testing.assert_allclose(inside(x), encoder.encode(x, padded=False), atol=2e-5)
        if encoder.invertible:
            np.testing.assert_allclose(decode(frames), encoder.decode(frames), atol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "size"), [(encoder, None) for encoder in ENCODERS] + [(gl.STFT(16, 5, name="stft_fixed"), 1100)]
)
def test_models_hold_encoders_and_can_be_saved(encoder, size, tmp_path, rng):
    x = rng.uniform(-1, 1, (2, 1100)).astype("float32")
    pcm = keras.Input((size,))
    inside, padded = encoder(pcm), encoder.encode(pcm)
    assert inside.shape == (None, None if size is None else encoder.encode(x, padded=False).shape[1], encoder.features)
    outputs = [inside, padded, encoder.decode(padded)] if encoder.invertible else [inside, padded]
    model = keras.Model(pcm, outputs)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    expected = [encoder.encode(x, padded=False), encoder.encode(x), encoder.decode(encoder.encode(x))]
    for given in (model, loaded):
        results = given.predict(x, verbose=0)
        for result, wanted, output in zip(results, expected, given.outputs, strict=False):
            np.testing.assert_allclose(result, wanted, atol=2e-5)
            assert all(known in (None, real) for known, real in zip(output.shape, result.shape, strict=True))


@over(INVERTIBLE)
def test_gradients_flow_both_ways(encoder, rng):
    """Both ways are linear, so the gradient of <weights, f(x)> must give back f: <gradient, x> = <weights, f(x)>."""
    x = rng.uniform(-1, 1, encoder.span(3)).astype("float32")
    frames = rng.normal(size=(4, encoder.features)).astype("float32")
    for function, value in [(encoder.encode, x), (encoder.decode, frames)]:
        weights = rng.normal(size=function(value).shape).astype("float32")
        slope = gradient(lambda v, f=function, w=weights: keras.ops.sum(keras.ops.multiply(f(v), w)), value)
        expected = np.sum(function(value) * weights)
        assert slope.shape == value.shape
        assert np.abs(slope).max() > 0
        np.testing.assert_allclose(np.sum(slope * value), expected, rtol=1e-3, atol=1e-2)


@over([encoder for encoder in ENCODERS if not encoder.invertible])
def test_gradient_of_the_log_spectrum_is_right_and_finite_in_silence(encoder, rng):
    x = rng.uniform(-1, 1, encoder.span(2)).astype("float32")
    direction = rng.normal(size=x.shape).astype("float32")

    def total(v):
        return keras.ops.sum(encoder.encode(v))

    slope = gradient(total, x) @ direction
    step = np.float32(1e-3)
    numeric = (encoder.encode(x + step * direction).sum() - encoder.encode(x - step * direction).sum()) / (2 * step)
    np.testing.assert_allclose(slope, numeric, rtol=0.05, atol=0.5)
    assert np.isfinite(gradient(total, np.zeros_like(x))).all()


class Round(keras.layers.Layer):
    """Encodes, scales, and goes back, inside another layer, as a model does."""

    def __init__(self, encoder, normalizer):
        super().__init__()
        self.encoder, self.normalizer = encoder, normalizer

    def call(self, x):
        frames = self.normalizer(self.encoder(x))
        return frames, self.encoder.decode(self.normalizer.inverse(frames))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_float32_whatever_the_policy(policy, rng):
    x = rng.uniform(-1, 1, (1, 1000)).astype("float32")
    pcm = np.round(x * 32767).astype("int16")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        encoder = gl.MDCT(10)
        layer = Round(encoder, gl.Standardizer().fit(x, encoder))
        frames, sound = layer(to_tensor(pcm))
        for given in (frames, sound, layer.normalizer.mean):
            assert keras.backend.standardize_dtype(given.dtype) == "float32"
        # Half precision would be off by 1e-3.
        np.testing.assert_allclose(to_numpy(sound)[0], pcm[0, 10:-10] / 32768, atol=1e-5)
        assert layer.encoder(keras.Input((1000,), dtype="int16")).dtype == "float32"
        with pytest.raises(TypeError, match="dtype"):
            gl.MDCT(10, dtype=policy)
    finally:
        keras.config.set_dtype_policy(before)


def test_wrong_shapes_are_refused_symbolically():
    with pytest.raises(ValueError, match=r"20 features.*with 19 features"):
        gl.BlockDFT(10).decode(keras.Input((None, 19)))
    with pytest.raises(ValueError, match="shape"):
        gl.BlockDFT(10)(keras.Input((5, 6)))
