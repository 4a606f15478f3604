"""`Corpus`: opening, parts of a split, excerpts."""

import pickle
from itertools import pairwise
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gruvlike import Corpus
from gruvlike.corpus import _file

RATE = 1000


def corpus_of(path, lengths, hashes=None):
    """A corpus whose tracks of the given lengths count 0, 1, 2, ... (times 8, so that tracks differ)."""
    hashes = hashes or [f"{index * 7919 % 1000:03d}" for index in range(len(lengths))]
    about = [
        {"name": f"{index}", "source": f"/{index}", "hash": digest, "peak": 1.0, "rms": 0.1, "clipped": 0}
        for index, digest in enumerate(hashes)
    ]
    pcm = [(np.arange(length) + 8 * index).astype("int16") for index, length in enumerate(lengths)]
    _file.write(path, RATE, 20.0, zip(about, pcm, strict=True))
    return Corpus(path)


def test_opening_says_what_it_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        Corpus(tmp_path / "none.h5")
    with pytest.raises(IsADirectoryError):
        Corpus(tmp_path)
    (tmp_path / "text.h5").write_text("hello" * 200)
    with pytest.raises(ValueError, match="damaged or no corpus"):
        Corpus(tmp_path / "text.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as h5:
        h5.create_group("weights")
    with pytest.raises(ValueError, match=r"another kind with \['weights'\]"):
        Corpus(tmp_path / "foreign.h5")
    corpus_of(tmp_path / "newer.h5", [100])
    with h5py.File(tmp_path / "newer.h5", "a") as h5:
        h5.attrs["format_version"] = 3
    with pytest.raises(ValueError, match="version 3"):
        Corpus(tmp_path / "newer.h5")


@pytest.mark.parametrize("kept", [0, 1, 9, 500, 2000, 20_000, -1])
def test_a_corpus_cut_short_is_refused(tmp_path, kept):
    corpus_of(tmp_path / "a.h5", [20_000])
    data = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(data[:kept])
    with pytest.raises(ValueError, match="damaged or no corpus"):
        Corpus(tmp_path / "a.h5")


def test_a_corpus_travels_to_other_processes_without_its_music(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [100_000, 50_000])
    assert corpus[1].pcm[0] == 8
    data = pickle.dumps(corpus)
    assert len(data) < 5000
    again = pickle.loads(data)
    np.testing.assert_array_equal(again[1].pcm, corpus[1].pcm)
    corpus_of(tmp_path / "b.h5", [100]).file.replace(tmp_path / "a.h5")
    assert corpus[1].pcm[0] == 8  # what is mapped stays
    with pytest.raises(ValueError, match="was replaced"):
        assert pickle.loads(data)[1].pcm[0]


def test_split_by_time_leaves_a_gap(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [10_000, 20_000])
    train, validation = corpus.split(0.1, gap_seconds=0.5)
    assert [(track.start, track.stop) for track in train] == [(0, 8500), (0, 17_500)]
    assert [(track.start, track.stop) for track in validation] == [(9000, 10_000), (18_000, 20_000)]
    np.testing.assert_array_equal(validation[1].pcm, corpus[1].pcm[18_000:])
    assert (validation[0].name, validation.sample_rate, validation.seconds) == ("0", RATE, 3.0)
    train, validation, test = corpus.split(validation=0.2, test=0.1, by="time", gap_seconds=0)
    assert [part.seconds for part in (train, validation, test)] == pytest.approx([21, 6, 3])
    assert [(track.start, track.stop) for track in test] == [(9000, 10_000), (18_000, 20_000)]


def test_a_part_is_a_corpus(tmp_path):
    train, _ = corpus_of(tmp_path / "a.h5", [10_000]).split(0.5, gap_seconds=1)
    assert isinstance(train, Corpus)
    inner, last = train.split(0.25, gap_seconds=0)
    assert [(track.start, track.stop) for track in (*inner, *last)] == [(0, 3000), (3000, 4000)]
    assert last.excerpt(1.0, random_seed=0).tolist() == last[0].samples().tolist()
    encoder = SimpleNamespace(hop=100, span=lambda steps: 100 * steps)
    (batch,) = last.windows(encoder, steps=9, offset=0)[0]
    np.testing.assert_array_equal(batch["pcm"], [last[0].pcm])


def test_the_gap_shrinks_rather_than_empty_a_part(tmp_path):
    train, validation = corpus_of(tmp_path / "a.h5", [100]).split(0.1, gap_seconds=60)
    assert [(track.start, track.stop) for track in (*train, *validation)] == [(0, 45), (90, 100)]
    parts = corpus_of(tmp_path / "b.h5", [10]).split(0.1, 0.1, gap_seconds=60)
    assert [len(part[0]) for part in parts] == [4, 1, 1]


def test_auto_takes_tracks_when_there_are_enough(tmp_path):
    many = corpus_of(tmp_path / "many.h5", [1000] * 30)
    for parts in (many.split(0.1), many.split(0.1, 0.1)):
        names = [{track.name for track in part} for part in parts]
        assert [len(part) for part in names] == [30 - 3 * (len(parts) - 1), *[3] * (len(parts) - 1)]
        assert set.union(*names) == {str(index) for index in range(30)}
        assert all(track.start == 0 and track.stop == 1000 for part in parts for track in part)
    again = Corpus(tmp_path / "many.h5").split(0.1)
    assert [track.name for track in again[1]] == [track.name for track in many.split(0.1)[1]]
    few = corpus_of(tmp_path / "few.h5", [1000] * 10)
    assert len(few.split(0.1)[0]) == 10  # one track would represent all, so the split is in time
    assert len(few.split(0.1, by="track")[1]) == 1


def test_equal_files_stay_together(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [1000] * 20, hashes=[f"{index // 2}" for index in range(20)])
    train, validation = corpus.split(0.3, by="track")
    assert not {track.hash for track in train} & {track.hash for track in validation}
    assert len(validation) == 6


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=12),
    validation=st.floats(0.01, 0.6),
    test=st.sampled_from([0, 0.2]),
    by=st.sampled_from(["auto", "track", "time"]),
    gap=st.floats(0, 3),
)
def test_parts_never_overlap_and_are_never_empty(tmp_path_factory, lengths, validation, test, by, gap):
    corpus = corpus_of(tmp_path_factory.mktemp("split") / "a.h5", lengths)
    try:
        parts = corpus.split(validation, test, by=by, gap_seconds=gap)
    except ValueError:  # tested below
        assert by == "track" or min(lengths) * min(validation, test or 1) < 1
        return
    assert len(parts) == (3 if test else 2)
    assert all(len(part) and all(len(track) for track in part) for part in parts)
    for name in {track.name for track in corpus}:
        sections = [(track.start, track.stop) for part in parts for track in part if track.name == name]
        assert all(first[1] <= second[0] for first, second in pairwise(sections))
    assert sum(len(track) for part in parts for track in part) <= sum(lengths)


def test_split_refuses_shares_that_leave_nothing(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [1000])
    for shares in ((0,), (1,), (-0.1,), (0.5, 0.5), (0.1, float("nan"))):
        with pytest.raises(ValueError, match=r"`(validation|test)`"):
            corpus.split(*shares)
    with pytest.raises(ValueError, match="Every part"):
        corpus.split(0.1, by="track")
    with pytest.raises(ValueError, match="Every part"):
        corpus_of(tmp_path / "b.h5", [9]).split(0.01)
    with pytest.raises(ValueError, match="by='week'"):
        corpus.split(0.1, by="week")


def test_excerpts_are_uniform_over_all_positions(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [3, 12, 22])  # excerpts of 10 samples have 0, 3 and 13 positions
    starts = [tuple(np.rint(corpus.excerpt(0.01, seed) * 32768).astype(int)[[0, -1]]) for seed in range(3200)]
    found, counts = np.unique(starts, axis=0, return_counts=True)
    expected = [(8 + start, 17 + start) for start in range(3)] + [(16 + start, 25 + start) for start in range(13)]
    assert sorted(map(tuple, found)) == sorted(expected)
    assert ((counts - 200) ** 2 / 200).sum() < 40  # chi square of 15 degrees: once in 2000


def test_excerpt_is_repeatable_and_says_when_it_does_not_fit(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [5000, 3000])
    excerpt = corpus.excerpt(seconds=1.5, random_seed=3)
    assert (excerpt.shape, excerpt.dtype) == ((1500,), np.float32)
    np.testing.assert_array_equal(excerpt, corpus.excerpt(1.5, 3))
    assert (excerpt != corpus.excerpt(1.5, 4)).any()
    assert len(corpus.excerpt(5, 0)) == 5000
    with pytest.raises(ValueError, match=r"longest track has 5.00 s"):
        corpus.excerpt(5.001, 0)
    for bad in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="seconds"):
            corpus.excerpt(bad, 0)


def test_no_window_fits(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [20_000, 80_00])
    encoder = SimpleNamespace(hop=4000, span=lambda steps: 4000 * steps)
    with pytest.raises(
        ValueError, match=r"No window of steps=40 fits: it needs 164000 samples, .* has 20000. Use fewer"
    ):
        corpus.windows(encoder)
    with pytest.raises(ValueError, match="steps"):
        corpus.windows(encoder, steps=0)
