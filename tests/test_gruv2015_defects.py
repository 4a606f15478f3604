"""One regression test for each defect of the program of 2015, against the parts that do its work today.

The table in docs/gruv2015.md names them; the last test here holds the table to it.
"""

import re
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

import gruvlike as gl

pytestmark = pytest.mark.backends

ROOT = Path(__file__).resolve().parents[1]
RATE = 8000


def tone(seconds=0.5, hz=440, rate=RATE):
    return (0.4 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype("float32")


@pytest.fixture
def corpus(tmp_path):
    """Two tracks, of 0.5 s and 0.7 s, that are nowhere silent."""
    (tmp_path / "music").mkdir()
    gl.audio.write(tmp_path / "music" / "a.wav", tone(0.5), RATE)
    gl.audio.write(tmp_path / "music" / "b.wav", tone(0.7, 660), RATE)
    return gl.Corpus.build(tmp_path / "music", tmp_path / "music.h5", sample_rate=RATE)


def small_model(corpus, **options):
    encoder = gl.BlockDFT(block_size=32)
    normalizer = gl.Standardizer().fit(corpus, encoder)
    stack = gl.recurrent_stack(encoder.features, units=(8,), random_seed=0, **options)
    model = gl.AudioModel(encoder, normalizer, stack, sample_rate=corpus.sample_rate)
    model.compile("rmsprop", jit_compile=False)
    return model


# --------------------------------------------------------------------------------------------------------- music


def test_wav_files_in_the_music_folder_are_used(tmp_path):
    (tmp_path / "album").mkdir()
    gl.audio.write(tmp_path / "a.wav", tone(), RATE)
    soundfile.write(tmp_path / "album" / "b.WAV", tone(), RATE, format="WAV")
    gl.audio.write(tmp_path / "c.flac", tone(), RATE)
    assert len(gl.Corpus.build(tmp_path, tmp_path / "music.h5", sample_rate=RATE)) == 3


def test_mp3_is_resampled(tmp_path):
    gl.audio.write(tmp_path / "a.mp3", tone(1, rate=44_100), 44_100)
    corpus = gl.Corpus.build(tmp_path, tmp_path / "music.h5", sample_rate=RATE)
    assert corpus.sample_rate == RATE
    assert corpus.seconds == pytest.approx(1, abs=0.1)
    middle = corpus[0].samples(1000, 5000)
    assert np.abs(np.fft.rfft(middle)).argmax() * RATE / len(middle) == pytest.approx(440, abs=3)


def test_all_files_are_used_in_the_order_of_their_names(tmp_path):
    names = [f"{index:02}.wav" for index in range(23)]
    for name in reversed(names):
        gl.audio.write(tmp_path / name, tone(0.05, 200 + 20 * int(name[:2])), RATE)
    corpus = gl.Corpus.build(tmp_path, tmp_path / "music.h5", sample_rate=RATE)
    assert [Path(track.source).name for track in corpus] == names


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT"])
def test_other_sample_formats_are_not_noise(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", tone(), RATE, subtype=subtype)
    np.testing.assert_allclose(gl.audio.read(tmp_path / "a.wav", RATE), tone(), atol=1 / 127)


def test_stereo_is_mixed_down(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(), np.zeros_like(tone())], axis=1), RATE)
    np.testing.assert_allclose(gl.audio.read(tmp_path / "a.wav", RATE), tone() / 2, atol=1e-4)


def test_a_folder_without_music_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("no music")
    with pytest.raises((FileNotFoundError, ValueError)):
        gl.Corpus.build(tmp_path, tmp_path / "music.h5", sample_rate=RATE)
    assert not (tmp_path / "music.h5").exists()


# ------------------------------------------------------------------------------------------------------- windows


def test_the_end_of_each_track_is_in_a_window(corpus):
    windows = corpus.windows(gl.BlockDFT(32), steps=10, batch_size=4, shuffle=False, offset=0)
    batches = np.concatenate([windows[index][0]["pcm"] for index in range(len(windows))])
    for track in corpus:
        assert any(np.array_equal(window, track.pcm[-windows.span :]) for window in batches)


def test_every_target_is_music(corpus):
    """No frame of zeros at the end, no padding: each window is a piece of a track."""
    windows = corpus.windows(gl.BlockDFT(32), steps=10, batch_size=4)
    for index in range(len(windows)):
        for row, window in enumerate(windows[index][0]["pcm"]):
            track, start = windows.position(index, row)
            np.testing.assert_array_equal(window, track.pcm[start : start + windows.span])
            assert np.abs(window.reshape(-1, 32).astype(int)).max(axis=1).min() > 1000


def test_music_takes_two_bytes_a_sample(corpus):
    samples = sum(map(len, corpus))
    assert corpus.file.stat().st_size < 2 * samples + 20_000  # 2015 took 32 bytes a sample, all of them in memory
    assert isinstance(corpus[0].pcm, np.memmap)
    (batch,) = corpus.windows(gl.BlockDFT(32), steps=10, batch_size=4)[0]
    assert batch["pcm"].dtype == np.int16


def test_an_excerpt_never_runs_past_the_end(corpus):
    whole = corpus[0].samples(), corpus[1].samples()
    for random_seed in range(100):
        excerpt = corpus.excerpt(seconds=0.69, random_seed=random_seed)
        assert len(excerpt) == round(0.69 * RATE)
        start = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(whole[1], 40)[:, 0] == excerpt[0])
        assert any(np.array_equal(whole[1][s : s + len(excerpt)], excerpt) for s in start)
    with pytest.raises(ValueError, match="No excerpt"):
        corpus.excerpt(seconds=0.71, random_seed=0)


# ------------------------------------------------------------------------------------------------------ training


def test_each_epoch_leaves_a_model_that_the_generator_opens(corpus, tmp_path):
    model = small_model(corpus)
    windows = corpus.windows(model.encoder, steps=10, batch_size=4)
    found = []
    look = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: found.append((tmp_path / "run.keras").exists()))
    callbacks = [keras.callbacks.ModelCheckpoint(str(tmp_path / "run.keras")), look]
    model.fit(windows, epochs=2, verbose=0, callbacks=callbacks)
    assert found == [False, True]
    assert gl.Generator(tmp_path / "run.keras").extend(tone(), steps=3).shape == (96,)


def test_a_missing_model_is_an_error(tmp_path):
    for opens in (gl.load, gl.Generator, gl.gruv2015.load_network):
        with pytest.raises(FileNotFoundError, match="run25"):
            opens(tmp_path / "run25.keras")


def test_going_on_with_training_scrambles_nothing(corpus, tmp_path):
    """Loading and going on gives the weights of never having stopped; with a fresh optimizer it would not."""
    model = small_model(corpus)
    (batch,) = corpus.windows(model.encoder, steps=10, batch_size=4)[0]
    for _ in range(3):
        model.train_on_batch(batch)
    model.save(tmp_path / "run.keras")
    loaded, scrambled = gl.load(tmp_path / "run.keras"), gl.load(tmp_path / "run.keras")
    scrambled.compile("rmsprop", jit_compile=False)
    for one in (model, loaded, scrambled):
        one.train_on_batch(batch)
    expected = model.stack.get_weights()
    for a, b in zip(expected, loaded.stack.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(expected, scrambled.stack.get_weights(), strict=True)) > 1e-4


def test_one_file_holds_rate_and_normalization(corpus, tmp_path):
    model = small_model(corpus)
    model.save(tmp_path / "run.keras")
    loaded = gl.load(tmp_path / "run.keras")
    assert loaded.sample_rate == RATE
    for name in ("mean", "scale"):
        weights = (keras.ops.convert_to_numpy(getattr(m.normalizer, name)) for m in (model, loaded))
        np.testing.assert_array_equal(*weights)


def test_constant_features_cannot_be_blown_up(corpus):
    """The imaginary parts of DC and Nyquist: 2015 divided them by 1e-8, and their predictions were meaningless."""
    normalizer = gl.Standardizer().fit(corpus, gl.BlockDFT(32))
    said = np.full((1, 64), 1e6, "float32")
    np.testing.assert_array_equal(normalizer(said)[0, [32, 48]], 0)
    np.testing.assert_array_equal(
        normalizer.inverse(said)[0, [32, 48]], keras.ops.convert_to_numpy(normalizer.mean)[[32, 48]]
    )


def test_a_gru_can_say_less_than_zero():
    frames = np.random.default_rng(0).normal(size=(4, 20, 8)).astype("float32")
    least = {}
    for name, stack in (
        ("2015", gl.gruv2015.network(8, 16, "gru", random_seed=0)),
        ("today", gl.recurrent_stack(8, "gru", (16,), random_seed=0)),
    ):
        states = keras.Model(stack.inputs, stack.layers[-2].output).predict(frames, verbose=0)
        least[name] = states.min()
    assert least["today"] < -0.1
    assert least["2015"] >= 0  # the control: the published GRU


# --------------------------------------------------------------------------------------------------------- songs


def test_the_song_starts_after_the_seed(corpus):
    model = small_model(corpus)
    generator, seed = gl.Generator(model), tone(0.2)[:1600]
    song = generator.extend(seed, steps=4)
    frames = model.normalizer(model.encoder.encode(seed))
    next_frame = model.stack.predict(frames[None], verbose=0)[0, -1:]
    np.testing.assert_allclose(song[:32], model.encoder.decode(model.normalizer.inverse(next_frame)), atol=1e-5)
    both = generator.extend(seed, steps=4, include_seed=True)
    np.testing.assert_array_equal(both[:1600], seed)  # the seed itself, not its reconstruction
    np.testing.assert_allclose(both[1600:], song, atol=1e-6)


def test_decoding_gives_real_samples_without_a_warning():
    frames = np.random.default_rng(0).normal(size=(5, 64)).astype("float32")  # the spectrum of no real block
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for samples in (gl.BlockDFT(32).decode(frames), gl.gruv2015.to_samples(frames)):
            assert samples.dtype == np.float32
            assert samples.shape == (160,)


def test_loud_samples_are_clipped_and_do_not_wrap(tmp_path):
    loud = (1.2 * tone() / 0.4).astype("float32")
    wrapped = (loud.astype(float) * 32767).astype(np.int64).astype(np.int16)  # as 2015 wrote it
    with pytest.warns(UserWarning, match="clipped"):
        gl.audio.write(tmp_path / "song.wav", loud, RATE)
    written, _ = soundfile.read(tmp_path / "song.wav", dtype="int16")
    np.testing.assert_allclose(written / 32768, np.clip(loud, -1, 1), atol=1e-4)
    assert np.abs(wrapped / 32768 - np.clip(loud, -1, 1)).max() > 1


def test_a_random_seed_decides_everything_that_is_random(corpus):
    def draw(random_seed):
        windows = corpus.windows(gl.BlockDFT(32), steps=10, batch_size=4, random_seed=random_seed)
        weights = gl.recurrent_stack(8, units=(4,), random_seed=random_seed).get_weights()
        old = gl.gruv2015.network(8, 4, random_seed=random_seed).get_weights()
        return [windows[0][0]["pcm"], corpus.excerpt(0.1, random_seed), weights[0], weights[1], old[0]]

    for first, again, other in zip(draw(1), draw(1), draw(2), strict=True):
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


# ------------------------------------------------------------------------------------------------------ the page


def test_the_table_of_defects_names_tests_that_exist():
    page = (ROOT / "docs" / "gruv2015.md").read_text("utf-8")
    rows = [
        line
        for line in page.partition("## What was wrong with it")[2].partition("\n## ")[0].splitlines()
        if line[:2] == "| "
    ]
    header, *rows = rows
    assert header.split(" | ")[-1].startswith("test")
    assert len(rows) >= 21
    for row in rows:
        cells = row.strip("| ").split(" | ")
        assert len(cells) == 4, row
        names = re.findall(r"`(test_\w+)\.py::(test_\w+)`", cells[-1])
        assert names, f"no test in: {row}"
        for file, name in names:
            assert f"\ndef {name}(" in (ROOT / "tests" / f"{file}.py").read_text("utf-8"), f"{file}.py has no {name}"
