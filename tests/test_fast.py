"""The door to faster training: it tells what it sets, copies are stock, and a missing private name costs only time."""

import copy
import logging
import pickle
import sys

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike import _fast
from gruvlike._fast import _names, speed_up

pytestmark = pytest.mark.backends

BACKEND = keras.backend.backend()


def make(fast=True):
    """A compiled stack of one recurrent layer; without graphs, which would take most of the time here."""
    stack = gl.recurrent_stack(3, units=(2,), random_seed=0)
    stack.compile(keras.optimizers.Adam(0.1), "mse", run_eagerly=True)
    stack.optimizer.build(stack.trainable_variables)
    if fast:
        speed_up(stack, stack.optimizer)
    return stack


def faster(stack):
    """Names of the layers that are not stock, and of the optimizer if it is not."""
    found = [layer.name for layer in stack.layers if "inner_loop" in vars(layer)]
    optimizer = getattr(stack, "optimizer", None)
    if optimizer and {"update_step", "_parallel_update_step"} & vars(optimizer).keys():
        found.append(optimizer.name)
    return found


def trained(stack):
    """The weights after two steps."""
    frames = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
    for _ in range(2):
        stack.train_on_batch(frames, frames)
    return stack.get_weights()


def test_compile_makes_the_stack_and_the_optimizer_faster_and_tells_the_log(caplog):
    stack = gl.recurrent_stack(8, units=(4, 2), random_seed=0)
    model = gl.AudioModel(gl.TimeBlocks(8), gl.Identity(), stack, sample_rate=8000)
    with caplog.at_level(logging.DEBUG, "gruvlike"):
        model.compile("adam")
    (line,) = [record for record in caplog.records if record.name == "gruvlike._fast"]
    assert line.levelno == logging.DEBUG
    optimizer = [] if BACKEND == "jax" else [model.optimizer.name]
    assert line.getMessage() == f"Made faster than in Keras: {', '.join(['lstm_0', 'lstm_1', *optimizer])}."
    assert len(faster(stack)) == 2
    for word in ("inner_loop", "update_step", "_parallel_update_step", "clone_model"):
        assert f"`{word}`" in gl.AudioModel.compile.__doc__.replace("keras.models.", "")
        assert f"`{word}`" in speed_up.__doc__.replace("keras.models.", "")


@pytest.mark.parametrize("take", ["clone_model", "deepcopy", "pickle"])
def test_copies_are_stock_and_compute_the_same(take):
    stack = make()
    copies = {
        "clone_model": keras.models.clone_model,
        "deepcopy": copy.deepcopy,
        "pickle": lambda one: pickle.loads(pickle.dumps(one)),
    }
    copied = copies[take](stack)
    assert len(faster(stack)) == 1 + (BACKEND != "jax")
    assert faster(copied) == []
    copied.set_weights(stack.get_weights())
    frames = np.ones((1, 5, 3), "float32")
    found, expected = (keras.ops.convert_to_numpy(one(frames)) for one in (copied, stack))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_on_a_gpu_everything_stays_stock(monkeypatch, caplog):
    monkeypatch.setattr(_fast, "on_cpu", lambda: False)
    with caplog.at_level(logging.DEBUG, "gruvlike"):
        assert faster(make()) == []
    assert [record.getMessage() for record in caplog.records if record.name == "gruvlike._fast"] == [
        "Training is left to Keras: it is made faster on a CPU only."
    ]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_with_several_replicas_the_optimizer_stays_stock(monkeypatch):
    stack = make(fast=False)
    monkeypatch.setattr(stack, "_distribute_strategy", type("Strategy", (), {"num_replicas_in_sync": 2})())
    speed_up(stack, stack.optimizer)
    assert faster(stack) == ["lstm_0"]


class Hidden:
    """An attribute that only Keras sees: our own files find that there is none, as in a version without that name."""

    def __init__(self, stock):
        self.stock, self.name = stock, ""

    def __set_name__(self, owner, name):
        self.name = name

    def __get__(self, instance, owner):
        if sys._getframe(1).f_globals["__name__"].startswith("gruvlike."):
            raise AttributeError(self.name)
        if instance is not None and self.name in vars(instance):
            return vars(instance)[self.name]
        if self.stock is None:
            raise AttributeError(self.name)
        return self.stock.__get__(instance, owner)

    def __set__(self, instance, value):
        vars(instance)[self.name] = value


def hide(monkeypatch, owner, name):
    """Takes a name away from our own files: that of a module for all, that of a class for ours alone."""
    if not isinstance(owner, type):
        monkeypatch.delattr(owner, name)
        return
    hidden = Hidden(getattr(owner, name, None))
    hidden.__set_name__(owner, name)
    monkeypatch.setattr(owner, name, hidden, raising=False)


def names():
    """(owner, name, part that stays stock without it) of everything that `speed_up` looks for on this backend."""
    layer, optimizer = keras.layers.LSTM, type(keras.optimizers.Adam())
    cell = keras.layers.LSTMCell
    yield keras.Layer, "_flatten_layers", "layers"
    yield layer, "inner_loop", "layers"
    yield from ((cell, name, "layers") for name in ("kernel", "recurrent_kernel", "bias"))
    if BACKEND != "jax":
        yield from ((optimizer, name, "optimizer") for name in ("_momentums", "_velocities", "_get_variable_index"))
    if BACKEND == "tensorflow":
        import tensorflow as tf

        yield tf.raw_ops, "ResourceApplyAdam", "optimizer"
    if BACKEND == "torch":
        import torch

        yield torch, "lstm", "layers"
        yield torch, "_fused_adam_", "optimizer"
        yield optimizer, "_parallel_update_step", "optimizer"


@pytest.fixture(scope="module")
def expected():
    """The weights before and after two steps of Keras alone."""
    return make(fast=False).get_weights(), trained(make(fast=False))


@pytest.mark.parametrize(("owner", "name", "part"), list(names()), ids=[name for _, name, _ in names()])
def test_without_a_private_name_that_part_stays_stock(monkeypatch, caplog, expected, owner, name, part):
    _names._warn.cache_clear()
    hide(monkeypatch, owner, name)
    stack = make()
    assert faster(stack) == ([stack.optimizer.name] * (BACKEND != "jax") if part == "layers" else ["lstm_0"])
    make()
    (warning,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]  # once, not twice
    assert f".{name}`" in warning
    for before, one, other in zip(*expected, trained(stack), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
        assert np.abs(other - before).max() > 1e-3
