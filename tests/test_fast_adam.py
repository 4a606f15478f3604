"""The fused update of Adam gives the weights that Keras gives, and leaves the optimizer unchanged."""

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike._fast._adam import fuse_adam

pytestmark = pytest.mark.backends

OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.01, beta_1=0.8, beta_2=0.9, epsilon=1e-3),
    "clipped": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.1),
    "decayed": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "a schedule": lambda: keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.01, 1, 0.5)),
    "averaged": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5),
    "accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
}


def in_one(optimizer):
    return bool({"update_step", "_parallel_update_step"} & vars(optimizer).keys())


def updated(optimizer, fast=False, updates=4):
    rng = np.random.default_rng(0)
    weights = [keras.Variable(rng.standard_normal(shape), dtype="float32") for shape in ((3, 2), (4,))]
    optimizer.build(weights)
    if fast:
        assert fuse_adam(optimizer) == in_one(optimizer) == (keras.backend.backend() != "jax")
    for _ in range(updates):
        optimizer.apply(
            [keras.ops.convert_to_tensor(rng.standard_normal(w.shape), "float32") for w in weights], weights
        )
    return [keras.ops.convert_to_numpy(v.value) for v in (*weights, *optimizer.variables)]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS.keys())
def test_the_update_is_that_of_keras(make):
    for one, other in zip(updated(make()), updated(make(), fast=True), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch alone has tensors of another order")
@pytest.mark.parametrize("transposed", ["weight", "gradient"])
def test_the_order_in_memory_does_not_matter(transposed):
    import torch

    def updated(fast):
        optimizer, square = keras.optimizers.Adam(0.01), torch.arange(9.0).reshape(3, 3)
        weight = keras.Variable(square)
        optimizer.build([weight])
        if fast:
            fuse_adam(optimizer)
        if transposed == "weight":
            weight.value.data = square.T.contiguous().T
        gradient = square - 4
        optimizer.apply([gradient.T.contiguous().T if transposed == "gradient" else gradient], [weight])
        return [keras.ops.convert_to_numpy(v.value) for v in (weight, *optimizer.variables)]

    for one, other in zip(updated(False), updated(True), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch alone is traced at each step")
def test_what_torch_traces_goes_the_stock_way(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "_fused_adam_", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        updated(keras.optimizers.Adam(0.01), fast=True)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    two = (updated(keras.optimizers.Adam(0.01), fast=fast) for fast in (False, True))
    for one, other in zip(*two, strict=True):
        np.testing.assert_array_equal(other, one)


def test_others_are_left_alone():
    class Mine(keras.optimizers.Adam):
        pass

    for optimizer in (keras.optimizers.SGD(), keras.optimizers.Adam(amsgrad=True), Mine(), keras.optimizers.Nadam()):
        optimizer.build([keras.Variable([1.0])])
        assert not fuse_adam(optimizer)
        assert not in_one(optimizer)
    assert not fuse_adam(keras.optimizers.Adam()), "an optimizer that is not built has no state yet"


def test_a_model_that_is_compiled_trains_with_it_and_is_saved_as_stock(melody, tmp_path):
    encoder = gl.TimeBlocks(8)
    model = gl.AudioModel(encoder, gl.Identity(), gl.recurrent_stack(8, units=(4,), random_seed=0), sample_rate=8000)
    model.compile("adam")
    assert in_one(model.optimizer) == (keras.backend.backend() != "jax")
    model.fit(melody[None, :80], verbose=0)
    model.save(tmp_path / "run.keras")
    loaded = gl.load(tmp_path / "run.keras")
    assert type(loaded.optimizer) is type(keras.optimizers.get("adam"))
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    for one in (model, loaded):
        one.fit(melody[None, :80], verbose=0)
    for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
