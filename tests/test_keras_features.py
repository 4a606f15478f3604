"""Ordinary Keras, feature by feature: each works, or is refused with the reason by the first call that can know.

`docs/keras.md` shows the same list to people.
"""

import copy
import pickle
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

import gruvlike as gl

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("plain_curves")]

ROOT = Path(__file__).resolve().parents[1]
BACKEND = keras.backend.backend()
RATE, SIZE, STEPS = 8000, 8, 6  # samples a second, numbers in a frame, frames in a window
ENCODER = gl.TimeBlocks(SIZE)
MUSIC = (np.sin(np.arange(4000) / 9) + np.random.default_rng(0).normal(0, 0.05, 4000)).astype("float32") / 2
SEED = MUSIC[: 6 * SIZE]


def pcm(rows=6, dtype="int16"):
    span = ENCODER.span(STEPS + 1)
    windows = np.stack([MUSIC[start : start + span] for start in range(0, 100 * rows, 100)])
    return windows if dtype == "float32" else (windows * 32767).astype("int16")


def make_model(stack=None, optimizer="sgd", compiled=True, **options):
    normalizer = gl.GlobalScale().fit(MUSIC, ENCODER)
    model = gl.AudioModel(ENCODER, normalizer, plain() if stack is None else stack, RATE, **options)
    if compiled:
        model.compile(optimizer, run_eagerly=True)  # for models this small, compiling takes longer than training
    return model


def plain():
    return gl.recurrent_stack(SIZE, units=(3,), random_seed=0)


def functional(*between):
    inputs = keras.Input((None, SIZE))
    x = inputs
    for one in between:
        x = one(x)
    return keras.Model(inputs, layers.Dense(SIZE)(x))


def trains(model, x=None, **options):
    """Trains, and says that the loss is a number."""
    history = model.fit(pcm() if x is None else x, verbose=0, **options).history
    assert np.isfinite(history["loss"]).all()
    return history


def sings(model):
    """A song by the carried states is the song that reads its whole past again."""
    generator = gl.Generator(model)
    carried, again = (generator.extend(SEED, steps=4, history=one) for one in ("carry", "full"))
    np.testing.assert_allclose(carried, again, atol=1e-4)
    assert np.abs(again).max() > 1e-3
    return carried


@keras.saving.register_keras_serializable(package="tests")
class Cell(layers.Layer):
    """All that Keras asks of a cell: `state_size` and `call`."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_uniform")
        self.recurrent = self.add_weight(shape=(self.units, self.units), initializer="glorot_uniform")

    def call(self, x, states):
        hidden = ops.tanh(x @ self.kernel + states[0] @ self.recurrent)
        return hidden, hidden  # the only state, without a list

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.inner, self.dense = layers.LSTM(3, return_sequences=True), layers.Dense(SIZE)

    def call(self, x):
        return self.dense(self.inner(x))


def absolute(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


# --- features that work -----------------------------------------------------------------------------------------------


def arrays_of_pcm(tmp_path):
    trains(make_model(), pcm(dtype="float32"))
    trains(make_model(), {"pcm": pcm()})


def a_generator(tmp_path):
    trains(make_model(), ((pcm(2),) for _ in range(3)), steps_per_epoch=3)


def validation_split(tmp_path):
    assert "val_loss" in trains(make_model(), validation_split=0.5)


def validation_data_as_a_tuple(tmp_path):
    assert "val_loss" in trains(make_model(), validation_data=(pcm(2),))


def sample_weights(tmp_path):
    """Zeros leave windows out; so do zeros in the batch; half the weight is half the loss."""
    whole = trains(make_model(), shuffle=False)["loss"][0]
    half = trains(make_model(), shuffle=False, sample_weight=np.full(6, 0.5))["loss"][0]
    assert half == pytest.approx(whole / 2, rel=1e-4)
    assert trains(make_model(), sample_weight=np.zeros((6, STEPS)))["loss"] == [0.0]
    assert trains(make_model(), {"pcm": pcm(), "sample_weight": np.zeros(6, "float32")})["loss"] == [0.0]
    assert trains(make_model(), validation_data=(pcm(2), None, np.zeros(2)))["val_loss"] == [0.0]
    assert make_model().evaluate(pcm(2), sample_weight=np.zeros(2), verbose=0, return_dict=True)["loss"] == 0.0
    model = make_model()
    model.compile("sgd", weighted_metrics=["mae"], run_eagerly=True)
    weights = np.array([1.0, 0.0])
    one = model.evaluate(pcm(2), sample_weight=weights, verbose=0, return_dict=True)["mae"]
    assert one == pytest.approx(model.evaluate(pcm(1), verbose=0, return_dict=True)["mae"], rel=1e-4)


def an_own_loss_and_metric(tmp_path):
    model = make_model(compiled=False)
    model.compile("sgd", loss=absolute, metrics=[absolute], run_eagerly=True)
    assert "absolute" in trains(model)
    model.save(tmp_path / "own.keras")
    assert not gl.load(tmp_path / "own.keras").compiled
    assert gl.load(tmp_path / "own.keras", {"absolute": absolute}).compiled


def a_sequential_without_an_input(tmp_path):
    stack = keras.Sequential([layers.GRU(3, return_sequences=True), layers.Dense(SIZE)])
    trains(make_model(stack))
    sings(stack_generator(keras.Sequential([layers.GRU(3, return_sequences=True), layers.Dense(SIZE)])))


def stack_generator(stack):
    return gl.AudioModel(ENCODER, gl.GlobalScale().fit(MUSIC, ENCODER), stack, RATE)


def a_subclassed_stack(tmp_path):
    model = make_model(Subclassed())
    trains(model)
    song = gl.Generator(model).extend(SEED, steps=3, history="full")
    model.save(tmp_path / "sub.keras")
    np.testing.assert_allclose(
        gl.Generator(tmp_path / "sub.keras").extend(SEED, steps=3, history="full"), song, atol=1e-5
    )


def an_own_cell(tmp_path):
    model = make_model(functional(layers.RNN(Cell(3), return_sequences=True)))
    trains(model)
    sings(model)


def stacked_cells(tmp_path):
    sings(make_model(functional(layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True))))


def a_layer_used_twice(tmp_path):
    """A state for each use."""
    shared, inner = layers.LSTM(SIZE, return_sequences=True), functional(layers.GRU(3, return_sequences=True))
    song = sings(make_model(functional(shared, layers.Dense(SIZE), shared)))
    once = sings(make_model(functional(shared, layers.Dense(SIZE))))
    assert np.abs(song - once).max() > 1e-4  # the control
    sings(make_model(functional(inner, inner)))


def shared_layers_in_training_with_states(tmp_path):
    shared = layers.LSTM(SIZE, return_sequences=True)
    trains(make_model(functional(shared, layers.Dense(SIZE), shared), rollout_steps=2, scheduled_sampling=0.3))


def mixed_precision(tmp_path):
    """The layers compute in half precision. Samples, frames and statistics stay as they are."""
    keras.config.set_dtype_policy("mixed_bfloat16" if BACKEND != "jax" else "mixed_float16")
    try:
        model = make_model()
        assert model.stack.get_layer("lstm_0").compute_dtype != "float32"
        sound = pcm(2, "float32")
        _, targets = model.predict(sound, verbose=0)
        exact = model.normalizer(ENCODER.encode(sound, padded=False))[:, 1:]
        np.testing.assert_allclose(targets, exact, atol=1e-6)
        trains(model)
        assert gl.Generator(model).extend(SEED, steps=3).dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


def float64(tmp_path):
    if BACKEND == "jax":
        pytest.skip("JAX computes in float64 only where it was told so at its start")
    keras.config.set_floatx("float64")
    try:
        trains(make_model(plain(), "adam", scheduled_sampling=0.5, rollout_steps=2))
    finally:
        keras.config.set_floatx("float32")


def quantized_stacks(tmp_path):
    model = make_model(functional(layers.LSTM(3, return_sequences=True)))
    before = gl.Generator(model).extend(SEED, steps=3)
    model.stack.quantize("int8")
    np.testing.assert_allclose(gl.Generator(model).extend(SEED, steps=3), before, atol=0.05)
    model.save(tmp_path / "q.keras")
    assert gl.Generator(tmp_path / "q.keras").extend(SEED, steps=3).shape == before.shape


def integers_of_numpy(tmp_path):
    stack = gl.recurrent_stack(np.int64(SIZE), units=(np.int32(3),), projection=np.int16(2), random_seed=np.int64(1))
    model = make_model(stack, random_seed=np.int64(3))
    model.save(tmp_path / "np.keras")
    assert gl.load(tmp_path / "np.keras").random_seed == 3
    assert gl.recurrent_stack(SIZE, units=np.array([3, 2])).count_params() > 0


def load_model_of_keras(tmp_path):
    """`import gruvlike, keras` is enough (tests/test_registration.py looks at that in another process)."""
    make_model().save(tmp_path / "m.keras")
    assert isinstance(keras.saving.load_model(tmp_path / "m.keras"), gl.AudioModel)


def pickles_and_deep_copies(tmp_path):
    model = make_model()
    generator = gl.Generator(model)
    song = generator.extend(SEED, steps=3)
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_allclose(gl.Generator(copied).extend(SEED, steps=3), song, atol=1e-6)
    for copied in (pickle.loads(pickle.dumps(generator)), copy.deepcopy(generator)):
        np.testing.assert_allclose(copied.extend(SEED, steps=3), song, atol=1e-6)


def averaged_weights(tmp_path):
    model = make_model(optimizer=keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9))
    trains(model, callbacks=gl.callbacks.run_callbacks(tmp_path, preview_every=0))
    for kept, now in zip(gl.load(tmp_path / "averaged.keras").get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, now)


def train_on_batch(tmp_path):
    model = make_model()
    assert np.isfinite(model.train_on_batch(pcm(2))).all()
    assert model.train_on_batch(pcm(2), sample_weight=np.zeros(2))[0] >= 0


def several_threads(tmp_path):
    """The first songs of a generator come together, of one, two and three clips."""
    generator, found, gate = gl.Generator(make_model()), {}, threading.Barrier(3)
    expected = gl.Generator(make_model()).extend(SEED, steps=4)

    def sing(clips):
        gate.wait()
        try:
            found[clips] = generator.extend([SEED] * clips, steps=4)
        except Exception as error:
            found[clips] = error

    threads = [threading.Thread(target=sing, args=(clips,)) for clips in (1, 2, 3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    for clips, songs in found.items():
        assert not isinstance(songs, Exception), songs
        np.testing.assert_allclose(songs.reshape(clips, -1), np.stack([expected] * clips), atol=1e-5)


WORKS = [
    *(arrays_of_pcm, a_generator, validation_split, validation_data_as_a_tuple, sample_weights),
    *(an_own_loss_and_metric, a_sequential_without_an_input, a_subclassed_stack, an_own_cell, stacked_cells),
    *(a_layer_used_twice, shared_layers_in_training_with_states, mixed_precision, float64, quantized_stacks),
    *(integers_of_numpy, load_model_of_keras, pickles_and_deep_copies, averaged_weights, train_on_batch),
    several_threads,
]


@pytest.mark.parametrize(
    "feature",
    [pytest.param(one, marks=pytest.mark.slow) if one is quantized_stacks else one for one in WORKS],
    ids=lambda one: one.__name__,
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_it_works(feature, tmp_path):
    feature(tmp_path)


# --- features that are refused ----------------------------------------------------------------------------------------

# name -> (the call, the reason)
REFUSED = {
    "targets": (lambda: make_model().fit(pcm(), pcm()), "makes its targets itself"),
    "targets in validation data": (lambda: make_model().fit(pcm(), validation_data=(pcm(), pcm())), "targets itself"),
    "targets of evaluate": (lambda: make_model().evaluate(pcm(), pcm()), "makes its targets itself"),
    "targets of a batch": (lambda: make_model().train_on_batch(pcm(2), pcm(2)), "makes its targets itself"),
    "weights of classes": (lambda: make_model().fit(pcm(), class_weight={0: 1.0}), "targets or classes"),
    "weights beside batches": (
        lambda: make_model().fit(((pcm(2),) for _ in range(2)), sample_weight=np.ones(2)),
        "belongs to an array of windows",
    ),
    "weights of another number": (
        lambda: make_model().fit(pcm(), sample_weight=np.ones(3)),
        "a number for each window",
    ),
    "arguments of no validation": (lambda: make_model().fit(pcm(), validation_steps=2), "is about validation"),
    "stereo": (lambda: make_model().fit(pcm()[..., None]), "windows of mono sound"),
    "windows of one frame": (lambda: make_model().fit(pcm()[:, :SIZE]), "must hold two frames"),
    "a loss that is unknown": (lambda: make_model(compiled=False).compile("sgd", "mean_squard_error"), "mean_squard"),
    "Bidirectional": (
        lambda: make_model(functional(layers.Bidirectional(layers.LSTM(3, return_sequences=True)))),
        "reads backwards",
    ),
    "go_backwards": (
        lambda: make_model(functional(layers.GRU(3, return_sequences=True, go_backwards=True))),
        "backwards",
    ),
    'Conv1D(padding="same")': (lambda: make_model(functional(layers.Conv1D(8, 3, padding="same"))), "both sides"),
    "Conv1D far ahead": (
        lambda: make_model(functional(layers.Conv1D(8, 2, padding="same", dilation_rate=100))),
        "both sides",
    ),
    'Conv1D(padding="valid")': (
        lambda: make_model(functional(layers.Conv1D(8, 3))),
        "One frame in must give one frame",
    ),
    "pooling over time": (lambda: make_model(functional(layers.MaxPooling1D(2))), "One frame in must give one frame"),
    "attention without a causal mask": (lambda: make_model(attended(False)), "must read only the past"),
    "an average over time": (lambda: make_model(averaged()), "must read only the past"),
    "stateful layers": (
        lambda: make_model(fixed(layers.LSTM(3, return_sequences=True, stateful=True))),
        r"stateful=True\)",
    ),
    "a fixed number of frames": (
        lambda: make_model(keras.Sequential([keras.Input((STEPS, SIZE)), layers.Dense(SIZE)])),
        "for any B and T",
    ),
    "two outputs": (lambda: make_model(two_outputs()), "for any B and T"),
    "a stack of no model": (lambda: make_model(layers.Dense(SIZE)), "must be a Keras model"),
    "a stack that fails": (lambda: make_model(Failing()), r"could not be built for them: RuntimeError: [^\x1b]*no"),
    "clone_model and from_config, to fit": (
        lambda: recompiled(gl.AudioModel.from_config(make_model().get_config())).fit(pcm()),
        r"copy.set_weights\(model.get_weights",
    ),
    "clone_model and from_config, to sing": (
        lambda: gl.Generator(gl.AudioModel.from_config(make_model().get_config())),
        r"copy.set_weights\(model.get_weights",
    ),
    "a beat that nothing reads": (lambda: gl.Generator(make_model()).extend(SEED, steps=2, bpm=120), "reads none"),
    "a free-running loss of batches that come once": (
        lambda: gl.models.free_running_loss(make_model(), (one for one in [(pcm(2),)])),
        "can be read in one order only",
    ),
    "baselines of batches that come once": (lambda: make_model().baselines(iter([pcm(2)])), "in one order only"),
    "BackupAndRestore in a run folder": (lambda: beside(keras.callbacks.BackupAndRestore("b")), "goes on by itself"),
    "EarlyStopping on a number that is measured rarely": (
        lambda: beside(keras.callbacks.EarlyStopping("val_free_running_1"), preview_every=5),
        "must watch a number of each epoch",
    ),
}


def attended(causal):
    inputs = keras.Input((None, SIZE))
    return keras.Model(inputs, layers.MultiHeadAttention(2, 4)(inputs, inputs, use_causal_mask=causal))


def averaged():
    inputs = keras.Input((None, SIZE))
    mean = layers.GlobalAveragePooling1D(keepdims=True)(inputs)
    return keras.Model(inputs, layers.Dense(SIZE)(layers.Add()([inputs, mean])))


def fixed(layer):
    inputs = keras.Input(batch_shape=(2, None, SIZE))
    return keras.Model(inputs, layers.Dense(SIZE)(layer(inputs)))


def two_outputs():
    inputs = keras.Input((None, SIZE))
    return keras.Model(inputs, [layers.Dense(SIZE)(inputs), layers.Dense(SIZE)(inputs)])


class Failing(keras.Model):
    def call(self, x):
        raise RuntimeError("no")


def recompiled(model):
    model.compile("sgd")
    return model


def beside(callback, preview_every=0):
    callbacks = [callback, *gl.callbacks.run_callbacks("never_made", preview_every=preview_every)]
    make_model().fit(pcm(), callbacks=callbacks)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_the_reason(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    call, reason = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=reason):
        call()
    assert not list(tmp_path.iterdir())


def test_causal_attention_is_accepted():
    """The control of the refusals above."""
    trains(make_model(attended(True)))


def test_a_stack_that_draws_is_accepted():
    class Noisy(layers.Layer):
        def __init__(self):
            super().__init__()
            self.random = keras.random.SeedGenerator(0)

        def call(self, x):
            return x + keras.random.normal((1, 1, SIZE), seed=self.random)

    trains(make_model(functional(Noisy())))


def test_a_refused_fit_changes_nothing():
    model = make_model()
    model.high_pass_hz = 30.0
    with pytest.raises(ValueError, match="targets"):
        model.fit(pcm(), pcm())
    assert (model.high_pass_hz, model.training_windows) == (30.0, None)
    with pytest.raises(ValueError, match="mean_squard"):
        model.compile("adam", "mean_squard_error")
    assert model.loss == "mse"
    assert type(model.optimizer).__name__ == "SGD"


def test_a_model_that_cannot_be_loaded_as_it_is_says_so_when_it_is_saved(tmp_path, caplog):
    model = make_model(compiled=False)
    model.compile("sgd", loss=absolute)
    model.save(tmp_path / "a.keras")
    model.save(tmp_path / "b.keras")
    assert caplog.text.count("will be loaded without its loss and optimizer unless it is told of 'absolute'") == 1
    caplog.clear()
    make_model().save(tmp_path / "c.keras")
    assert not caplog.text  # the control


def test_the_page_lists_every_feature():
    page = (ROOT / "docs/keras.md").read_text("utf-8")
    missing = [name for name in [*(one.__name__.replace("_", " ") for one in WORKS), *REFUSED] if name not in page]
    assert not missing
