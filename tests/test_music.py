"""One reader of music: whatever holds it gives the same tracks, and the same frames."""

import numpy as np
import pytest
from _parts import Piece, Pieces
from test_corpus import corpus_of

import gruvlike as gl
from gruvlike import _music
from gruvlike._contracts import Announces, Music, Track, WindowsLike

pytestmark = pytest.mark.backends


@pytest.fixture
def pcm(rng):
    return (3000 * rng.normal(size=400)).astype("int16")


def test_whatever_holds_music_gives_named_tracks(pcm, tmp_path):
    piece, other = Piece("a", pcm), Piece("b", pcm[:99])
    for music, names in (
        (pcm, ["0"]),
        (piece, ["a"]),
        (pcm.reshape(4, 100), ["0", "1", "2", "3"]),
        ([pcm, pcm[:99]], ["0", "1"]),
        ([("bass", pcm), pcm], ["bass", "1"]),
        (Pieces([piece, other]), ["a", "b"]),
        ((one for one in (piece, other)), ["a", "b"]),
        (corpus_of(tmp_path / "music.h5", [300, 200]), ["0", "1"]),
    ):
        sounds = list(_music.tracks(music))
        assert [name for name, _ in sounds] == names
        assert all(samples.dtype == "int16" and samples.ndim == 1 for _, samples in sounds)
    np.testing.assert_array_equal(sounds[1].samples, 8 + np.arange(200))


def test_tracks_are_views_of_what_was_given(pcm, tmp_path):
    assert all(np.shares_memory(pcm, samples) for _, samples in _music.tracks([pcm, Piece("a", pcm)]))
    corpus = corpus_of(tmp_path / "music.h5", [300])
    (sound,) = _music.tracks(corpus)
    assert np.shares_memory(sound.samples, corpus[0].pcm)


@pytest.mark.parametrize(
    ("music", "received"),
    [
        (np.zeros((2, 3, 4)), r"'0', shape=\(3, 4\)"),
        ([np.zeros((2, 9))], r"'0', shape=\(2, 9\)"),
        ([np.zeros(3), ("stereo", np.zeros((9, 2)))], r"'stereo', shape=\(9, 2\)"),
        ([0.1, 0.2], r"'0', shape=\(\)"),
        ("music.h5", r"'0', shape=\(\), dtype=<U1"),
        (np.zeros(3, int), "dtype=int64"),
        (Piece("empty", np.zeros(0, "int16")), r"'empty', shape=\(0,\)"),
        ([(np.zeros(3), np.zeros(3))], r"shape=\(2, 3\)"),
    ],
)
def test_what_is_no_track_is_refused_with_its_name(music, received):
    with pytest.raises(ValueError, match=f"A track must be mono samples of shape .S,., S > 0.*Received: .*{received}"):
        list(_music.tracks(music))


def test_no_track_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one track"):
        list(_music.tracks([]))


def test_only_a_corpus_and_a_track_know_their_rate(pcm):
    assert _music.sample_rate_of(Pieces()) == _music.sample_rate_of(Piece("a", pcm)) == 8000
    assert _music.sample_rate_of(pcm) is _music.sample_rate_of([Piece("a", pcm)]) is None


def test_windows_arrays_and_bare_batches_give_the_same_frames(rng):
    encoder = gl.TimeBlocks(4)
    music = Pieces([Piece("a", (1000 * rng.normal(size=4 * 6 * 70)).astype("int16"))])
    normalizer = gl.Standardizer().fit(music, encoder)
    windows = gl.Windows(music, 24, batch_size=32, shuffle=False, offset=0)
    rows = music[0].pcm.reshape(-1, 24)
    expected = normalizer(encoder.encode(rows))
    for given in (windows, rows, [(rows[:50],), (rows[50:],)], [({"pcm": rows},)]):
        found = list(_music.frames(given, encoder, normalizer))
        assert all(part.shape[1:] == (6, 4) for part in found)
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-6)
    assert [len(part) for part in _music.frames(rows, encoder, normalizer)] == [32, 32, 6]


def test_a_limit_takes_batches_from_everywhere():
    encoder, normalizer = gl.TimeBlocks(1), gl.Identity()
    rows = np.repeat(np.arange(320, dtype="float32")[:, None], 5, axis=1)
    found = [int(part[0, 0, 0]) for part in _music.frames(rows, encoder, normalizer, limit=5 * 80)]
    assert found == [0, 128, 256]
    assert len(list(_music.frames(rows, encoder, normalizer))) == 10


def test_a_corpus_its_tracks_and_its_windows_keep_the_contracts(pcm, tmp_path):
    corpus = corpus_of(tmp_path / "music.h5", [300, 200])
    windows = corpus.windows(gl.TimeBlocks(10), steps=4)
    piece = Piece("a", pcm)
    for thing, contracts in (
        (corpus, {Music}),
        (corpus.split(0.5, by="time")[0], {Music}),
        (Pieces([piece]), {Music}),
        (corpus[0], {Track, Announces}),
        (piece, {Track}),
        (windows, {WindowsLike, Music}),  # windows have the names of music too: ask for WindowsLike first
        (pcm, set()),  # the controls
        ([piece], set()),
        ([({"pcm": pcm},)], set()),
    ):
        assert {one for one in (Music, Track, Announces, WindowsLike) if isinstance(thing, one)} == contracts


def test_windows_take_tracks_that_announce_nothing(pcm):
    (batch,) = gl.Windows(Pieces([Piece("a", pcm)]), 100, batch_size=2, shuffle=False, offset=0)[0]
    np.testing.assert_array_equal(batch["pcm"], pcm[:200].reshape(2, 100))
