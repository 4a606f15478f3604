"""The names of Keras and its backends that no documentation promises, each with a test that notices when it is gone.

A new version that lacks one fails here, with a sentence that names the room of the package that needs it and the
consequence. The rooms look for the names of `_fast` themselves: without them all still works (`test_fast.py`).
"""

import ast
import functools
import importlib
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike._step import _layouts

pytestmark = pytest.mark.backends

BACKEND = keras.backend.backend()
PACKAGE = Path(__file__).resolve().parents[1] / "gruvlike"
ALL = ("tensorflow", "jax", "torch")


class Name(NamedTuple):
    """A name that is relied upon.

    Attributes:
        name: Its dotted name; the last part stands in the files of the room.
        room: The room of the package that reads it.
        without: What happens without it, after "Without it, ".
        holds: Whether it still does what it did; `None` looks whether it is there.
        backends: Where it is read.
    """

    name: str
    room: str
    without: str
    holds: Callable[[], bool] | None = None
    backends: tuple[str, ...] = ALL


# --- checks that look further than a name -----------------------------------------------------------------------------


@functools.cache
def built(kind):
    """A layer of three units for frames of two features; of zeros, which JAX compiles in no time."""
    layer = getattr(keras.layers, kind)(
        3, return_sequences=True, kernel_initializer="zeros", recurrent_initializer="zeros"
    )
    layer.build((None, None, 2))
    return layer


def inner_loop_is_called():
    calls = []

    def loop(sequences, initial_state, mask, training=False):
        calls.append((tuple(sequences.shape), [tuple(state.shape) for state in initial_state], mask, bool(training)))
        return sequences[:, -1], sequences, initial_state

    for kind in ("LSTM", "GRU"):
        layer = built(kind)
        layer.inner_loop = loop
        layer(np.ones((1, 4, 2), "float32"))
        del layer.inner_loop
    return calls == [((1, 4, 2), [(1, 3)] * states, None, False) for states in (2, 1)]


def cell_weights():
    shapes = {kind: [w.shape for w in (c.kernel, c.recurrent_kernel, c.bias)] for kind in ("LSTM", "GRU")
              for c in [built(kind).cell]}  # fmt: skip
    return shapes == {"LSTM": [(2, 12), (3, 12), (12,)], "GRU": [(2, 9), (3, 9), (2, 9)]}


def initial_states():
    lstm, gru = (built(kind).cell.get_initial_state(batch_size=5) for kind in ("LSTM", "GRU"))
    return [tuple(s.shape) for s in keras.tree.flatten([lstm, gru])] == [(5, 3)] * 3


def adam_on(weight):
    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build([weight])
    return optimizer


def adam_state():
    weights = [keras.Variable(np.ones(size, "float32")) for size in (2, 3)]
    optimizer = keras.optimizers.Adam()
    optimizer.build(weights)
    index = optimizer._get_variable_index(weights[1])
    return all(state[index].shape == (3,) for state in (optimizer._momentums, optimizer._velocities))


def update_is_called(name):
    weight, calls = keras.Variable([1.0, 2.0]), []
    optimizer = adam_on(weight)
    setattr(optimizer, name, lambda *given: calls.append(given))
    optimizer.apply([keras.ops.ones(2)], [weight])
    ((gradients, variables, rate),) = calls
    one = variables[0] if isinstance(variables, list) else variables
    return tuple(one.shape) == (2,) and float(rate) == pytest.approx(0.1) and len(gradients) in (1, 2)


def resource_handle():
    import tensorflow as tf

    return keras.Variable([1.0]).value.handle.dtype == tf.resource


def adam_of_tensorflow():
    import inspect

    import tensorflow as tf

    wanted = {"var", "m", "v", "beta1_power", "beta2_power", "lr", "beta1", "beta2", "epsilon", "grad"}
    return wanted <= set(inspect.signature(tf.raw_ops.ResourceApplyAdam).parameters)


def product_of_half_precision():
    import tensorflow as tf

    @tf.function(jit_compile=True)  # as in the loop: outside of XLA it has no kernel
    def product(half):
        return tf.raw_ops.BatchMatMulV3(x=half, y=half, Tout=tf.float32)

    return product(tf.ones((2, 2), tf.bfloat16)).dtype == tf.float32


def adam_of_torch():
    import torch

    weight, *state = (torch.ones(2) for _ in range(4))
    torch._fused_adam_(
        [weight], [state[0]], [state[1]], [state[2]], [], [torch.tensor(1.0)], lr=0.1, beta1=0.9, beta2=0.99,
        weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
    )  # fmt: skip
    return bool((weight < 1).all())


def recorded_step():
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    recorded = make_fx(lambda x, y: (x * y, [x + y]))(torch.ones(2), torch.ones(2))
    return [float(part[0]) for part in keras.tree.flatten(recorded(torch.ones(2) * 2, torch.ones(2) * 3))] == [6, 5]


def onednn_switch():
    import torch

    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False
    switched = torch.backends.mkldnn.enabled is False and torch._C._get_mkldnn_enabled() is False
    torch.backends.mkldnn.enabled = before
    return switched


def masks():
    return keras.layers.Masking()(keras.ops.zeros((1, 2, 3)))._keras_mask is not None


def operations():
    x = keras.Input((None, 2))
    names = {
        type(one).__name__
        for output in (x + 1.0, x - 1.0, x * 2.0, x / 2.0, -x, *(getattr(keras.ops, f)(x) for f in ACTIVATIONS))
        for one in keras.Model(x, output).operations
    }
    return names >= {"Add", "Subtract", "Multiply", "TrueDivide", "Negative", "Tanh", "Sigmoid", "Relu", "Silu"}


ACTIVATIONS = ("tanh", "sigmoid", "relu", "silu")


def small_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=BACKEND != "jax")
    return model


def trained_anew():
    model = small_model()
    model.fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0)
    before, model.train_function = model.train_function, None
    model.fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0)
    return model.train_function not in (None, before)


def metric_paths():
    model = small_model()
    model.fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0)
    return len({variable.path for variable in model.metrics_variables}) == len(model.metrics_variables) > 0


def callback_state():
    stopper, rate = keras.callbacks.EarlyStopping(patience=3), keras.callbacks.ReduceLROnPlateau()
    best = keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True)
    for callback in (stopper, rate):
        callback.on_train_begin()
    return (
        {"stopped_epoch", "wait", "best", "best_epoch", "patience", "monitor"} <= vars(stopper).keys()
        and {"wait", "cooldown_counter", "best"} <= vars(rate).keys()
        and {"best", "monitor"} <= vars(best).keys()
    )


def own_list_of_callbacks():
    class Own(keras.callbacks.CallbackList):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)
            super().on_train_batch_end(batch, logs)

    seen, model = [], small_model()
    own = Own([], add_history=True, model=model, verbose=0, epochs=1, steps=7)
    model.fit(np.ones((2, 1)), np.ones((2, 1)), batch_size=1, verbose=0, callbacks=own)
    return seen == [0, 1] and own.params["steps"] == 7


def stock_classes():
    return type(keras.optimizers.Adam()).__module__.startswith("keras.")


def archive():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        small_model().save(path)
        with zipfile.ZipFile(path) as found:
            return {"config.json", "metadata.json", "model.weights.h5"} <= set(found.namelist())


# --- the names --------------------------------------------------------------------------------------------------------

RECURRENT = "recurrent layers train at the speed of Keras."
ADAM = "Adam updates the weights at the speed of Keras."
CARRIED = 'states cannot be carried, so `history="carry"`, rollouts and stateful windows do not work.'
RESUMED = "a run that was interrupted does not go on as if nothing had happened."

NAMES = [
    Name("keras.Layer._flatten_layers", "_fast", RECURRENT),
    Name("keras.layers.LSTM.inner_loop", "_fast", RECURRENT, inner_loop_is_called),
    Name("keras.layers.LSTM.cell", "_step", CARRIED, lambda: all(built(kind).cell for kind in ("LSTM", "GRU"))),
    Name("keras.layers.LSTMCell.kernel", "_fast", RECURRENT, cell_weights),
    Name("keras.layers.LSTMCell.recurrent_kernel", "_step", "songs take longer a step.", cell_weights),
    Name("keras.layers.LSTMCell.get_initial_state", "_step", CARRIED, initial_states),
    Name("keras.optimizers.Adam.__module__", "_fast", ADAM, stock_classes),
    Name("keras.optimizers.Adam._momentums", "_fast", ADAM, adam_state),
    Name("keras.optimizers.Adam._velocities", "_fast", ADAM, adam_state),
    Name("keras.optimizers.Adam._get_variable_index", "_fast", ADAM, adam_state),
    Name("keras.optimizers.Adam.update_step", "_fast", ADAM, lambda: update_is_called("update_step"), ("tensorflow",)),
    Name(
        "keras.optimizers.Adam._parallel_update_step",
        "_fast",
        ADAM,
        lambda: update_is_called("_parallel_update_step"),
        ("torch",),
    ),
    Name("tensorflow.Variable.handle", "_fast", ADAM, resource_handle, ("tensorflow",)),
    Name("tensorflow.raw_ops.ResourceApplyAdam", "_fast", ADAM, adam_of_tensorflow, ("tensorflow",)),
    Name(
        "tensorflow.raw_ops.BatchMatMulV3",
        "_step",
        "songs in half precision take longer a step.",
        product_of_half_precision,
        ("tensorflow",),
    ),
    Name(
        "tensorflow.config.experimental.get_memory_info",
        "_backend",
        "a batch that does not fit on a GPU is not refused before training.",
        None,
        ("tensorflow",),
    ),
    Name("torch._fused_adam_", "_fast", ADAM, adam_of_torch, ("torch",)),
    Name("torch.lstm", "_fast", RECURRENT, None, ("torch",)),
    Name("torch.gru", "_fast", RECURRENT, None, ("torch",)),
    Name("torch.backends.mkldnn.enabled", "_fast", "an LSTM on large frames trains slower.", onednn_switch, ("torch",)),
    Name(
        "torch.fx.experimental.proxy_tensor.make_fx",
        "_step",
        "a step of a song takes ten times as long.",
        recorded_step,
        ("torch",),
    ),
    Name("keras.KerasTensor._keras_mask", "models", "the relative loss counts frames that a mask leaves out.", masks),
    Name("keras.Model.operations", "_step", CARRIED, operations),
    Name(
        "keras.Model.distribute_strategy",
        "_fast",
        "several replicas would update their weights each on its own.",
        None,
        ("tensorflow",),
    ),
    Name("keras.Model.train_function", "models", "stateful windows keep no states.", trained_anew),
    Name("keras.Model.metrics_variables", "callbacks", RESUMED, metric_paths),
    Name("keras.Variable.path", "callbacks", RESUMED, metric_paths),
    Name("keras.callbacks.EarlyStopping.stopped_epoch", "callbacks", RESUMED, callback_state),
    Name("keras.callbacks.CallbackList", "callbacks", RESUMED, own_list_of_callbacks),
    Name("a .keras archive: model.weights.h5", "models", "`gruvlike.load` refuses every file.", archive),
    Name(
        "argparse.ArgumentDefaultsHelpFormatter._get_help_string",
        "cli",
        "the console has no help.",
    ),
]


def attribute(name):
    """Whether a dotted name can be imported."""
    module, _, rest = name.partition(".")
    value = importlib.import_module(module)
    for part in rest.split("."):
        if not hasattr(value, part):
            importlib.import_module(f"{value.__name__}.{part}")
        value = getattr(value, part)
    return True


def complaint(row):
    """The sentence of a name that is gone, or `None`."""
    try:
        if (row.holds or (lambda: attribute(row.name)))():
            return None
        cause = "it does something else"
    except Exception as error:  # whatever a new version raises
        cause = f"{type(error).__name__}: {error}"
    return (
        f"Keras {keras.__version__} on {BACKEND} has no `{row.name}` as it was ({cause}). "
        f"gruvlike/{row.room} relies on it. Without it, {row.without}"
    )


@pytest.mark.parametrize("row", [row for row in NAMES if BACKEND in row.backends], ids=lambda row: row.name)
def test_a_name_that_nobody_promises_is_there(row):
    if sentence := complaint(row):
        pytest.fail(sentence)


def test_a_name_that_is_gone_is_told_with_its_consequence():
    """The control."""
    gone = Name("keras.Layer._no_such_name", "_fast", "nothing happens.")
    assert complaint(gone).endswith("gruvlike/_fast relies on it. Without it, nothing happens.")
    changed = complaint(gone._replace(holds=lambda: False))
    assert "(it does something else)" in changed


def private_names():
    """{name: files} of all private attributes of foreign objects, and of experimental modules, in the package."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
    nodes = [(path, node) for path, tree in trees.items() for node in ast.walk(tree)]
    own = {node.name for _, node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.attr for _, node in nodes if isinstance(node, ast.Attribute) and is_own(node)}
    own |= {node.target.id for _, node in nodes if isinstance(node, ast.AnnAssign) and is_name(node.target)}
    own |= {
        target.id for _, node in nodes if isinstance(node, ast.Assign) for target in node.targets if is_name(target)
    }
    own |= {"_replace", "_asdict", "_fields"}  # of named tuples: documented
    found = {}
    for path, node in nodes:
        if isinstance(node, ast.Attribute):
            name, private = node.attr, node.attr.startswith("_") and not node.attr.startswith("__")
            private |= isinstance(node.value, ast.Attribute) and node.value.attr in ("raw_ops", "experimental")
        else:
            literal = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr", "setattr")
            name = node.args[1].value if literal and isinstance(node.args[1], ast.Constant) else ""
            private = name.startswith("_") and not name.startswith("__")
        if private and name not in own:
            found.setdefault(name, set()).add(path.relative_to(PACKAGE).as_posix())
    return found


def is_own(node):
    """Whether an attribute of `self` is set here."""
    return isinstance(node.ctx, ast.Store) and is_name(node.value) and node.value.id in ("self", "cls")


def is_name(node):
    return isinstance(node, ast.Name)


def test_every_private_name_that_the_package_reads_is_listed():
    listed = {row.name.rsplit(".", 1)[-1] for row in NAMES}
    assert {"_momentums", "_keras_mask", "_flatten_layers", "ResourceApplyAdam"} <= private_names().keys()  # control
    missing = {name: files for name, files in private_names().items() if name not in listed}
    assert not missing, f"private names of other people's objects, without a canary in NAMES: {missing}"


def test_every_name_that_is_listed_is_read():
    for row in NAMES:
        room = PACKAGE / row.room
        files = room.rglob("*.py") if room.is_dir() else [room.with_suffix(".py")]
        text = "".join(path.read_text("utf-8") for path in files)
        last = row.name.split()[-1].removeprefix("keras.callbacks.")
        assert (last if last.endswith(".h5") else last.rsplit(".", 1)[-1]) in text, f"nobody reads {row.name}"


@pytest.mark.skipif(BACKEND != "torch", reason="the step is recorded with torch alone")
def test_without_make_fx_a_song_is_the_same(melody, monkeypatch):
    def song():
        stack = gl.recurrent_stack(8, units=(3,), random_seed=0)
        return gl.Generator(stack, encoder=gl.TimeBlocks(8), sample_rate=8000).extend(melody[:40], steps=3)

    expected = song()
    monkeypatch.setitem(sys.modules, "torch.fx.experimental.proxy_tensor", None)
    np.testing.assert_allclose(song(), expected, atol=1e-6)
    assert np.abs(expected).max() > 1e-4


@pytest.mark.skipif(BACKEND != "tensorflow", reason="an operation of TensorFlow")
def test_without_its_operation_a_product_in_half_precision_is_the_same(monkeypatch):
    import tensorflow as tf

    monkeypatch.delattr(tf.raw_ops, "BatchMatMulV3")
    rows, matrix = np.arange(6, dtype="float32").reshape(2, 3), np.eye(3, dtype="float32") * 1.5
    product = _layouts._product_of_one(keras.ops.array(rows), keras.Variable(matrix, dtype="bfloat16"), False)
    np.testing.assert_array_equal(product.numpy(), rows * 1.5)
