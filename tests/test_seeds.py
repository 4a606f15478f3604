"""Openings: copied, mixed, spliced, reversed, transposed, stretched, made of noise or of silence."""

import logging

import numpy as np
import pytest
from _parts import Piece
from _sounds import encode

import gruvlike as gl
from gruvlike import audio, seeds

RATE = 16_000


def tone(hz, seconds=1.0, level=0.3, rate=RATE):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype("float32")


def hz(samples, rate=RATE):
    """The frequency with the most power, in Hz."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(power) * rate / len(samples)


@pytest.fixture(scope="module")
def tune():
    return gl.tune.compose(2, RATE, random_seed=3)


# --- copy


def test_a_copy_is_an_excerpt_of_one_track(tmp_path):
    for number in range(2):
        audio.write(tmp_path / f"{number}.wav", gl.tune.compose(2, 4000, random_seed=number), 4000)
    corpus = gl.Corpus.build(tmp_path, tmp_path / "music.h5", sample_rate=4000)
    found = seeds.copy(corpus, 1.5, random_seed=5)
    np.testing.assert_array_equal(found, corpus.excerpt(1.5, 5))
    assert not np.array_equal(found, seeds.copy(corpus, 1.5, random_seed=6))
    with pytest.raises(ValueError, match=r"No excerpt of 3 s fits: the longest track has 2.00 s"):
        seeds.copy(corpus, 3)
    with pytest.raises(TypeError, match=r"`corpus` must be a Corpus. Received: list"):
        seeds.copy([found], 1)


# --- mix


def test_a_mix_is_a_sum_of_equally_loud_sounds():
    low, high = tone(200), tone(2000, level=0.03)
    mixed = seeds.mix([low, high], [3, 1], sample_rate=RATE)
    power = np.abs(np.fft.rfft(mixed))
    levels = [20 * np.log10(power[round(f)]) for f in (200, 2000)]
    quiet = seeds.mix([low, high / 5], [3, 1], sample_rate=RATE)  # levels are matched, so only that of all changes
    ratio = mixed / np.where(np.abs(quiet) > 1e-3, quiet, np.nan)
    assert np.nanstd(ratio) < 1e-3 * np.nanmean(ratio)
    alone = [audio.loudness(one, RATE) for one in (low, high)]
    expected = 20 * np.log10(3) + (20 * np.log10(0.3 / 0.03) - (alone[0] - alone[1]))
    assert levels[0] - levels[1] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("rate", [RATE, None])
def test_a_mix_with_one_weight_is_that_sound_to_the_last_bit(tune, rate):
    quiet = (0.01 * tone(300, 2)).astype("float32")
    for weights, expected in (([1, 0], tune), ([0, 2.5], quiet)):
        np.testing.assert_array_equal(seeds.mix([tune, quiet], weights, sample_rate=rate), expected)


def test_sounds_of_unlike_lengths_are_aligned_at_their_ends(tune):
    short = tone(500, 0.5)
    mixed = seeds.mix([tune, short], [1, 0], sample_rate=RATE)
    np.testing.assert_array_equal(mixed, tune[-len(short) :])


def test_a_silent_sound_adds_silence(tune):
    silent = seeds.silence(2, sample_rate=RATE)
    np.testing.assert_allclose(seeds.mix([tune, silent], sample_rate=RATE), tune / 2, atol=1e-7)
    np.testing.assert_array_equal(seeds.mix([silent, silent], sample_rate=RATE), silent)


def test_a_mix_is_never_beyond_full_scale():
    loud = np.sign(tone(100))
    mixed = seeds.mix([loud, loud], [1, 1], sample_rate=RATE)
    assert np.abs(mixed).max() == 1
    clicks = np.zeros(RATE, "float32")
    clicks[::400] = 1  # quieter than the tone, so that they are brought far beyond full scale
    both = seeds.mix([loud, clicks], [1, 1], sample_rate=RATE)
    assert np.abs(both).max() == 1
    np.testing.assert_array_equal(np.flatnonzero(np.abs(both) > 0.5), np.flatnonzero(clicks))  # scaled, not clipped
    assert np.abs(seeds.splice([loud, loud], 0.1, sample_rate=RATE)).max() <= 1


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, -1], r"`weights` must be a finite number in \[0"),
        ([0, 0], "that do not all equal 0"),
        ([1], "`weights` must be 2 numbers"),
        ([1, np.nan], "`weights` must be a finite number"),
        ([1, np.inf], "`weights` must be a finite number"),
    ],
)
def test_weights_that_are_none_are_refused(tune, weights, message):
    with pytest.raises(ValueError, match=message):
        seeds.mix([tune, tune], weights, sample_rate=RATE)


def test_huge_and_tiny_weights_are_weights(tune):
    usual = seeds.mix([tune, tune[::-1]], [1, 3], sample_rate=RATE)
    for scale in (5e307, 1e-320):  # the sum would be infinite; the quotient would be rounded to a few digits
        np.testing.assert_allclose(
            seeds.mix([tune, tune[::-1]], [scale, 3 * scale], sample_rate=RATE), usual, atol=1e-4
        )


def test_sounds_that_another_library_reads_are_resampled_and_that_is_said(tmp_path, caplog):
    pytest.importorskip("av")
    encode(tmp_path / "low.m4a", "aac", "ipod", 8000)
    with caplog.at_level(logging.WARNING):
        seeds.mix([tmp_path / "low.m4a"], sample_rate=RATE)
    assert [record.getMessage().split("' ")[1] for record in caplog.records] == ["is resampled from 8000 to 16000 Hz."]


def test_sounds_of_unlike_rates_are_resampled_and_that_is_said(tmp_path, caplog):
    audio.write(tmp_path / "low.wav", tone(440, rate=8000), 8000)
    track = Piece("high", (32767 * tone(440, rate=32_000)).astype("int16"), 32_000)
    with caplog.at_level(logging.WARNING):
        mixed = seeds.mix([tone(440), track, tmp_path / "low.wav"], sample_rate=RATE)
    assert len(mixed) == RATE
    assert hz(mixed) == pytest.approx(440, abs=2)
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == "'high' is resampled from 32000 to 16000 Hz."
    assert messages[1].endswith("low.wav' is resampled from 8000 to 16000 Hz.")
    caplog.clear()
    assert len(seeds.mix([track, tmp_path / "low.wav"])) == 32_000  # the rate of the first track
    assert len(caplog.records) == 1
    with pytest.raises(ValueError, match=r"`sample_rate` must be given for .*low.wav"):
        seeds.mix([tmp_path / "low.wav"])


@pytest.mark.parametrize("given", [[], "music.wav"])
def test_no_list_of_sounds(given):
    with pytest.raises(ValueError, match="Give one or more sounds, in a list"):
        seeds.mix(given, sample_rate=RATE)


# --- splice


def test_a_splice_fades_from_each_sound_to_the_next():
    low, high = tone(200), tone(2000)
    spliced = seeds.splice([low, high, low], fade_seconds=0.1, sample_rate=RATE)
    assert len(spliced) == 3 * RATE - 2 * 1600
    assert hz(spliced[: RATE - 1600]) == pytest.approx(200, abs=2)
    assert hz(spliced[RATE : 2 * RATE - 3200]) == pytest.approx(2000, abs=2)
    loudness = [audio.loudness(piece, RATE) for piece in (spliced[:12_000], spliced[RATE : RATE + 12_000])]
    assert loudness[0] == pytest.approx(loudness[1], abs=0.1)


def test_a_crossfade_of_noise_keeps_its_power():
    first, second = (seeds.noise(1, sample_rate=RATE, random_seed=seed) for seed in (0, 1))
    spliced = seeds.splice([first, second], fade_seconds=0.5, sample_rate=RATE)
    middle = spliced[RATE - 6000 : RATE - 2000]
    assert np.std(middle) == pytest.approx(np.std(first), rel=0.05)


def test_a_sound_shorter_than_its_crossfades_is_named(tune):
    with pytest.raises(ValueError, match=r"2 of 0.3 s\. Received: sound 1 has 0.5 s"):
        seeds.splice([tune, tone(300, 0.5), tune], fade_seconds=0.3, sample_rate=RATE)
    with pytest.raises(ValueError, match="`sample_rate` must be given for a crossfade"):
        seeds.splice([tune, tune])
    with pytest.raises(ValueError, match="A crossfade must fit into both sounds"):
        seeds.crossfade(tune, tune[:10], size=11)


# --- noise and silence


@pytest.mark.parametrize(("color", "slope"), [("white", 0), ("pink", -3), ("brown", -6), ("blue", 3), ("violet", 6)])
def test_noise_has_the_slope_of_its_color(color, slope):
    sound = seeds.noise(4, color, sample_rate=RATE, level_db=-30)
    assert 20 * np.log10(sound.std()) == pytest.approx(-30, abs=0.01)
    power = np.abs(np.fft.rfft(sound)) ** 2
    frequencies = np.fft.rfftfreq(len(sound), 1 / RATE)
    octaves = [10 * np.log10(power[(frequencies >= f) & (frequencies < 2 * f)].mean()) for f in (500, 1000, 2000)]
    np.testing.assert_allclose(np.diff(octaves), slope, atol=0.4)


def test_noise_is_repeatable_and_within_full_scale():
    one, same, other = (seeds.noise(0.1, sample_rate=RATE, random_seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.abs(seeds.noise(1, sample_rate=RATE, level_db=0)).max() <= 1
    with pytest.raises(ValueError, match=r"`color` must be one of 'white'.*Received: color='pinc'.*mean 'pink'"):
        seeds.noise(1, "pinc", sample_rate=RATE)
    for seconds in (0, -1, np.inf):
        with pytest.raises(ValueError, match="`seconds`"):
            seeds.silence(seconds, sample_rate=RATE)


# --- one sound, changed


def test_a_reversed_sound_ends_with_its_begin(tune):
    turned = seeds.reverse(tune)
    np.testing.assert_array_equal(turned, tune[::-1])
    np.testing.assert_array_equal(seeds.reverse(turned), tune)
    turned[0] = 9  # a copy


@pytest.mark.parametrize("semitones", [-12, 3.5, 12])
def test_a_transposed_sound_has_another_pitch_and_the_same_loudness(semitones):
    sound = tone(440)
    moved = seeds.transpose(sound, semitones, sample_rate=RATE)
    assert len(moved) == len(sound)
    assert 12 * np.log2(hz(moved) / 440) == pytest.approx(semitones, abs=0.1)
    assert audio.loudness(moved, RATE) == pytest.approx(audio.loudness(sound, RATE), abs=0.1)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_a_stretched_sound_has_another_tempo_and_the_same_pitch(factor):
    beats = seeds.noise(3, sample_rate=RATE) * (np.arange(3 * RATE) % (24 * RATE // 100) < RATE // 20)
    sound = tone(440, 3)
    longer = seeds.stretch(sound, factor, sample_rate=RATE)
    assert len(longer) == pytest.approx(factor * len(sound), abs=1)
    assert hz(longer) == pytest.approx(440, abs=3)
    assert audio.loudness(longer, RATE) == pytest.approx(audio.loudness(sound, RATE), abs=0.2)
    levels = gl.metrics.energy_curve(seeds.stretch(beats, factor, sample_rate=RATE), hop=RATE // 100)
    likeness = [np.corrcoef(levels[:100], levels[lag : lag + 100])[0, 1] for lag in range(5, round(36 * factor))]
    assert 5 + np.argmax(likeness) == pytest.approx(24 * factor, abs=1)


def test_nothing_to_change_changes_nothing(tune):
    np.testing.assert_array_equal(seeds.transpose(tune, 0, sample_rate=RATE), tune)
    np.testing.assert_array_equal(seeds.stretch(tune, 1, sample_rate=RATE), tune)
    assert seeds.transpose(tune, 1).shape == tune.shape  # without a rate


def test_bounds_of_changes(tune):
    with pytest.raises(ValueError, match="`semitones`"):
        seeds.transpose(tune, 25, sample_rate=RATE)
    for factor in (0, 0.2, 5):
        with pytest.raises(ValueError, match="`factor`"):
            seeds.stretch(tune, factor, sample_rate=RATE)
    for change in (seeds.transpose, seeds.stretch):
        with pytest.raises(ValueError, match=r"at least a frame of the phase vocoder, 2048 samples. Received: 2047"):
            change(tune[:2047], 2, sample_rate=RATE)
        with pytest.raises(ValueError, match=r"must be finite"):
            change(np.full(8000, np.nan, "float32"), 2, sample_rate=RATE)
