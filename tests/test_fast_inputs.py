"""One product for the inputs of all steps gives the results of the layers of Keras, and trains alike."""

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike._fast._inputs import batch_inputs

pytestmark = pytest.mark.backends

LAYERS = {
    "lstm": lambda: keras.layers.LSTM(5, return_sequences=True),
    "gru": lambda: keras.layers.GRU(5, return_sequences=True),
    "lstm, no bias, other activations": lambda: keras.layers.LSTM(
        5, return_sequences=True, use_bias=False, activation="softsign", recurrent_activation="hard_sigmoid"
    ),
    "gru, no bias, backwards": lambda: keras.layers.GRU(5, return_sequences=True, use_bias=False, go_backwards=True),
    "lstm, last output": lambda: keras.layers.LSTM(5),
    "lstm, no bias, backwards": lambda: keras.layers.LSTM(5, return_sequences=True, use_bias=False, go_backwards=True),
    "lstm, frames of 4 times its size and more": lambda: keras.layers.LSTM(1, return_sequences=True),
}


def replaced(stack):
    return [layer.name for layer in stack.layers if "inner_loop" in vars(layer)]


def outputs(stack, frames):
    return keras.ops.convert_to_numpy(stack(frames))


def compile_both(stack, fast, **options):
    """Only the fast one is traced: the stock layers are the reference, and give the same numbers step by step."""
    stack.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=keras.backend.backend() == "tensorflow")
    fast.compile(keras.optimizers.SGD(0.1), "mse", **options)


def make(layer):
    """A stack of one recurrent layer with random biases, and the same again."""
    rng = np.random.default_rng(0)
    stack = keras.Sequential([keras.Input((None, 4)), layer(), keras.layers.Dense(2)])
    stack.set_weights([rng.standard_normal(w.shape) for w in stack.get_weights()])
    same = keras.models.clone_model(stack)
    same.set_weights(stack.get_weights())
    return stack, same


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_outputs_and_gradients_are_those_of_the_stock_layer(layer):
    stack, fast = make(layer)
    batch_inputs(fast)
    activations = {stack.layers[0].activation, stack.layers[0].recurrent_activation}
    in_torch = activations == {keras.activations.tanh, keras.activations.sigmoid}
    assert bool(replaced(fast)) == (keras.backend.backend() != "torch" or in_torch)
    frames = np.random.default_rng(1).standard_normal((4, 7, 4)).astype("float32")
    expected = outputs(stack, frames)
    np.testing.assert_allclose(outputs(fast, frames), expected, atol=1e-5)
    compile_both(stack, fast)
    for model in (stack, fast):
        model.train_on_batch(frames, expected + 1)
    untrained, _ = make(layer)
    for one, other, before in zip(stack.get_weights(), fast.get_weights(), untrained.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
        assert np.abs(one - before).max() > 1e-4


def test_masks_and_mixed_precision_are_kept():
    for policy, tolerance in (("float32", 1e-5), ("mixed_bfloat16", 0.05)):
        layers = [keras.Input((None, 3)), keras.layers.Masking(), keras.layers.LSTM(4, dtype=policy)]
        stack = keras.Sequential(layers)
        frames = np.random.default_rng(1).standard_normal((2, 6, 3)).astype("float32")
        frames[0, 4:] = 0
        expected = keras.ops.convert_to_numpy(stack(frames)).astype("float32")
        assert not np.allclose(keras.ops.convert_to_numpy(stack.layers[-1](frames)), expected, atol=1e-3)
        batch_inputs(stack)
        output = stack(frames)
        assert keras.backend.standardize_dtype(output.dtype) == stack.layers[-1].compute_dtype
        np.testing.assert_allclose(keras.ops.convert_to_numpy(output).astype("float32"), expected, atol=tolerance)


@pytest.mark.parametrize(
    ("layer", "policy", "tolerance"),
    [
        (keras.layers.LSTM, "mixed_bfloat16", 0.05),
        (keras.layers.GRU, "float32", 1e-5),
        pytest.param(keras.layers.LSTM, "float32", 1e-5, marks=pytest.mark.slow),
        pytest.param(keras.layers.GRU, "mixed_bfloat16", 0.05, marks=pytest.mark.slow),
    ],
)
def test_given_states_get_their_gradients(layer, policy, tolerance):
    """Two windows one after the other: the second one changes the gradient of the first only through the states."""
    rng = np.random.default_rng(0)
    frames = rng.standard_normal((2, 6, 3)).astype("float32")

    def make(carries):
        recurrent = layer(4, return_sequences=True, return_state=True, dtype=policy)
        first = keras.Input((3, 3))
        second = keras.Input((3, 3))
        _, *states = recurrent(first)
        if not carries:
            states = [keras.ops.zeros_like(state) for state in states]
        model = keras.Model([first, second], recurrent(second, initial_state=states)[0])
        model.set_weights([np.random.default_rng(1).standard_normal(w.shape) for w in model.get_weights()])
        return model

    def trained(carries, fast):
        model = make(carries)
        if fast:
            batch_inputs(model)
        eager = not fast and keras.backend.backend() == "tensorflow"  # as in `compile_both`
        model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=eager)
        model.train_on_batch([frames[:, :3], frames[:, 3:]], np.ones((2, 3, 4), "float32"))
        return model.get_weights()

    expected, found, other = trained(True, False), trained(True, True), trained(False, True)
    for one, same in zip(expected, found, strict=True):
        np.testing.assert_allclose(same, one, atol=tolerance)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(expected, other, strict=True))


@pytest.mark.parametrize("make_layer", [keras.layers.LSTM, pytest.param(keras.layers.GRU, marks=pytest.mark.slow)])
def test_a_single_step_and_batches_of_any_size(make_layer):
    """Carried by the layer itself, the state of one clip has a size that the batch does not tell."""
    rng = np.random.default_rng(0)

    def make():
        keras.utils.set_random_seed(0)
        layer = make_layer(4, return_sequences=True, stateful=True)
        return keras.Sequential([keras.Input(batch_shape=(1, None, 3)), layer, keras.layers.Dense(3)])

    stack, fast = make(), make()
    batch_inputs(fast)
    compile_both(stack, fast)
    # The layer of Keras cannot be trained on torch: it changes a tensor in place that the gradient needs.
    models, before = (stack, fast) if keras.backend.backend() != "torch" else (fast,), stack.get_weights()
    for steps in (5, 1, 2):
        frames = rng.standard_normal((3, steps, 3)).astype("float32")
        for model in models:
            model.fit(frames, frames, batch_size=1, shuffle=False, verbose=0)
    for one, other, start in zip(models[0].get_weights(), fast.get_weights(), before, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
        assert np.abs(other - start).max() > 1e-4
    free, same = make_two(make_layer)
    for size, steps in ((4, 5), (1, 1), (3, 5)):
        frames = rng.standard_normal((size, steps, 3)).astype("float32")
        expected, found = free.train_on_batch(frames, frames), same.train_on_batch(frames, frames)
        assert float(found) == pytest.approx(float(expected), abs=1e-5)


def make_two(make_layer):
    def make():
        keras.utils.set_random_seed(0)
        layer = make_layer(4, return_sequences=True)
        return keras.Sequential([keras.Input((None, 3)), layer, keras.layers.Dense(3)])

    stack, fast = make(), make()
    batch_inputs(fast)
    compile_both(stack, fast)
    return stack, fast


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch has no XLA here")
def test_xla_compiles_it():
    stack, fast = make(LAYERS["lstm"])
    batch_inputs(fast)
    frames = np.random.default_rng(1).standard_normal((4, 7, 4)).astype("float32")
    compile_both(stack, fast, jit_compile=True)
    for model in (stack, fast):
        model.train_on_batch(frames, np.ones((4, 7, 2), "float32"))
    for one, other in zip(stack.get_weights(), fast.get_weights(), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)


def test_layers_of_another_formula_stay():
    others = [
        keras.layers.LSTM(4, return_sequences=True, recurrent_dropout=0.5),
        keras.layers.LSTM(4, return_sequences=True, dropout=0.5),
        keras.layers.GRU(4, return_sequences=True, reset_after=False),
        keras.layers.SimpleRNN(4, return_sequences=True),
        keras.layers.LSTM(4, return_sequences=True, activation=keras.layers.PReLU(shared_axes=[1])),
    ]
    stack = keras.Sequential([keras.Input((None, 3)), *others])
    batch_inputs(stack)
    assert replaced(stack) == []


def test_what_is_saved_and_cloned_is_stock(tmp_path):
    stack = gl.recurrent_stack(8, units=(4, 4), random_seed=0)
    before = stack.to_json()
    batch_inputs(stack)
    assert stack.to_json() == before
    stack.save(tmp_path / "stack.keras")
    loaded = keras.saving.load_model(tmp_path / "stack.keras")
    assert replaced(loaded) == replaced(keras.models.clone_model(stack)) == []
    frames = np.ones((1, 5, 8), "float32")
    np.testing.assert_allclose(loaded.predict(frames, verbose=0), stack.predict(frames, verbose=0), atol=1e-6)


def test_generation_and_training_still_work(melody):
    encoder = gl.TimeBlocks(8)
    stack = gl.recurrent_stack(8, units=(4,), random_seed=0)
    before = gl.Generator(stack, encoder=encoder, sample_rate=8000).extend(melody[:80], steps=3, history="full")
    batch_inputs(stack)
    for history in ("carry", "full"):
        song = gl.Generator(stack, encoder=encoder, sample_rate=8000).extend(melody[:80], steps=3, history=history)
        np.testing.assert_allclose(song, before, atol=1e-5)
    model = gl.AudioModel(encoder, gl.Identity(), stack, sample_rate=8000)
    model.compile("adam")
    assert np.isfinite(model.fit(melody[None, :80], verbose=0).history["loss"][0])


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch alone has two ways")
def test_onednn_is_left_out_where_it_would_compute_what_nobody_reads(monkeypatch):
    import torch

    stack, _ = make(LAYERS["lstm, frames of 4 times its size and more"])
    batch_inputs(stack)
    layer, frames = stack.layers[0], torch.ones(2, 3, 4)
    lstm, seen = torch.lstm, []
    monkeypatch.setattr(torch, "lstm", lambda *a, **k: seen.append(torch.backends.mkldnn.enabled) or lstm(*a, **k))
    layer(frames)
    layer(frames.clone().requires_grad_())
    with torch.no_grad():
        layer(frames)
    assert seen == [False, True, True]
    assert torch.backends.mkldnn.enabled
    monkeypatch.setattr(torch, "lstm", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        layer(frames)
    assert torch.backends.mkldnn.enabled
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    layer(frames)  # a layer that torch traces takes the stock way
