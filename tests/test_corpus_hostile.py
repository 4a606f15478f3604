"""Corpus files from strangers: whatever is in them, `Corpus` opens it or raises ValueError with the file's name."""

import random
import struct
import tracemalloc

import h5py
import numpy as np
import pytest
from _corpora import RATE, flipped, made, noise, place_of
from _fuzz_corpora import mutated, seed_file

from gruvlike import Corpus
from gruvlike.corpus import _file, _headers

LISTED = ("name", "source", "hash", "peak", "rms", "clipped")


def opened(path):
    """Returns "refused" or the corpus; any other error than the promised one comes out."""
    corpus = None
    try:
        corpus = Corpus(path)
    except ValueError as error:
        message = str(error)
    if corpus is None:
        assert str(path) in message
        return "refused"
    assert corpus.seconds > 0
    assert all(track.pcm.dtype == np.int16 and len(track.pcm) == len(track) for track in corpus)
    assert all(isinstance(text, str) for track in corpus for text in (track.name, track.source, track.hash))
    return corpus


def edited(path, change):
    with h5py.File(path, "r+") as h5:
        change(h5)
    return path


@pytest.mark.parametrize("count", [1, 9, 600])  # symbol tables hold 8 members, nodes of the tree 32 tables
def test_headers_are_read_as_h5py_reads_them(tmp_path, count):
    path = made(tmp_path / "a.h5", noise(count, 20))
    if count == 9:

        def change(h5):
            h5.attrs["more"] = np.arange(12.0)
            for dataset in h5["tracks"].values():
                del dataset.attrs["rms"]
                dataset.attrs["rms"] = np.float32(0.25)
                dataset.attrs["clipped"] = np.uint8(3)
                dataset.attrs["source"] = "/a/" + "long/" * 700
                for number in range(30):
                    dataset.attrs[f"more {number}"] = ["text", "more text"]
                dataset.attrs["name"] = b"caf\xe9.wav"

        edited(path, change)
    corpus = Corpus(path)
    with h5py.File(path) as h5:
        assert len(corpus) == len(h5["tracks"]) == count
        for track, dataset in zip(corpus, h5["tracks"].values(), strict=True):
            np.testing.assert_array_equal(track.pcm, dataset[:])
            expected = [dataset.attrs[name] for name in LISTED]
            expected[0] = (
                expected[0] if isinstance(expected[0], str) else expected[0].decode("utf-8", "surrogateescape")
            )
            assert [getattr(track, name) for name in LISTED] == expected


def test_a_corpus_that_another_program_has_open_is_read(tmp_path):
    path = made(tmp_path / "a.h5", noise())
    with h5py.File(path, "r+"):  # this holds a lock on the file
        assert len(Corpus(path)) == 2
    with h5py.File(path, "r+", libver="latest") as h5:
        h5["tracks/000000"].attrs["name"] = "new.wav"
    assert Corpus(path)[0].name == "new.wav"


def set_attribute(name, value, where="/"):
    return lambda h5: h5[where].attrs.__setitem__(name, value)


def removed(name, where="/"):
    return lambda h5: h5[where].attrs.__delitem__(name)


def replaced_track(**options):
    def change(h5):
        about = dict(h5["tracks/000000"].attrs)
        del h5["tracks/000000"]
        dataset = h5["tracks"].create_dataset("000000", **options)
        dataset.attrs.update(about)

    return change


FIRST = "tracks/000000"
TARGETED = {
    **{f"rate {value!r}": set_attribute("sample_rate", value) for value in (0, -8000, "fast", 2**40, 8e3, [8000, 1])},
    **{f"version {value!r}": set_attribute("format_version", value) for value in (0, -1, "2", 99, 1.5)},
    **{f"high-pass {value!r}": set_attribute("high_pass_hz", value) for value in (-1, "x", np.nan, np.inf, 600)},
    **{f"name {value!r}": set_attribute("name", value, FIRST) for value in (7, [b"a", b"b"], 2.5)},
    **{f"hash {value!r}": set_attribute("hash", value, FIRST) for value in (7, np.zeros(3))},
    **{f"peak {value!r}": set_attribute("peak", value, FIRST) for value in (np.nan, -1, "loud", 1e300)},
    **{f"clipped {value!r}": set_attribute("clipped", value, FIRST) for value in (-1, 2**62, "many", 0.5)},
    **{f"beat {value!r}": set_attribute("beat_seconds", value, FIRST) for value in (0.5, np.nan, "x")},
    **{f"checksum {value!r}": set_attribute("checksum", value, FIRST) for value in (-1, 2**32, "x", [1.0])},
    **{f"no {name}": removed(name) for name in ("format", "format_version", "sample_rate", "high_pass_hz")},
    **{f"no {name} of a track": removed(name, FIRST) for name in LISTED},
    "no tracks": lambda h5: h5.__delitem__("tracks"),
    "no track": lambda h5: [h5.__delitem__(f"tracks/{name}") for name in list(h5["tracks"])],
    "tracks are a dataset": lambda h5: (h5.__delitem__("tracks"), h5.create_dataset("tracks", data=[1])),
    "a track is a group": lambda h5: h5["tracks"].create_group("9"),
    "a soft link": lambda h5: h5["tracks"].__setitem__("9", h5py.SoftLink("/tracks/000000")),
    "an external link": lambda h5: h5["tracks"].__setitem__("9", h5py.ExternalLink("other.h5", "/tracks/000000")),
    "a hard link": lambda h5: h5["tracks"].__setitem__("9", h5["tracks/000000"]),
    "chunks": replaced_track(data=np.zeros(50, "<i2"), chunks=(10,)),
    "floats": replaced_track(data=np.zeros(50, "<f4")),
    "big-endian": replaced_track(data=np.zeros(50, ">i2")),
    "unsigned": replaced_track(data=np.zeros(50, "<u2")),
    "two dimensions": replaced_track(data=np.zeros((50, 2), "<i2")),
    "one number": replaced_track(data=np.int16(5)),
    "no sample": replaced_track(shape=(0,), dtype="<i2"),
    "nothing stored": replaced_track(shape=(1 << 50,), dtype="<i2"),
    "elsewhere": replaced_track(shape=(50,), dtype="<i2", external=[("other.pcm", 0, 100)]),
}


@pytest.mark.parametrize("what", TARGETED)
def test_targeted_changes_are_refused(tmp_path, what):
    (tmp_path / "other.pcm").write_bytes(bytes(100))
    made(tmp_path / "other.h5", noise(1, 50))
    assert opened(edited(made(tmp_path / "a.h5", noise(2, 50)), TARGETED[what])) == "refused"


def signatures(data, magic):
    place = -1
    while (place := data.find(magic, place + 1)) >= 0:
        yield place


def test_structures_that_refer_to_themselves_or_ask_for_the_moon(tmp_path):
    path = made(tmp_path / "a.h5", noise(40, 50))
    data = path.read_bytes()
    tries = []
    for magic in (b"TREE", b"SNOD", b"HEAP", b"GCOL", b"\x89HDF"):
        for place in signatures(data, magic):
            for at in range(4, 104, 2):
                for value in (place, 0, 2**63, 2**40, 2**16 - 1):
                    tries.append((place + at, struct.pack("<Q", value)))
    random.Random(0).shuffle(tries)
    for place, change in tries[:400]:
        path.write_bytes(data[:place] + change + data[place + 8 :])
        opened(path)


def test_work_is_bounded_by_the_size_of_the_file(tmp_path, monkeypatch):
    """Headers that overlap could be read again and again. Here the limit is too low for an honest file."""
    path = made(tmp_path / "a.h5", noise(40, 50))
    assert opened(path) != "refused"
    monkeypatch.setattr(_headers, "_MOST_WORK", 4000)
    with pytest.raises(ValueError, match="without an end"):
        Corpus(path)


def test_tracks_that_share_bytes(tmp_path):
    path = made(tmp_path / "a.h5", noise(3, 777))
    (first, size), (second, _) = place_of(path), place_of(path, 1)
    data = path.read_bytes()
    for start in (first, first + 2, second - size + 1):
        changed = data.replace(struct.pack("<2Q", second, size), struct.pack("<2Q", start, size))
        assert changed != data
        path.write_bytes(changed)
        assert opened(path) == "refused"


def test_texts_that_many_tracks_share_take_no_memory(tmp_path):
    """A text of 60 kB that 400 tracks refer to: 24 MB of a file of 1 MB."""
    pcm, sources = noise(400, 2), ["/" + "x" * 60_000, *["/y"] * 399]
    about = {"hash": "0" * 64, "peak": 0.5, "rms": 0.1, "clipped": 0}
    path = tmp_path / "a.h5"
    _file.write(path, RATE, 20.0, (({"name": "a", "source": s, **about}, p) for s, p in zip(sources, pcm, strict=True)))
    data, places = path.read_bytes(), []
    for place in signatures(data, b"source\0\0"):
        places.append(
            next(at for at in range(place, place + 80) if struct.unpack_from("<I", data, at)[0] in (2, 60_001))
        )
    assert len(places) == 400
    assert len(Corpus(path)[0].source) == 60_001
    shared, bomb = data[places[0] : places[0] + 16], bytearray(data)
    for place in places:
        bomb[place : place + 16] = shared
    path.write_bytes(bomb)
    tracemalloc.start()
    try:
        assert opened(path) == "refused"
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("length", [10, 4000])
def test_honest_headers_are_well_within_the_limit(tmp_path, monkeypatch, length):
    about = {"hash": "0" * 64, "peak": 0.5, "rms": 0.1, "clipped": 0, "name": "n" * 250, "source": "/" + "x" * length}
    beat = {"beat_seconds": 0.5, "phase_seconds": 0.1, "confidence": 0.9}
    _file.write(tmp_path / "a.h5", RATE, 20.0, (({**about, **beat}, pcm) for pcm in noise(300, 1)))
    left, node = [], _headers.Headers.node
    monkeypatch.setattr(_headers.Headers, "node", lambda self, at: (left.append(self._work), node(self, at))[1])
    assert len(Corpus(tmp_path / "a.h5")) == 300
    assert left[-1] > left[0] / 3


def test_mutated_corpora(tmp_path):
    data, path, chance = seed_file(tmp_path / "a.h5"), tmp_path / "b.h5", random.Random(1)
    found = []
    for _ in range(300):
        path.write_bytes(mutated(data, chance))
        found.append(opened(path) == "refused")
    assert 50 < sum(found) < 300  # some damage does not matter, most does


def test_a_newer_layout_is_not_called_damaged(tmp_path):
    with h5py.File(made(tmp_path / "a.h5", noise())) as old, h5py.File(tmp_path / "b.h5", "w", libver="latest") as new:
        new.attrs.update(old.attrs)
        old.copy("tracks", new)
    with pytest.raises(ValueError, match=r"b\.h5', which another program wrote with a newer one") as raised:
        Corpus(tmp_path / "b.h5")
    assert "damaged" not in str(raised.value)


@pytest.mark.parametrize("kept", [0, 8, 24, 96, 500, 1000, 3000])
def test_what_is_cut_is_damaged(tmp_path, kept):
    path = made(tmp_path / "a.h5", noise(3, 400))
    path.write_bytes(path.read_bytes()[:kept])
    assert opened(path) == "refused"


def test_a_flipped_bit_of_the_music_changes_no_header(tmp_path):
    path = made(tmp_path / "a.h5", noise())
    flipped(path, place_of(path)[0])
    assert opened(path) != "refused"
