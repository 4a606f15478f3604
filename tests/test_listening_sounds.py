"""The sounds of a listening page: MP3, and a number of bytes that is kept."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile

from gruvlike.listening import _openings, _sounds

RATE = 8000


def test_a_sample_rate_that_mp3_lacks_is_raised(melody):
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(_sounds.sound_uri(melody, 7000).partition(",")[2])))
    assert rate == 8000
    assert samples.size / 8000 == pytest.approx(melody.size / 7000, abs=0.01)


def long_openings(seconds=8.0, seeds=2, takes=2):
    rng = np.random.default_rng(0)
    noise = (0.3 * rng.standard_normal(int(seconds * RATE))).clip(-1, 1).astype("float32")
    place = _openings.Place("noise", "0", 0.0, None)
    songs = [_openings.Take(0, 0.5 + k, noise, RATE) for k in range(takes)]
    return [_openings.Opening(place, {RATE: noise[: 4 * RATE]}, {RATE: noise}, songs) for _ in range(seeds)]


def test_a_page_that_fits_is_left_alone(plain_pictures):
    groups, notes = _sounds.groups_of(long_openings(), 10**8)
    assert notes == []
    assert [len(group.clips) for group in groups] == [4, 4]


def test_songs_are_cut_then_seeds_left_out_then_takes(plain_pictures):
    whole = _sounds._size(_sounds.groups_of(long_openings(), 10**8)[0])
    groups, notes = _sounds.groups_of(long_openings(), int(0.9 * whole))
    assert _sounds._size(groups) <= 0.9 * whole
    assert re.match(r"Songs were cut from 8.0 to [5-7]\.\d s: the sounds of a page take at most", notes[0])
    assert len(notes) == 1
    assert all(clip.stop == groups[0].clips[1].stop for group in groups for clip in group.clips if clip.kind != "seed")
    groups, notes = _sounds.groups_of(long_openings(), int(0.4 * whole))
    assert [note.partition(":")[0] for note in notes] == ["Songs were cut from 8.0 to 4.0 s", "1 of 2 seeds are shown"]
    one = _sounds._size(_sounds.groups_of(long_openings(4.0, seeds=1, takes=1), 10**8)[0])
    groups, notes = _sounds.groups_of(long_openings(), int(1.1 * one))
    assert notes[-1].startswith("1 of 2 takes are shown")
    assert [clip.kind for clip in groups[0].clips] == ["seed", "real", "take"]
    with pytest.raises(ValueError, match="for one seed and one take"):
        _sounds.groups_of(long_openings(), int(0.9 * one))


def test_takes_are_left_out_of_the_run_that_has_most(plain_pictures):
    (opening,) = long_openings(4.0, seeds=1, takes=3)
    other = opening.takes[0]._replace(run=1, temperature=None)
    (group,), _ = _sounds.groups_of([opening._replace(takes=[*opening.takes, other])], 10**8)
    for left in ([0, 0, 1], [0, 1], [0]):
        group = _sounds._without_a_take(group)
        assert [clip.run for clip in group.clips if clip.kind == "take"] == left
