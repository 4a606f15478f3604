"""A loss that is no number, music that nobody can learn from, previews that fail."""

import csv
import math

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike.callbacks import AudioPreview, FreeRunningLoss, NaNGuard, corpus_warnings, run_callbacks

RATE = 8000


def corpus_of(folder, **tracks):
    for name, samples in tracks.items():
        gl.audio.write(folder / f"{name}.wav", np.asarray(samples, "float32"), RATE)
    return gl.Corpus.build(folder, folder / "music.h5", sample_rate=RATE, high_pass_hz=None)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return corpus_of(tmp_path_factory.mktemp("guards"), a=gl.tune.compose(4, RATE))


def make_model(learning_rate=0.01, layer=None):
    keras.utils.set_random_seed(0)
    encoder = gl.TimeBlocks(50)
    normalizer = gl.GlobalScale().fit(gl.tune.compose(1, RATE), encoder)
    stack = keras.Sequential([keras.Input((None, 50)), layer or keras.layers.Dense(50)])
    model = gl.AudioModel(encoder, normalizer, stack, RATE)
    model.compile(keras.optimizers.SGD(learning_rate), run_eagerly=True)
    return model


class Poison(keras.callbacks.Callback):
    """Spoils the weights before a batch, counted over all epochs, so that its loss is NaN."""

    def __init__(self, batch):
        super().__init__()
        self.left = batch

    def on_train_batch_begin(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.model.stack.set_weights([np.full_like(w, np.nan) for w in self.model.stack.get_weights()])


def fit(corpus, model, callbacks, epochs=3):
    train, validation = corpus.split(validation=0.4, gap_seconds=0.1)
    sizes = {"steps": 8, "batch_size": 8}
    windows, held_out = train.windows(model.encoder, **sizes), validation.windows(model.encoder, **sizes, shuffle=False)
    history = model.fit(windows, validation_data=held_out, epochs=epochs, verbose=0, callbacks=callbacks)
    return history, windows


def test_nan_in_the_second_epoch(corpus, tmp_path, caplog):
    model, guard, whole = make_model(), NaNGuard(), make_model()
    fit(corpus, whole, [], epochs=1)
    batches = len(corpus.split(validation=0.4, gap_seconds=0.1)[0].windows(model.encoder, steps=8, batch_size=8))
    history, windows = fit(corpus, model, [guard, Poison(batches + 2)])
    assert len(history.epoch) == 2
    assert guard.reason.startswith("The loss became nan in epoch 2, batch 2, with the music of 'a.wav' from ")
    assert guard.reason in caplog.text
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), whole.get_weights(), strict=True))
    said = float(guard.reason.split("'a.wav' from ")[1].split(" s")[0])
    starts = [windows.position(1, row)[1] / RATE for row in range(8)]
    assert min(abs(said - start) for start in starts) < 0.006


@pytest.mark.parametrize("how", ["the first batch", "the first update"])
def test_nan_from_the_first_step(corpus, tmp_path, how):
    """The run folder holds the weights from before training."""
    model = make_model(0.01 if how == "the first batch" else 1e38)
    before = model.get_weights()
    callbacks = run_callbacks(tmp_path, preview_every=0)
    fit(corpus, model, [*callbacks, *([Poison(1)] if how == "the first batch" else [])])
    assert "in epoch 1, batch" in callbacks[0].reason
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    for path in tmp_path.glob("*.keras"):
        kept = gl.load(path).get_weights()
        assert all(np.array_equal(a, b) for a, b in zip(kept, before, strict=True))
    assert (tmp_path / "newest.keras").exists()


def test_the_guard_is_silent_when_all_is_well(corpus, caplog):
    guard = NaNGuard()
    fit(corpus, make_model(), [guard], epochs=1)
    assert guard.reason is None
    assert not caplog.text


def test_music_that_cannot_be_learned(tmp_path):
    tune = gl.tune.compose(4, RATE)
    silent = np.concatenate([tune[:RATE], np.zeros(3 * RATE)])
    loud = np.clip(100 * tune, -1, 1)
    found = corpus_warnings(corpus_of(tmp_path, silent=silent, flat=np.full(4 * RATE, 0.3), loud=loud, well=tune))
    assert len(found) == 3
    for words, name in (("is silent", "silent.wav"), ("is one constant", "flat.wav"), ("is clipped", "loud.wav")):
        assert any(words in line and name in line for line in found)
    assert not any("well.wav" in line for line in found)


def test_good_music_gives_no_warning(corpus):
    assert corpus_warnings(corpus) == []


def test_a_run_points_it_out_before_the_first_step(tmp_path, caplog):
    (tmp_path / "music").mkdir()
    corpus = corpus_of(tmp_path / "music", loud=np.clip(100 * gl.tune.compose(4, RATE), -1, 1))
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda *_, **__: seen.append("is clipped" in caplog.text)
    )
    fit(corpus, make_model(), [*run_callbacks(tmp_path / "run", preview_every=0), look], epochs=1)
    assert seen
    assert all(seen)


def test_preview(corpus, tmp_path):
    pytest.importorskip("gruvlike.metrics")
    model = make_model()
    history, _ = fit(
        corpus,
        model,
        [AudioPreview(tmp_path, every=2, seconds=0.5, seeds=2, seed_seconds=0.25), FreeRunningLoss(2, (1, 3, 10_000))],
        epochs=3,
    )
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {*(f"epoch-0002-{k}.{kind}" for k in (1, 2) for kind in ("wav", "png")), "measures.csv"}
    assert gl.audio.read(tmp_path / "epoch-0002-1.wav", RATE).size == round(0.75 * RATE)
    rows = list(csv.DictReader((tmp_path / "measures.csv").read_text().splitlines()))
    assert [row["seed"] for row in rows] == ["1", "2"]
    assert all(math.isfinite(float(row["level"])) for row in rows)
    losses = history.history["val_free_running_3"]
    assert [math.isfinite(loss) for loss in losses] == [False, True, False]
    assert "val_free_running_10000" not in history.history


def test_measures_of_epochs_that_are_trained_again_stand_once(corpus, tmp_path):
    preview, model = AudioPreview(tmp_path, every=1, seconds=0.5, seeds=1, seed_seconds=0.25), make_model()
    fit(corpus, model, [preview], epochs=3)
    with open(tmp_path / "measures.csv", "a", encoding="utf-8") as file:
        file.write("4,1,0.")  # as after a kill within this line
    preview.on_epoch_end(1)
    rows = list(csv.DictReader((tmp_path / "measures.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert None not in rows[-1].values()


def test_a_preview_changes_nothing_and_its_errors_stop_nothing(corpus, tmp_path, caplog):
    plain, watched = make_model(), make_model()
    fit(corpus, plain, [])
    (tmp_path / "previews").write_text("a file where the folder should be")
    history, _ = fit(corpus, watched, [AudioPreview(tmp_path / "previews", every=1, seconds=0.5)])
    assert len(history.epoch) == 3
    assert "No preview after epoch 1: " in caplog.text
    assert all(np.array_equal(a, b) for a, b in zip(plain.get_weights(), watched.get_weights(), strict=True))


def test_tensorboard_gets_sound_and_pictures(corpus, tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    fit(corpus, make_model(), run_callbacks(tmp_path, preview_every=1, preview_seconds=0.5), epochs=1)
    events = [e for path in (tmp_path / "logs").rglob("events*") for e in loader.EventFileLoader(str(path)).Load()]
    plugins = {value.tag: value.metadata.plugin_data.plugin_name for event in events for value in event.summary.value}
    wanted = {"seed 1/sound": "audio", "seed 1/picture": "images", "seed 1/level": "scalars", "epoch_loss": "scalars"}
    assert {tag: plugins.get(tag) for tag in wanted} == wanted


def test_short_music_gets_short_previews(corpus, tmp_path):
    fit(corpus, make_model(), [AudioPreview(tmp_path, every=1, seeds=1)], epochs=1)
    held_out = corpus.split(validation=0.4, gap_seconds=0.1)[1].seconds
    size = gl.audio.read(tmp_path / "epoch-0001-1.wav", RATE).size
    assert size == pytest.approx(0.75 * held_out * RATE, abs=2)


def test_a_preview_of_music_shorter_than_a_few_frames(tmp_path, caplog):
    model = make_model()
    preview = AudioPreview(tmp_path, every=1, corpus=corpus_of(tmp_path, a=gl.tune.compose(1, RATE)[:190]))
    preview.set_model(model)
    for epoch in range(3):
        preview.on_epoch_end(epoch)
    assert caplog.text.count("A preview needs a track of four frames of 0.01 s. Received: ") == 1


def test_a_preview_of_a_stack_that_cannot_carry_its_state(corpus, tmp_path, caplog):
    model = make_model(layer=keras.layers.Conv1D(50, 2, padding="causal"))
    fit(corpus, model, [AudioPreview(tmp_path, every=1, seconds=0.2, seeds=1)], epochs=1)
    assert not [record for record in caplog.records if record.name.startswith("gruvlike")]
    assert (tmp_path / "epoch-0001-1.wav").exists()


def test_a_preview_says_the_real_reason_again(corpus, tmp_path, caplog, monkeypatch):
    def refuse(self, model):
        raise MemoryError(f"no room, {len(caplog.records)}")

    monkeypatch.setattr(gl.Generator, "__init__", refuse)
    fit(corpus, make_model(), [AudioPreview(tmp_path, every=1, seconds=0.1)], epochs=2)
    for epoch, records in ((1, 0), (2, 1)):
        assert f"No preview after epoch {epoch}: MemoryError: no room, {records}" in caplog.text


def test_a_free_running_loss_that_fails_stops_nothing(corpus, caplog, monkeypatch):
    def refuse(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(gl.models, "free_running_loss", refuse)
    history, _ = fit(corpus, make_model(), [FreeRunningLoss(1, (1, 3))], epochs=3)
    assert caplog.text.count("No free-running loss after epoch 1: MemoryError: no room") == 1
    assert np.isnan(history.history["val_free_running_3"]).all()


@pytest.mark.parametrize(
    "options", [{"every": 0}, {"seconds": 0}, {"seeds": 0}, {"seed_seconds": -1}, {"random_seed": -1}]
)
def test_bad_preview_options(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
        AudioPreview("previews", **options)


def test_bad_horizons():
    with pytest.raises(ValueError, match="`horizons` must be"):
        FreeRunningLoss(horizons=(1, 0))
