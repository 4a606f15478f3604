"""`describe`, and networks that cannot fit in memory, which are refused before they are allocated."""

from contextlib import nullcontext
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from test_corpus import corpus_of
from test_models import pcm_of, small_model

import gruvlike as gl
from gruvlike import _backend
from gruvlike.models import _estimates, describe, recurrent_stack

pytestmark = pytest.mark.backends

MB = 10**6


def corpus_model(corpus, stack=None):
    encoder = gl.TimeBlocks(20)
    normalizer = gl.Standardizer().fit(corpus, encoder)
    stack = stack or recurrent_stack(20, cell="gru", units=(6, 6), random_seed=1)
    return gl.AudioModel(encoder, normalizer, stack, sample_rate=corpus.sample_rate, scheduled_sampling=0.1)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    "options",
    [{"units": (5,)}, {"units": (5, 6), "projection": 7}, {"units": (5, 6), "layer_norm": True, "skip": True}],
)
def test_parameters_are_counted_without_building(cell, options):
    built = recurrent_stack(11, cell=cell, **options)
    assert _estimates.stack_parameters(11, cell, **{"projection": None, **options}) == built.count_params()


def test_the_numbers_that_a_network_reads_and_its_gates_are_counted_before_it_is_built(monkeypatch):
    counted = []
    monkeypatch.setattr("gruvlike.models._stack.check_weights", counted.append)
    head = gl.heads.Mixture(components=2)
    conditions = {"clock": gl.Clock(), "lags": gl.Lags(beats=(1, 4)), "anchor": gl.Anchor(beats=8)}
    noise = {"input_noise": 0.3, "told_noise": 0.1}
    built = recurrent_stack(11, cell="gru", units=(5, 6), head=head, **conditions, **noise)
    deviations = 11  # of the noise
    assert counted == [built.count_params() - deviations]


def test_a_description_is_about_this_corpus_and_changes_nothing(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [4000, 2500])
    model = corpus_model(corpus)
    before = [np.array(w) for w in model.get_weights()]
    found = describe(model, corpus, steps=5, batch_size=4)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert found.parameters == model.stack.count_params()
    assert found.windows == sum(len(batch["pcm"]) for (batch,) in corpus.windows(model.encoder, steps=5, batch_size=4))
    assert found.context_seconds == pytest.approx(5 * 20 / corpus.sample_rate)
    assert found.training_values == (4000 // 20 + 2500 // 20) * 20
    assert found.epoch_seconds > 0
    for row in found.widths:
        assert row.values_per_parameter == pytest.approx(6500 / row.parameters, rel=1e-6)
    assert found.widths[0].parameters == recurrent_stack(20, cell="gru", units=(64, 64)).count_params()
    assert found.largest_units is None  # 64 units have 42 000 parameters
    text = str(found)
    assert "heart" in text
    assert f"{found.parameters:,}" in text
    assert len(text.splitlines()) == 5 + 3 + len(found.widths) + 1


def test_a_corpus_shorter_than_a_window_is_refused(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [500])
    with pytest.raises(
        ValueError, match=r"No window of steps=40 fits: it needs 820 samples, the longest track has 500"
    ):
        describe(corpus_model(corpus), corpus)


def test_the_answer_minds_the_music_and_the_memory():
    rows = tuple(_estimates.Width(units, units**2, 10_000 / units**2, 1.0, units * MB) for units in (10, 50, 90, 200))
    options = {"parameters": 1, "training_bytes": 1, "windows": 1, "epoch_seconds": 1.0, "context_seconds": 1.0}
    found = _estimates.Description(**options, available_bytes=None, training_values=10_000, widths=rows)
    assert found.largest_units == 90
    assert "Up to 90 units" in str(found)
    tight = _estimates.Description(**options, available_bytes=60 * MB, training_values=10_000, widths=rows)
    assert tight.largest_units == 50


def test_a_stack_of_other_layers_has_no_table(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [4000])
    inputs = keras.Input((None, 20))
    stack = keras.Model(inputs, keras.layers.Conv1D(20, 2, padding="causal")(inputs))
    found = describe(corpus_model(corpus, stack), corpus, steps=5, batch_size=4)
    assert (found.widths, found.largest_units) == ((), None)
    assert len(str(found).splitlines()) == 5


def test_what_cannot_fit_is_refused_with_the_figure(monkeypatch):
    monkeypatch.setattr(_estimates, "available_bytes", lambda: 200 * MB)
    with pytest.raises(ValueError, match=r"91,655,600 parameters, 367 MB, with 200 MB free .* fewer `units`"):
        recurrent_stack(4000, units=(2900,))
    recurrent_stack(40, units=(29,))


@pytest.mark.parametrize(
    ("optimizer", "slots"),
    [
        (keras.optimizers.SGD(), 0),
        (keras.optimizers.SGD(momentum=0.9), 1),
        (keras.optimizers.RMSprop(), 1),
        (keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, 100), use_ema=True), 3),
        (keras.optimizers.AdamW(amsgrad=True), 3),
        (keras.optimizers.Adafactor(), 1),
        (keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), 2),
    ],
)
def test_what_an_optimizer_keeps_is_counted_and_refused_before_it_is_made(melody, monkeypatch, optimizer, slots):
    model = small_model(melody)
    numbers = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    needs = 4 * slots * numbers
    monkeypatch.setattr(_estimates, "available_bytes", lambda: needs - 1)
    if slots:
        with pytest.raises(ValueError, match=rf"keeps {slots} numbers for each of {numbers:,} weights, .* free"):
            model.compile(optimizer)
        assert not optimizer.built
    monkeypatch.setattr(_estimates, "available_bytes", lambda: needs)
    model.compile(optimizer)
    assert optimizer.built


def test_a_model_that_reads_its_past_is_described(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [8000])
    plain = corpus_model(corpus)
    stack = gl.recurrent_stack(plain.width, units=(4,), lags=gl.Lags(frames=(3,)), random_seed=0)
    model = gl.AudioModel(plain.encoder, plain.normalizer, stack, plain.sample_rate)
    assert describe(model, corpus, steps=10, batch_size=4).epoch_seconds > 0


def test_an_optimizer_that_cannot_be_copied_counts_as_adam():
    class Own(keras.optimizers.SGD):
        def __init__(self, needed):
            super().__init__()

    assert _estimates._slots(Own(1)) == 2


def test_gradients_alone_that_cannot_fit_are_refused(melody, monkeypatch):
    model = small_model(melody)
    model.compile("sgd")
    gradients = 4 * sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    monkeypatch.setattr(_estimates, "kept_numbers", lambda *_: 0)
    for free, refused in ((gradients - 1, True), (gradients, False)):
        monkeypatch.setattr(_estimates, "available_bytes", lambda free=free: free)
        with pytest.raises(ValueError, match="training step must fit") if refused else nullcontext():
            _estimates.check_batch(model, pcm_of(melody, model.encoder), None)


def test_a_batch_that_cannot_fit_is_refused_before_it_is_read(monkeypatch, tmp_path, caplog):
    corpus = corpus_of(tmp_path / "a.h5", [4000])
    model = corpus_model(corpus)
    model.compile("sgd")
    windows = corpus.windows(model.encoder, steps=50, batch_size=3)
    needs = 4 * (3 * 50 * _estimates.kept_numbers(model.stack, 20) + model.stack.count_params())
    monkeypatch.setattr(_estimates, "available_bytes", lambda: needs / 1.6)
    with pytest.raises(ValueError, match=r"of 3 windows of 50 steps\), with .* free. Use a smaller `batch_size`"):
        model.fit(windows, verbose=0)
    assert np.isnan(describe(model, corpus, steps=50, batch_size=300).epoch_seconds)
    for free, warned in ((needs / 1.4, True), (needs, False), (None, False)):  # in doubt it is tried
        monkeypatch.setattr(_estimates, "available_bytes", lambda free=free: free)
        caplog.clear()
        _estimates.check_batch(model, windows, None)
        assert caplog.text.count("may not fit") == warned


def test_arrays_are_estimated_by_their_batches(melody, monkeypatch):
    model = small_model(melody)
    model.compile("sgd")
    pcm = pcm_of(melody, model.encoder)
    monkeypatch.setattr(_estimates, "available_bytes", lambda: 100)
    with pytest.raises(ValueError, match="batches of 2 windows of 10 steps"):
        model.fit(pcm, batch_size=2)
    with pytest.raises(ValueError, match="batches of 7 windows of 10 steps"):
        model.fit(pcm)


def test_free_memory_is_a_plausible_number():
    free = _backend.available_bytes()
    assert free is None or 10 * MB < free < 10**14


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="asks TensorFlow")
@pytest.mark.parametrize(("limit", "free"), [(None, 900), (2, 2 * 2**20 - 100)])
def test_free_memory_of_a_gpu_under_tensorflow(monkeypatch, limit, free):
    """TensorFlow knows how much it has allocated. The total comes from the driver, or from a limit that was set."""
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    limits = [SimpleNamespace(memory_limit=limit)] if limit else None
    monkeypatch.setattr(tf.config, "get_logical_device_configuration", lambda device: limits)
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda device: {"current": 100, "peak": 500})
    monkeypatch.setattr(_backend, "_cuda_bytes", lambda: 1000)
    assert _backend.available_bytes() == free
    monkeypatch.setattr(_backend, "_cuda_bytes", lambda: None)
    assert (_backend.available_bytes() is None) == (limit is None)


@pytest.mark.parametrize("code", [0, 100])
def test_the_driver_is_asked_for_all_memory(monkeypatch, code):
    def answer(place, value):
        place._obj.value = value
        return 0

    driver = SimpleNamespace(
        cuInit=lambda flags: code,
        cuDeviceGet=lambda device, index: answer(device, 3 + index),
        cuDeviceTotalMem_v2=lambda total, device: answer(total, 10**9 + device.value),
    )
    monkeypatch.setattr(_backend.ctypes, "CDLL", lambda name: driver)
    assert _backend._cuda_bytes() == (None if code else 10**9 + 3)
