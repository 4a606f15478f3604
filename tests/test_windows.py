"""`Windows`: every window is where it should be, each epoch holds each one once, and memory does not grow."""

import importlib.util
import logging
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_corpus import corpus_of

from gruvlike import Windows
from gruvlike.windows import permuted


class Ramp:
    """Stands for a track: sample i of track k is 1000 k + i, so a window tells where it is from."""

    def __init__(self, number, length):
        self.name, self.sample_rate = str(number), 8000
        self.pcm = (1000 * number + np.arange(length)).astype("int16")

    def __len__(self):
        return len(self.pcm)

    def announce(self, start, stop):
        assert 0 <= start < stop <= len(self)


class Ramps(list):
    sample_rate, high_pass_hz = 8000, None


def ramps(*lengths):
    return Ramps(Ramp(*pair) for pair in enumerate(lengths))


def windows_of(lengths, span, **options):
    return Windows(ramps(*lengths), span, **options)


def starts(windows):
    """(track, start) of all windows of the epoch at hand, in order; checks that each is a run of one track."""
    found = []
    for (batch,) in windows:
        assert list(batch) == ["pcm"]
        pcm = batch["pcm"]
        assert pcm.dtype == np.int16
        assert (np.diff(pcm, axis=1) == 1).all()
        found += [(int(first) // 1000, int(first) % 1000) for first in pcm[:, 0]]
    return found


@pytest.mark.parametrize(
    ("length", "hop", "offset", "expected"),
    [
        (20, 5, 0, [0, 5, 10]),  # the grid fits
        (20, 4, 0, [0, 4, 8, 10]),  # the grid does not reach the end: the last window is right-aligned
        (20, 4, 3, [3, 7, 10]),
        (20, 4, 2, [2, 6, 10]),
        (10, 4, 3, [0]),  # a track of just one window
        (12, 4, 3, [2]),
        (40, 15, 0, [0, 15, 30]),  # hop beyond span: gaps
        (20, None, 0, [0, 10]),
    ],
)
def test_grid(length, hop, offset, expected):
    windows = windows_of([length], 10, hop=hop, offset=offset, shuffle=False)
    assert [start for _, start in starts(windows)] == expected


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=5),
    span=st.integers(1, 60),
    hop=st.integers(1, 80),
    batch_size=st.integers(1, 40),
    epoch=st.integers(0, 5),
    count=st.integers(1, 3),
)
def test_every_epoch_holds_the_grid_once(lengths, span, hop, batch_size, epoch, count):
    if max(lengths) < span:
        with pytest.raises(ValueError, match="No window fits"):
            windows_of(lengths, span)
        return
    options = {"hop": hop, "batch_size": batch_size, "random_seed": 7}
    ordered = windows_of(lengths, span, shuffle=False, **options)
    shuffled = windows_of(lengths, span, **options)
    ordered.epoch = shuffled.epoch = epoch
    expected = starts(ordered)
    assert expected == sorted(expected)
    assert len(set(expected)) == len(expected)
    assert sorted(starts(shuffled)) == expected
    for number, length in enumerate(lengths):
        own = [start for track, start in expected if track == number]
        assert len(own) == (0 if length < span else -(-(length - span) // hop) + 1)
        if own:
            assert own[-1] == length - span
            assert own[0] <= hop
            assert max(np.diff(own), default=0) <= hop
    try:
        shards = [windows_of(lengths, span, shard=(index, count), **options) for index in range(count)]
    except ValueError:
        assert len(expected) < count
        return
    for shard in shards:
        shard.epoch = epoch
    assert sorted(chain.from_iterable(map(starts, shards))) == expected


def test_overlapping_windows_are_all_of_them():
    assert len(starts(windows_of([50, 30], 10, hop=1))) == 41 + 21


def test_the_offset_is_new_each_epoch_and_covers_all():
    windows = windows_of([200], 20, hop=10, shuffle=False)
    lengths, offsets = set(), []
    for windows.epoch in range(400):
        found = [start for _, start in starts(windows)]
        lengths.add((len(windows), len(found)))
        offsets.append(found[1] % 10)
    assert lengths == {(1, 19)}
    assert set(offsets) == set(range(10))
    assert max(np.bincount(offsets)) < 70  # 40 each on average
    fixed = windows_of([200], 20, hop=10, offset=4, shuffle=False)
    first = starts(fixed)
    fixed.epoch = 1
    assert starts(fixed) == first


def test_batches_follow_from_seed_epoch_and_index_alone():
    windows = windows_of([300, 200], 20, hop=3, batch_size=7)
    first = [windows[index][0]["pcm"] for index in range(len(windows))]
    with ThreadPoolExecutor(4) as pool:
        backwards = list(pool.map(lambda index: windows[index][0]["pcm"], reversed(range(len(windows)))))
    for one, other in zip(first, reversed(backwards), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(windows))[3][0]["pcm"], first[3])
    np.testing.assert_array_equal(windows[-1][0]["pcm"], first[-1])
    windows.epoch = 1
    assert (windows[0][0]["pcm"] != first[0]).any()
    windows.epoch = 0
    np.testing.assert_array_equal(windows[0][0]["pcm"], first[0])
    assert (windows_of([300, 200], 20, hop=3, batch_size=7, random_seed=1)[0][0]["pcm"] != first[0]).any()
    for index in (len(windows), -len(windows) - 1):
        with pytest.raises(IndexError):
            windows[index]


def test_the_last_small_batch_is_kept():
    windows = windows_of([100], 10, hop=10, batch_size=4, offset=0)
    assert [len(batch["pcm"]) for (batch,) in windows] == [4, 4, 2]
    assert len(windows) == 3


def test_an_epoch_can_start_at_a_batch():
    windows = windows_of([300], 20, hop=3, batch_size=10)
    whole = starts(windows)
    windows.first_batch = 4
    assert len(windows) == 6
    assert starts(windows) == whole[40:]
    windows.on_epoch_begin()
    windows.on_epoch_end()
    assert (windows.epoch, windows.first_batch, len(windows)) == (1, 0, 10)


def test_windows_go_to_a_batch_of_an_epoch():
    windows, moved = windows_of([300], 20, hop=3, batch_size=10), windows_of([300], 20, hop=3, batch_size=10)
    for _ in range(2):
        windows.on_epoch_begin()
        windows.on_epoch_end()
    moved.on_epoch_begin()  # an epoch that broke off does not count
    moved.go_to(2, 4)
    assert starts(moved) == starts(windows)[40:]
    assert starts(moved) != starts(windows_of([300], 20, hop=3, batch_size=10))[40:]  # the control: another epoch
    moved.on_epoch_end()
    assert (moved.epoch, moved.first_batch) == (2, 4)
    with pytest.raises(ValueError, match="`first_batch` must be"):
        moved.go_to(0, -1)


def test_position_names_the_window():
    windows = windows_of([300, 50, 200], 20, hop=3, batch_size=8)
    pcm = windows[2][0]["pcm"]
    for row in range(8):
        track, start = windows.position(2, row)
        np.testing.assert_array_equal(track.pcm[start : start + 20], pcm[row])


def test_short_tracks_are_left_out_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        windows = windows_of([5, 30, 9], 10)
    assert "2 of 3 tracks are left out" in caplog.text
    assert {track for track, _ in starts(windows)} == {1}


@pytest.mark.parametrize(
    "options",
    [
        *({"span": value} for value in (0, -1, 2.5, 51)),
        *({"hop": value} for value in (0, 2.0)),
        {"batch_size": 0},
        *({"offset": value} for value in (-1, 5, "no", 1.5)),
        {"random_seed": -1},
        *({"shard": value} for value in ((1, 1), (0, 0), (-1, 2), (49, 50))),
    ],
)
def test_bad_arguments(options):
    with pytest.raises(ValueError, match=r"must|fits"):
        Windows(ramps(50), **{"span": 10, "hop": 5, **options})


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 3000), key=st.integers(0, 100))
def test_permuted_is_a_permutation(size, key):
    assert sorted(permuted(np.arange(size), size, (0, key)).tolist()) == list(range(size))


@pytest.mark.parametrize("size", [3, 5, 10, 16, 100])
def test_permuted_is_fair(size):
    orders = np.array([permuted(np.arange(size), size, (1, key)) for key in range(1500)])
    for values in (orders[:, 0], orders[:, -1], (orders[:, 1] - orders[:, 0]) % size - 1):
        kinds = size - (values.max() < size - 1)  # two neighbors never are the same: size - 1 differences
        counts = np.bincount(values, minlength=kinds)
        chi = ((counts - 1500 / kinds) ** 2 / (1500 / kinds)).sum()
        assert chi < kinds - 1 + 4.5 * np.sqrt(2 * max(kinds - 1, 1))


def test_permuted_spreads_over_billions():
    size = 5_800_000_000
    places = permuted(np.arange(20_000), size, (0, 0))
    assert len(np.unique(places)) == 20_000
    assert np.abs(np.sort(places) / size - np.arange(20_000) / 20_000).max() < 0.015  # Kolmogorov and Smirnov
    assert abs(np.corrcoef(places[:-1], places[1:])[0, 1]) < 0.03


class Mean(keras.Model):
    """The least model: learns a constant."""

    def __init__(self):
        super().__init__()
        self.level = self.add_weight(shape=())

    def call(self, batch):
        return keras.ops.mean(keras.ops.cast(batch["pcm"], "float32")) / 32768 + self.level

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.square(y_pred)


@pytest.mark.parametrize("workers", [1, 2])
def test_keras_trains_epoch_by_epoch(workers):
    windows = windows_of([300, 200], 20, hop=10, batch_size=8, workers=workers)
    validation = windows_of([100], 20, offset=0, shuffle=False)
    model, seen = Mean(), []
    model.compile("sgd", jit_compile=False)
    note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(windows.epoch))
    model.fit(windows, epochs=2, verbose=0, shuffle=False, callbacks=[note], validation_data=validation)
    model.fit(windows, epochs=1, verbose=0, shuffle=False, callbacks=[note])
    assert [seen.count(epoch) for epoch in range(seen[0], seen[0] + 3)] == [len(windows)] * 3
    if keras.backend.backend() == "tensorflow":
        assert seen[0] == 0


def test_a_corpus_computes_span_and_hop(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [2000, 900])
    lapped = SimpleNamespace(hop=10, span=lambda steps: 10 + 10 * steps)
    windows = corpus.windows(lapped, steps=4, batch_size=5, random_seed=3)
    assert (windows.span, windows.hop, windows.batch_size, windows.random_seed) == (60, 40, 5, 3)
    assert (windows.sample_rate, windows.high_pass_hz) == (1000, 20.0)
    track, start = windows.position(1, 2)
    np.testing.assert_array_equal(windows[1][0]["pcm"][2], track.pcm[start : start + 60])
    assert corpus.windows(lapped, steps=4, hop=1, workers=2).hop == 1


@pytest.fixture
def benchmark():
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells anonymous memory")
    path = Path(__file__).parents[1] / "benchmarks" / "windows_memory.py"
    spec = importlib.util.spec_from_file_location("windows_memory", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_hundred_hours_need_no_memory(tmp_path, benchmark):
    corpus = benchmark.sparse_corpus(tmp_path / "sparse.h5", hours=100)
    assert corpus.seconds == 360_000
    before = benchmark.anonymous_mb()
    windows = Windows(corpus, span=164_000, hop=1)
    for index in range(0, len(windows), len(windows) // 5):
        assert windows[index][0]["pcm"].shape == (32, 164_000)
    assert benchmark.anonymous_mb() - before < 50


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(benchmark):
    result = subprocess.run([sys.executable, benchmark.__file__], capture_output=True, text=True, check=True)
    cells = [line.split("|") for line in result.stdout.splitlines() if "hours |" in line]
    one, hundred = (float(row[2]) for row in cells)
    assert hundred - one < 100
