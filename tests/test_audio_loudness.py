"""Loudness as EBU R 128 defines it, at all rates and lengths, and sounds brought to the loudness of others."""

import numpy as np
import pytest

from gruvlike import audio


@pytest.mark.parametrize("rate", [1000, 2000, 4000, 8000, 16_000, 44_100, 48_000])
def test_loudness_is_the_same_at_all_rates(rate):
    """A tone of 100 Hz passes the filters of the standard nearly as it is; BS.1770 subtracts 0.691."""
    tone = 0.5 * np.sin(2 * np.pi * 100 * np.arange(2 * rate) / rate)
    reference = 0.5 * np.sin(2 * np.pi * 100 * np.arange(96_000) / 48_000)
    assert audio.loudness(tone, rate) == pytest.approx(audio.loudness(reference, 48_000), abs=0.1)
    assert audio.loudness(tone / 10, rate) == pytest.approx(audio.loudness(tone, rate) - 20, abs=0.01)


def test_loudness_of_the_standard():
    """A sine of 997 Hz at full scale in one channel has -3.01 LUFS (BS.1770-4), to 0.1 (EBU Tech 3341)."""
    tone = np.sin(2 * np.pi * 997 * np.arange(96_000) / 48_000)
    assert audio.loudness(tone, 48_000) == pytest.approx(-3.01, abs=0.1)


def test_loudness_of_short_and_of_silent_sounds():
    tone = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000)
    assert audio.loudness(tone[:4800], 48_000) == pytest.approx(audio.loudness(tone, 48_000), abs=0.1)
    for silent in (np.zeros(48_000), 1e-5 * tone, np.zeros(10), np.zeros(1)):
        assert audio.loudness(silent, 48_000) == -np.inf
    with pytest.raises(ValueError, match="`sample_rate` must be a positive integer"):
        audio.loudness(tone, 0)


def test_a_sound_is_brought_to_the_loudness_of_another():
    """Treble counts more than bass: equal levels are not equally loud."""
    bass, treble = (np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000) / 10 for hz in (60, 3000))
    by_level, by_loudness = (audio.match_level(bass, like=treble, sample_rate=rate) for rate in (None, 16_000))
    assert audio.loudness(by_loudness, 16_000) == pytest.approx(audio.loudness(treble, 16_000), abs=0.01)
    assert audio.loudness(by_level, 16_000) < audio.loudness(treble, 16_000) - 3
    loud = audio.match_level(bass, like=np.sign(treble), sample_rate=16_000)
    assert np.abs(loud).max() == pytest.approx(1)
    np.testing.assert_array_equal(audio.match_level(np.zeros(16_000), like=treble, sample_rate=16_000), 0)
