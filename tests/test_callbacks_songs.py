"""Songs during a training: their score, the best model by it, and previews of networks that read their own past."""

import csv
import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike import metrics
from gruvlike.callbacks import AudioPreview, SongScore, run_callbacks
from gruvlike.callbacks._song_score import _NAMES, _places, song_distance, song_measures

RATE = 8000
WINDOWS = {"steps": 16, "batch_size": 8, "shuffle": False, "offset": 0}
SHORT = {"openings": 2, "seed_seconds": 3.0, "seconds": 8.0, "iterations": 2, "share": None}


@pytest.fixture(scope="module")
def tune():
    return gl.tune.compose(36, RATE)


@pytest.fixture(scope="module")
def parts(tmp_path_factory, tune):
    folder = tmp_path_factory.mktemp("songs")
    gl.audio.write(folder / "a.wav", tune, RATE)
    return gl.Corpus.build(folder, folder / "music.h5", sample_rate=RATE).split(validation=0.5, gap_seconds=0.1)


def make_model(parts, **conditions):
    encoder = gl.LogSpectrum(frame_size=512, hop=256)
    normalizer = gl.normalizers.PrincipalComponents(8).fit(parts[0], encoder)
    head = gl.heads.Mixture(components=2)
    stack = gl.recurrent_stack(8, cell="gru", units=(8,), head=head, random_seed=0, **conditions)
    model = gl.AudioModel(encoder, normalizer, stack, sample_rate=RATE, head=head)
    model.compile("adam")
    return model


def fit(parts, model, callbacks, epochs=1):
    train, held_out = (part and part.windows(model.encoder, **WINDOWS) for part in parts)
    return model.fit(train, validation_data=held_out, epochs=epochs, verbose=0, callbacks=callbacks)


# --- the measures


def test_measures_are_those_of_both_halves_against_the_opening(tune):
    beat = 60 / gl.tune.bpm(0)
    seed, song = tune[: 4 * RATE], 0.5 * tune[4 * RATE : 12 * RATE]
    found = song_measures(song, seed, RATE, beat)
    assert set(found) == set(_NAMES)
    pattern = metrics.rhythm_pattern(seed, RATE, beat)
    for part, start in (("first", 4), ("last", 8)):
        piece = 0.5 * tune[start * RATE : (start + 4) * RATE]
        own = metrics.rhythm_pattern(piece, RATE, beat, start_seconds=start)
        assert found[f"pulse_{part}"] == metrics.pulse(piece, RATE)
        assert found[f"flux_{part}"] == metrics.flux(piece, RATE)
        assert found[f"rhythm_{part}"] == metrics.rhythm_similarity(own, pattern)
        level = 10 * np.log10(np.square(piece, dtype="float64").mean() / np.square(seed, dtype="float64").mean())
        assert found[f"energy_db_{part}"] == pytest.approx(level, abs=1e-4)
    same = song_measures(np.tile(seed, 2), seed, RATE, beat)
    assert same["timbre_db_first"] == same["energy_db_last"] == 0
    assert song_measures(0.1 * np.tile(seed, 2), seed, RATE, beat)["timbre_db_last"] > 10


def test_a_song_is_the_farther_the_worse_it_is(tune, rng):
    beat, seed, real = 60 / gl.tune.bpm(0), tune[: 6 * RATE], tune[6 * RATE : 14 * RATE]
    truth = song_measures(real, seed, RATE, beat)

    def distance(song):
        return song_distance([song_measures(song.astype("float32"), seed, RATE, beat)], [truth])

    noise = 0.1 * rng.standard_normal(len(real))
    fading = real * np.linspace(1, 0.01, len(real))
    songs = {"real": real, "close": real + 0.001 * noise, "fading": fading, "noise": noise, "silent": 0 * real}
    found = {name: distance(song) for name, song in songs.items()}
    assert found["real"] == 0
    assert found["close"] < found["fading"] < found["silent"]
    assert 4 * found["close"] < found["noise"]


def test_places_are_spread_over_all_music_and_fit(parts):
    places = _places(parts[1], 4, 5 * RATE)
    starts = [start for _, start in places]
    assert len(set(starts)) == 4
    assert starts == sorted(starts)
    assert all(0 <= start <= len(track) - 5 * RATE for track, start in places)
    assert _places(parts[1], 1, len(parts[1][0])) == [(parts[1][0], 0)]  # it fits at one place alone


# --- in a training


@pytest.mark.backends
def test_songs_are_measured_every_few_epochs_and_change_nothing(parts, caplog):
    model, score, again = make_model(parts, clock=gl.Clock(), lags=gl.Lags(beats=(1, 4))), SongScore(2, **SHORT), []

    def measure_again(*_):
        before = model.get_weights()
        again.append(score._measure()["distance"])
        assert all(map(np.array_equal, model.get_weights(), before))

    note = keras.callbacks.LambdaCallback(on_epoch_end=measure_again)
    history = fit(parts, model, [score, note], epochs=2).history
    for name in ("distance", *_NAMES):
        assert np.isfinite(history[f"val_song_{name}"]).tolist() == [False, True], caplog.text
    assert history["val_song_distance"][1] == again[1] > 0  # the same draws each time
    assert again[0] != again[1]  # the control


class Scripted(SongScore):
    """Says distances that were thought out, in every second epoch."""

    def __init__(self, distances, **options):
        super().__init__(every=2, **{**SHORT, **options})
        self.distances = distances

    def _prepare(self, model):
        self._sizes = (1, 1)
        return True

    def on_epoch_end(self, epoch, logs=None):
        self.epoch = epoch
        super().on_epoch_end(epoch, logs)

    def _measure(self):
        return {"distance": self.distances[self.epoch // 2], **dict.fromkeys(_NAMES, 0.0)}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    gl.audio.write(folder / "a.wav", gl.tune.compose(4, RATE), RATE)
    return gl.Corpus.build(folder, folder / "music.h5", sample_rate=RATE).split(validation=0.3)


def quick_model():
    keras.utils.set_random_seed(0)
    encoder = gl.TimeBlocks(50)
    stack = keras.Sequential([keras.Input((None, 50)), keras.layers.Dense(50)])
    model = gl.AudioModel(encoder, gl.GlobalScale().fit(gl.tune.compose(1, RATE), encoder), stack, RATE)
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def weights(small):
    """The weights after each epoch."""
    model, found = quick_model(), []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: found.append(model.get_weights()))
    fit(small, model, [note], 6)
    return found


@pytest.mark.backends
@pytest.mark.parametrize("stops", [(6,), (5, 6)], ids=str)
def test_the_best_model_is_that_of_the_best_songs_also_after_a_break(small, weights, tmp_path, stops):
    distances = [3.0, 1.0, 2.0]
    for epochs in stops:
        score = Scripted(distances)
        callbacks = run_callbacks(tmp_path, monitor="val_song_distance", preview_every=0, song_score=score)
        fit(small, quick_model(), callbacks, epochs)
    best = gl.load(tmp_path / "best.keras").get_weights()
    assert [all(map(np.array_equal, best, one)) for one in weights] == [False, False, False, True, False, False]
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    end = 2.0 if 5 in stops else None  # the model at the end of a training is always measured
    assert [row["val_song_distance"] for row in rows] == [None, 3.0, None, 1.0, end, 2.0]
    with open(tmp_path / "history.csv", encoding="utf-8", newline="") as file:
        assert [row["val_song_distance"] for row in csv.DictReader(file)][1::2] == ["3.0", "1.0", "2.0"]
    assert "best songs      distance 1.000 after epoch 4" in (tmp_path / "summary.txt").read_text()


@pytest.mark.backends
def test_patience_counts_measurements_also_after_a_break(small, tmp_path):
    for epochs in (6, 20):
        score = Scripted([2.0, 1.0, 3.0, 3.0, *[0.5] * 6])
        options = {"monitor": "val_song_distance", "patience": 2, "preview_every": 0, "song_score": score}
        history = fit(small, quick_model(), run_callbacks(tmp_path, **options), epochs)
    assert history.epoch[-1] == 7  # the second measurement after the best


class StopAt(keras.callbacks.Callback):
    """Ends training after so many batches, as a time limit does."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_train_batch_end(self, batch, logs=None):
        self.batches -= 1
        self.model.stop_training = self.batches <= 0


@pytest.mark.parametrize("distance", [0.5, 2.0])
def test_the_model_at_the_end_is_measured_also_within_an_epoch(small, tmp_path, distance):
    model = quick_model()
    batches = len(small[0].windows(model.encoder, **WINDOWS))
    score = Scripted([3.0, 1.0, distance])
    callbacks = run_callbacks(tmp_path, monitor="val_song_distance", preview_every=0, song_score=score)
    assert batches > 1  # the fifth epoch is a part
    fit(small, model, [StopAt(4 * batches + 1), *callbacks], 20)
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["val_song_distance"] for row in rows] == [None, 3.0, None, 1.0, distance]
    best = gl.load(tmp_path / "best.keras").get_weights()
    assert all(map(np.array_equal, best, model.get_weights())) == (distance < 1)


@pytest.mark.slow
def test_measuring_takes_a_bounded_share_of_the_time(small, monkeypatch):
    clock = iter(range(0, 10**6, 10))
    monkeypatch.setattr("gruvlike.callbacks._throttle.time", SimpleNamespace(monotonic=lambda: next(clock)))
    history = fit(small, quick_model(), [Scripted([1.0] * 20, share=0.25)], 20).history["val_song_distance"]
    # Each look at the clock finds it 10 s later. Measuring takes 10 s, so 40 s must pass, four looks, until the next.
    measured = [epoch + 1 for epoch, value in enumerate(history) if np.isfinite(value)]
    assert measured == [2, 10, 18, 20]


@pytest.mark.parametrize("held_out", ["short", "none"])
def test_where_songs_cannot_be_measured_the_run_follows_the_loss(small, tmp_path, caplog, held_out):
    parts = small if held_out == "short" else (small[0], None)
    callbacks = run_callbacks(tmp_path, monitor="val_song_distance", preview_every=1, preview_seconds=0.1, patience=5)
    history = fit(parts, quick_model(), callbacks, 2).history
    assert not any(name.startswith("val_song") for name in history)
    assert caplog.text.count("Songs") == 1
    wanted = "the longest validation track has 1." if held_out == "short" else "no windows of a `Corpus`"
    assert wanted in caplog.text
    assert (tmp_path / "best.keras").exists()
    assert callbacks[1].every == 1
    assert [c.monitor for c in callbacks if hasattr(c, "monitor")] == [
        "val_loss" if held_out == "short" else "loss"
    ] * 2


def test_a_score_that_fails_stops_nothing(parts, caplog, monkeypatch):
    def refuse(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr(gl.Generator, "extend", refuse)
    score, model = SongScore(every=1, **SHORT), make_model(parts)
    model.validation_windows = parts[1].windows(model.encoder, steps=16)
    score.set_model(model)
    score.on_train_begin()
    for epoch in range(2):
        logs = {}
        score.on_epoch_end(epoch, logs)
        assert np.isnan(logs["val_song_distance"])
    assert caplog.text.count("No song score after epoch 1: MemoryError: no room") == 1


def test_shorter_music_gives_shorter_songs_and_openings(parts):
    score = SongScore()
    model = make_model(parts)
    model.validation_windows = parts[1].windows(model.encoder, steps=16)
    assert score._prepare(model)
    seed, song = (size / RATE for size in score._sizes)
    assert 3 < seed < 8 < song < 16
    assert seed + song <= parts[1].seconds


@pytest.mark.parametrize(
    "options",
    [
        *({"every": 0}, {"openings": 0}, {"iterations": 0}, {"seed_seconds": 0}, {"seconds": 7}),
        *({"temperature": -1}, {"leash": 2}, {"share": 0}),
    ],
    ids=str,
)
def test_bad_options(options):
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
        SongScore(**options)


def test_songs_are_no_number_to_follow_where_none_are_made(tmp_path):
    with pytest.raises(ValueError, match="`preview_every` must be"):
        run_callbacks(tmp_path, monitor="val_song_distance", preview_every=0)


# --- previews of networks that read their own past


@pytest.mark.parametrize("seconds", [36, 4], ids=["long", "short"])
def test_a_preview_has_seeds_as_long_as_the_network_reads_back(parts, tmp_path, tune, caplog, seconds):
    gl.audio.write(tmp_path / "a.wav", tune[: seconds * RATE], RATE)
    corpus = gl.Corpus.build(tmp_path, tmp_path / "music.h5", sample_rate=RATE)
    model = make_model(parts, clock=gl.Clock(), anchor=gl.Anchor(beats=8))
    preview = AudioPreview(tmp_path / "previews", every=1, seconds=2, seeds=1, seed_seconds=1, corpus=corpus)
    preview.set_model(model)
    preview.on_epoch_end(0)
    assert "No preview" not in caplog.text
    needed = gl.Generator(model).seed_seconds
    size = gl.audio.read(tmp_path / "previews" / "epoch-0001-1.wav", RATE).size
    assert size == round((2 + min(needed, seconds - 2)) * RATE)


def test_a_preview_draws_at_its_temperature_and_on_its_leash(parts, tmp_path, monkeypatch):
    asked = []

    def extend(self, seeds, **options):
        asked.append(options)
        return np.zeros((len(seeds), round(options["seconds"] * RATE)), "float32")

    monkeypatch.setattr(gl.Generator, "extend", extend)
    for conditions, options in (({}, {}), ({"clock": gl.Clock()}, {}), ({}, {"temperature": 0.6, "leash": 0.1})):
        model = make_model(parts, **conditions)
        preview = AudioPreview(tmp_path, every=1, seconds=1, seeds=1, corpus=parts[1], **options)
        preview.set_model(model)
        preview.on_epoch_end(0)
    assert [(one["temperature"], one["leash"]) for one in asked] == [(None, None), (None, None), (0.6, 0.1)]
