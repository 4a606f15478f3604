"""Stateful windows: every lane goes on where it stopped, and all reset together."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_corpus import corpus_of
from test_windows import ramps

from gruvlike import Windows

LAPPED = SimpleNamespace(hop=10, span=lambda steps: 10 + 10 * steps)


def lanes_of(lengths, **options):
    return Windows(ramps(*lengths), **{"span": 6, "hop": 4, "batch_size": 3, "stateful": True, **options})


def batches(windows):
    """(track, first sample of each lane, reset) of each batch of the epoch at hand."""
    for index, (batch,) in enumerate(windows):
        pcm, reset = batch["pcm"].astype(int), batch["reset"]
        assert pcm.shape == (windows.batch_size, windows.span)
        assert (np.diff(pcm, axis=1) == 1).all()
        assert len(set(pcm[:, 0] // 1000)) == 1
        assert (reset == windows.resets(index)).all()
        yield int(pcm[0, 0]) // 1000, (pcm[:, 0] % 1000).tolist(), bool(reset[0])


def test_lanes_by_hand():
    found = list(batches(lanes_of([27, 31], offset=1, shuffle=False)))
    assert found == [
        (0, [1, 9, 17], True),
        (0, [5, 13, 21], False),
        (1, [1, 9, 17], True),
        (1, [5, 13, 21], False),
    ]


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=4),
    hop=st.integers(1, 9),
    tail=st.integers(0, 9),
    batch_size=st.integers(1, 5),
    offset=st.sampled_from(["random", 0]),
    shuffle=st.booleans(),
    epoch=st.integers(0, 4),
)
def test_each_lane_continues_and_lanes_share_no_frame(lengths, hop, tail, batch_size, offset, shuffle, epoch):
    options = {"span": hop + tail, "hop": hop, "batch_size": batch_size, "offset": offset, "shuffle": shuffle}
    fitting = [max(0, (length - tail) // (hop * batch_size)) for length in lengths]
    if not any(fitting):
        with pytest.raises(ValueError, match=r"No window fits|Every lane must get a window"):
            lanes_of(lengths, **options)
        return
    windows = lanes_of(lengths, **options)
    windows.epoch = epoch
    starts, before = {}, None
    for track, firsts, reset in batches(windows):
        assert reset == (before is None or track != before[0])
        if not reset:
            assert firsts == [first + hop for first in before[1]]
        starts.setdefault(track, []).extend(firsts)
        before = track, firsts
    assert {track: len(found) for track, found in starts.items()} == {
        track: count * batch_size for track, count in enumerate(fitting) if count
    }
    for track, found in starts.items():
        assert len(found) == 1 or np.diff(sorted(found)).tolist() == [hop] * (len(found) - 1)
        assert max(found) + hop + tail <= lengths[track]
    heard = sum(len(found) * hop + tail for found in starts.values())
    assert windows.unused_seconds == pytest.approx((sum(lengths) - heard) / 8000)


def test_an_epoch_is_another_cut_and_another_order_of_tracks():
    windows = lanes_of([50, 55, 60, 65])
    orders, cuts = set(), set()
    for windows.epoch in range(40):
        found = list(batches(windows))
        orders.add(tuple(dict.fromkeys(track for track, _, _ in found)))
        cuts.update(firsts[0] for track, firsts, reset in found if track == 1 and reset)
        assert found == list(batches(windows))
    assert len(orders) > 10
    assert cuts == set(range((55 - 2) % 12 + 1))  # each sample is read in some epoch


def test_an_epoch_can_start_at_a_batch():
    windows = lanes_of([50, 80])
    whole = list(batches(windows))
    windows.first_batch = 2
    assert list(batches(windows)) == whole[2:]


def test_shards_share_the_lanes():
    whole = list(batches(lanes_of([120], batch_size=6, offset=0)))
    parts = [list(batches(lanes_of([120], offset=0, shard=(index, 2)))) for index in range(2)]
    for (_, firsts, _), (_, one, _), (_, other, _) in zip(whole, *parts, strict=True):
        assert firsts == one + other


def test_position_names_the_window():
    windows = lanes_of([50, 80])
    track, start = windows.position(3, 1)
    np.testing.assert_array_equal(track.pcm[start : start + 6], windows[3][0]["pcm"][1])


def test_what_is_in_no_lane_is_reported(tmp_path, caplog):
    corpus = corpus_of(tmp_path / "a.h5", [2000, 90])
    with caplog.at_level(logging.INFO):
        windows = corpus.windows(LAPPED, steps=4, batch_size=5, stateful=True)
    assert (windows.span, windows.hop, len(windows)) == (60, 40, 9)
    assert windows.unused_seconds == pytest.approx((2090 - 5 * 9 * 40 - 20) / 1000)
    assert "0.3 of 2.1 s are in none of the 5 lanes" in caplog.text


def test_plain_windows_always_start_anew():
    plain = Windows(ramps(50), 6)
    assert all(plain.resets(index) for index in range(len(plain)))
    assert plain.unused_seconds == 0.0


def test_a_batch_larger_than_the_corpus_is_refused_with_the_largest_that_fits(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [500, 90])
    with pytest.raises(ValueError, match=r"batch_size=13\), and 12 windows .* batch_size of at most 12"):
        corpus.windows(LAPPED, steps=4, batch_size=13, stateful=True)
    assert len(corpus.windows(LAPPED, steps=4, batch_size=12, stateful=True)) == 1
    assert len(corpus.windows(LAPPED, steps=4, batch_size=13)) == 2  # without states a small batch will do
    assert len(corpus.windows(LAPPED, steps=4, batch_size=1000)) == 1


def test_gaps_between_windows_are_refused(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [500])
    with pytest.raises(ValueError, match="Leave `hop` out"):
        corpus.windows(LAPPED, steps=4, hop=20, stateful=True)
    with pytest.raises(ValueError, match=r"hop <= span"):
        lanes_of([50], hop=7)
