"""Scheduled sampling, rollout, stateful training, weight decay and schedules: against references, on every backend."""

import keras
import numpy as np
import pytest
from test_corpus import corpus_of
from test_models import pcm_of, small_model

import gruvlike as gl
from gruvlike.models import recurrent_stack

pytestmark = pytest.mark.backends

STEPS = 6
# XLA would compile for seconds a step that runs for milliseconds. Only the tests of training and of states use it.
QUICK = {"jit_compile": False if keras.backend.backend() == "tensorflow" else "auto"}


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def option_model(melody, units=(8,), cell="lstm", **options):
    model = small_model(melody, units=units, cell=cell)
    parts = {"encoder": model.encoder, "normalizer": model.normalizer, "stack": model.stack}
    return gl.AudioModel(**parts, sample_rate=8000, **options)


def frames_of(model, pcm):
    return np.asarray(model.normalizer(model.encoder.encode(pcm, padded=False)))


@pytest.fixture
def corpus(tmp_path):
    return corpus_of(tmp_path / "a.h5", [4000, 2500])


def corpus_model(corpus, units=(8, 8), cell="gru", **options):
    encoder = gl.TimeBlocks(20)
    normalizer = gl.Standardizer().fit(corpus, encoder)
    stack = recurrent_stack(20, cell=cell, units=units, random_seed=1, dropout=options.pop("dropout", 0.0))
    return gl.AudioModel(encoder, normalizer, stack, sample_rate=corpus.sample_rate, **options)


# --- scheduled sampling


def test_all_replaced_equals_two_passes_by_hand(melody):
    model = option_model(melody, scheduled_sampling=1.0, sampling_updates=4, random_seed=0)
    pcm = pcm_of(melody, model.encoder, steps=STEPS)
    frames = frames_of(model, pcm)
    plain = numpy(model.stack(frames[:, :-1]))
    np.testing.assert_allclose(numpy(model(pcm, training=True)[0]), plain, atol=1e-5)  # the share starts at 0
    for _ in range(3):
        model(pcm, training=True)
    heard = np.concatenate([frames[:, :1], plain[:, :-1]], axis=1)
    twice = numpy(model.stack(heard))
    np.testing.assert_allclose(numpy(model(pcm, training=True)[0]), twice, atol=1e-5)
    assert np.abs(twice - plain).max() > 1e-3
    np.testing.assert_allclose(numpy(model(pcm, training=False)[0]), plain, atol=1e-5)  # validation reads the music


def test_the_share_of_replaced_frames_grows_to_what_was_asked_for():
    from gruvlike.models._feedback import ScheduledSampling

    layer = ScheduledSampling(share=0.4, updates=10, random_seed=3)
    frames, guesses = np.zeros((50, 81, 2), "float32"), np.ones((50, 80, 2), "float32")
    mixed = [numpy(layer(frames, guesses)) for _ in range(15)]
    assert all((one[:, 0] == 0).all() and (one[..., 0] == one[..., 1]).all() for one in mixed)
    shares = [one[:, 1:].mean() for one in mixed]
    np.testing.assert_allclose(shares, [0.4 * min(n / 10, 1) for n in range(15)], atol=0.03)
    assert (mixed[-1] != mixed[-2]).any()


def test_the_share_goes_on_where_it_was_in_a_saved_file(melody, tmp_path):
    model = option_model(melody, scheduled_sampling=0.5, sampling_updates=100, random_seed=2)
    model.compile("adam", **QUICK)
    pcm = pcm_of(melody, model.encoder)
    model.fit(pcm, epochs=3, batch_size=4, verbose=0, validation_data=pcm)
    assert float(model._sampling.updates.value) == 6  # two batches an epoch; validation does not count
    model.save(tmp_path / "run.keras")
    loaded = gl.load(tmp_path / "run.keras")
    assert float(loaded._sampling.updates.value) == 6
    for name in ("scheduled_sampling", "sampling_updates", "rollout_steps", "random_seed"):
        assert getattr(loaded, name) == getattr(model, name)
    loaded.fit(pcm, batch_size=4, verbose=0)
    assert float(loaded._sampling.updates.value) == 8


def test_what_is_heard_instead_has_no_gradient(melody):
    """By finite differences: the gradient is that of the second pass alone."""
    model = option_model(melody, units=(3,), scheduled_sampling=1.0, sampling_updates=1, random_seed=0)
    pcm = pcm_of(melody, model.encoder, steps=STEPS, windows=2)
    frames = frames_of(model, pcm)
    heard = np.concatenate([frames[:, :1], numpy(model.stack(frames[:, :-1]))[:, :-1]], axis=1)
    model.compile(keras.optimizers.SGD(1.0), **QUICK)
    model._sampling.updates.assign(1.0)
    bias = model.stack.get_layer("frame").bias
    before = numpy(bias).copy()

    def loss(shift):
        bias.assign(before + shift)
        return np.square(numpy(model.stack(heard)) - frames[:, 1:]).mean(dtype="float64")

    shift = np.eye(len(before), dtype="float32")[0] * 0.05
    slope = (loss(shift) - loss(-shift)) / 0.1
    bias.assign(before)
    model.fit(pcm, verbose=0)
    assert before[0] - numpy(bias)[0] == pytest.approx(slope, rel=1e-2)


# --- rollout


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_rollout_equals_feeding_predictions_back_by_hand(melody, cell):
    model = option_model(melody, units=(8, 5), cell=cell, rollout_steps=3)
    pcm = pcm_of(melody, model.encoder, steps=STEPS)
    heard = frames_of(model, pcm)[:, : STEPS - 3]
    for _ in range(3):
        heard = np.concatenate([heard, numpy(model.stack(heard))[:, -1:]], axis=1)
    np.testing.assert_allclose(numpy(model(pcm, training=True)[0]), numpy(model.stack(heard)), atol=1e-5)
    plain = numpy(model(pcm, training=False)[0])
    assert np.abs(plain - numpy(model.stack(heard))).max() > 1e-3


def test_training_with_both_lowers_the_loss_and_the_file_is_whole(melody, tmp_path):
    model = option_model(melody, rollout_steps=2, scheduled_sampling=0.5)
    model.compile(keras.optimizers.Adam(0.01))
    pcm = pcm_of(melody, model.encoder)
    history = model.fit(pcm, epochs=8, batch_size=7, verbose=0, validation_data=pcm).history
    assert history["val_loss"][-1] < 0.95 * history["val_loss"][0]
    model.save(tmp_path / "run.keras")
    loaded = gl.load(tmp_path / "run.keras")
    assert loaded.rollout_steps == 2
    np.testing.assert_array_equal(loaded.predict(pcm, verbose=0)[0], model.predict(pcm, verbose=0)[0])


def test_a_stack_that_cannot_hear_itself_is_refused(melody):
    model = small_model(melody)
    inputs = keras.Input((None, 32))
    stack = keras.Model(inputs, keras.layers.Conv1D(32, 3, padding="causal", name="past")(inputs))
    with pytest.raises(ValueError, match=r"For `rollout_steps` and stateful windows .*'past' \(Conv1D\).* Leave them"):
        gl.AudioModel(model.encoder, model.normalizer, stack, sample_rate=8000, rollout_steps=2)
    gl.AudioModel(model.encoder, model.normalizer, stack, sample_rate=8000, scheduled_sampling=0.5)


@pytest.mark.parametrize(
    "options",
    [
        {"scheduled_sampling": 1.1},
        {"scheduled_sampling": True},
        {"sampling_updates": 0},
        {"rollout_steps": -1},
        {"random_seed": -1},
    ],
)
def test_options_out_of_range(melody, options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
        option_model(melody, **options)


def test_a_rollout_as_long_as_the_window_is_refused(melody):
    model = option_model(melody, rollout_steps=STEPS)
    with pytest.raises(ValueError, match=f"rollout_steps={STEPS}, windows of {STEPS} steps"):
        model(pcm_of(melody, model.encoder, steps=STEPS), training=True)


# --- stateful training


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_second_window_goes_on_from_the_first(corpus, cell):
    """With a learning rate of 0: the loss of each batch is that of its part when a lane is fed at once."""
    model = corpus_model(corpus, cell=cell)
    options = {"steps": 5, "batch_size": 3, "offset": 0, "shuffle": False}
    windows = corpus.windows(model.encoder, stateful=True, **options)
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    losses, total = [], [0.0]

    def note(batch, logs):  # `loss` is the mean of the epoch so far
        losses.append(logs["loss"] * (batch + 1) - total[0])
        total[0] += losses[-1]

    model.fit(windows, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=note)])
    count = next(n for n in range(1, 99) if windows.resets(n))  # windows of a lane in the first track
    assert 1 < count < len(windows)
    lanes = np.stack([corpus[0].pcm[b * count * 100 :][: count * 100 + 20] for b in range(3)])
    frames = frames_of(model, lanes)
    errors = np.square(numpy(model.stack(frames[:, :-1])) - frames[:, 1:]).mean(axis=(0, 2))
    np.testing.assert_allclose(losses[:count], errors.reshape(count, 5).mean(axis=1), rtol=1e-3)
    plain = [np.square(np.subtract(*model.predict(w["pcm"], verbose=0))).mean() for (w,) in windows]
    assert losses[count] == pytest.approx(plain[count], rel=1e-3)  # the second track starts from zero
    assert np.abs(np.subtract(losses, plain))[1:count].min() > 1e-4  # the control: without the state it is another


@pytest.mark.slow
def test_validation_and_saved_files_start_from_zero(corpus, tmp_path):
    model = corpus_model(corpus, dropout=0.1, scheduled_sampling=0.5, sampling_updates=2, rollout_steps=1)
    model.compile("adam", **QUICK)
    windows = corpus.windows(model.encoder, steps=5, batch_size=3, stateful=True)
    plain = corpus.windows(model.encoder, steps=5, batch_size=3, shuffle=False, offset=0)
    history = model.fit(windows, epochs=2, validation_data=plain, verbose=0).history
    assert history["val_loss"][-1] == pytest.approx(model.evaluate(plain, verbose=0)[0], rel=1e-4)
    assert max(np.abs(numpy(v)).max() for v in model._carried.read()) > 0
    model.save(tmp_path / "run.keras")
    loaded = gl.load(tmp_path / "run.keras")
    assert loaded._carried.read() == []
    assert loaded.evaluate(plain, verbose=0)[0] == pytest.approx(history["val_loss"][-1], rel=1e-4)
    model.fit(corpus.windows(model.encoder, steps=5, batch_size=2, stateful=True), verbose=0)  # other lanes
    assert [v.shape for v in model._carried.read()] == [(2, 8), (2, 8)]


def test_stateful_windows_stay_in_order_and_belong_to_fit(corpus):
    model = corpus_model(corpus)
    model.compile("sgd")
    windows = corpus.windows(model.encoder, steps=5, batch_size=3, stateful=True)
    with pytest.raises(ValueError, match="must stay in order"):
        model.fit(windows, shuffle=True)
    with pytest.raises(ValueError, match="must be given to `fit`"):
        model(windows[0][0], training=True)


# --- what Keras has


def test_weight_decay_and_schedules_are_those_of_keras_and_travel_in_the_file(melody, tmp_path):
    pcm = None
    norms = []
    for decay in (0.0, 0.5):
        model = small_model(melody)
        schedule = keras.optimizers.schedules.CosineDecay(0.01, decay_steps=20)
        model.compile(keras.optimizers.AdamW(schedule, weight_decay=decay, global_clipnorm=1.0), **QUICK)
        pcm = pcm_of(melody, model.encoder)
        model.fit(pcm, epochs=10, verbose=0)
        norms.append(sum(np.square(w).sum() for w in model.stack.get_weights()))
    assert norms[1] < 0.98 * norms[0]
    model.save(tmp_path / "run.keras")
    optimizer = gl.load(tmp_path / "run.keras").optimizer
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.5, 1.0)
    assert float(optimizer.learning_rate) == pytest.approx(float(schedule(10)))
    assert float(optimizer.learning_rate) < 0.009


def test_training_without_windows_is_refused(melody):
    model = small_model(melody)
    model.compile("sgd")
    pcm = pcm_of(melody, model.encoder)
    with pytest.raises(ValueError, match=r"`validation_data` must hold at least one window. Received: none"):
        model.fit(pcm, validation_data=pcm[:0])
    with pytest.raises(ValueError, match=r"`x` must hold at least one window"):
        model.fit(pcm[:0])
