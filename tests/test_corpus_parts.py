"""The parts of a stopped build: whole or made again, synced before their names; nobody else's file is touched."""

import errno
import json
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
from _corpora import killed

from gruvlike import Corpus, _files, audio
from gruvlike.corpus import _build, _file, _parts, _space

RATE = 8000


@pytest.fixture
def music(tmp_path, melody):
    folder = tmp_path / "music"
    folder.mkdir()
    for k in range(3):
        audio.write(folder / f"{k}.wav", np.roll(melody, 999 * k) * (0.5 + 0.1 * k), RATE)
    return folder


def stopped(music, file, monkeypatch, caplog):
    """Stops a build when it joins its parts, and returns their folder."""

    def ctrl_c(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_file, "write", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            Corpus.build(music, file, RATE)
    assert "3 prepared tracks are kept" in caplog.text
    caplog.clear()
    return file.with_name(f"{file.name}.parts")


def cut(part):
    os.truncate(part, part.stat().st_size // 2)


def zeroed(part):
    part.write_bytes(bytes(part.stat().st_size))


def odd(part):
    os.truncate(part, part.stat().st_size - 1)


def flipped(part):
    data = bytearray(part.read_bytes())
    data[1000] ^= 1
    part.write_bytes(data)


def listing(text):
    return lambda part: part.with_suffix(".json").write_text(text(part) if callable(text) else text)


def changed(**values):
    return listing(lambda part: json.dumps({**json.loads(part.with_suffix(".json").read_text()), **values}))


DAMAGE = {
    "cut": cut,
    "zeros": zeroed,
    "odd": odd,
    "empty": lambda part: os.truncate(part, 0),
    "one bit": flipped,
    "no list": lambda part: part.with_suffix(".json").unlink(),
    "no part": lambda part: part.unlink(),
    "empty list": listing(""),
    "cut list": listing(lambda part: part.with_suffix(".json").read_text()[:50]),
    "[]": listing("[]"),
    "{}": listing("{}"),
    "null": listing("null"),
    "deep": listing("[" * 60_000),
    "long": listing(" " * 100_000),
    "another hash": changed(hash="1" * 64),
    "peak": changed(peak="loud"),
    "nan": changed(rms=float("nan")),
    "size": changed(size=5),
    "checksum": changed(checksum=12345),
    "checksum is a text": changed(checksum="x"),
    "half a beat": changed(phase_seconds=None),
}
QUIET = ("no list", "no part")  # so a kill leaves them


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_part_is_made_again(music, tmp_path, monkeypatch, caplog, what):
    parts = stopped(music, tmp_path / "a.h5", monkeypatch, caplog)
    part = sorted(parts.glob("*.pcm"))[1]
    DAMAGE[what](part)
    Corpus.build(music, tmp_path / "a.h5", RATE)
    Corpus.build(music, tmp_path / "b.h5", RATE)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert ("is damaged, and is made again" in caplog.text) == (what not in QUIET)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5", "music"]


def test_whole_parts_are_used(music, tmp_path, monkeypatch, caplog):
    stopped(music, tmp_path / "a.h5", monkeypatch, caplog)
    monkeypatch.setattr(audio, "stream", None)
    assert len(Corpus.build(music, tmp_path / "a.h5", RATE)) == 3
    assert caplog.text == ""


@pytest.mark.parametrize("damage", [None, cut, zeroed, flipped])
def test_parts_of_an_older_version_are_compared_by_their_level(music, tmp_path, monkeypatch, caplog, damage):
    parts = stopped(music, tmp_path / "a.h5", monkeypatch, caplog)
    for listed in parts.glob("*.json"):
        about = json.loads(listed.read_text())
        listed.write_text(json.dumps({name: about[name] for name in about if name not in ("size", "checksum")}))
    if damage is flipped:  # not seen by its level unless it is a high bit
        data = np.fromfile(sorted(parts.glob("*.pcm"))[1], "<i2")
        data[::50] ^= 1 << 13
        data.tofile(sorted(parts.glob("*.pcm"))[1])
    elif damage:
        damage(sorted(parts.glob("*.pcm"))[1])
    else:
        monkeypatch.setattr(audio, "stream", None)
    Corpus.build(music, tmp_path / "a.h5", RATE)
    assert ("made again" in caplog.text) == (damage is not None)
    monkeypatch.undo()
    assert Corpus.build(music, tmp_path / "b.h5", RATE).file.read_bytes() == (tmp_path / "a.h5").read_bytes()


def test_a_part_that_rots_while_it_is_joined_is_seen(music, tmp_path, monkeypatch):
    write = _file.write

    def rotting(*args):
        flipped(sorted((tmp_path / "a.h5.parts").glob("*.pcm"))[1])
        write(*args)

    with monkeypatch.context() as patch:
        patch.setattr(_file, "write", rotting)
        with pytest.raises(ValueError, match="checksum differs"):
            Corpus.build(music, tmp_path / "a.h5", RATE)
    assert Corpus.build(music, tmp_path / "a.h5", RATE).verify() == []


def test_parts_and_corpora_are_on_the_disk_before_their_names(music, tmp_path, monkeypatch):
    events, sync, rename = [], os.fsync, os.replace

    def synced(handle):
        events.append(("sync", os.fstat(handle).st_ino))
        sync(handle)

    def renamed(old, new):
        events.append((os.path.basename(new).rpartition(".")[2], os.stat(old).st_ino))
        rename(old, new)

    monkeypatch.setattr(_files.os, "fsync", synced)
    monkeypatch.setattr(_files.os, "replace", renamed)
    Corpus.build(music, tmp_path / "a.h5", RATE)
    names = [event for event in events if event[0] in ("h5", "pcm")]  # a list that is cut is noticed
    assert sorted(kind for kind, _ in names) == ["h5", *["pcm"] * 3]
    assert all(events.index(("sync", inode)) < events.index((kind, inode)) for kind, inode in names)


def the_users_own(folder):
    """Files that look a little like parts, and their contents."""
    names = ["take 1.pcm", "notes.json", ".hidden", "lock", f"{'a' * 64}.pcm", f"{'a' * 64}-8000-20.0-v1.wav"]
    folder.mkdir()
    (folder / "songs").mkdir()
    for name in (*names, "songs/b.json"):
        (folder / name).write_text(f"mine: {name}")
    return lambda: {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("is_link", [False, True])
def test_a_folder_of_the_users_keeps_its_contents(music, tmp_path, monkeypatch, caplog, is_link):
    folder = tmp_path / ("elsewhere" if is_link else "a.h5.parts")
    contents = the_users_own(folder)
    before = contents()
    if is_link:
        (tmp_path / "a.h5.parts").symlink_to(folder)
    Corpus.build(music, tmp_path / "a.h5", RATE)
    assert contents() == before
    Corpus(tmp_path / "a.h5").add_beats(bpm={"0.wav": 100})
    assert contents() == before
    (tmp_path / "a.h5").unlink()
    stopped(music, tmp_path / "a.h5", monkeypatch, caplog)
    assert len(contents()) == len(before) + 6
    Corpus.build(music, tmp_path / "a.h5", RATE)
    assert contents() == before
    if not is_link:
        assert (tmp_path / "a.h5.parts").is_dir()


def test_a_file_in_the_place_of_the_parts(music, tmp_path):
    (tmp_path / "a.h5.parts").write_text("mine")
    with pytest.raises(NotADirectoryError, match=r"a\.h5\.parts' is a file. Move it"):
        Corpus.build(music, tmp_path / "a.h5", RATE)
    assert (tmp_path / "a.h5.parts").read_text() == "mine"


def test_beats_wait_for_no_build_that_begins_meanwhile(music, tmp_path, monkeypatch):
    """The corpus is read under the lock: else the beats of the old tracks would replace the new corpus."""
    corpus = Corpus.build(music, tmp_path / "a.h5", RATE)
    find = _build._beats.find

    def meanwhile(*args):
        with pytest.raises(BlockingIOError):
            Corpus.build(music, tmp_path / "a.h5", RATE)
        return find(*args)

    monkeypatch.setattr(_build._beats, "find", meanwhile)
    corpus.add_beats(bpm={"0.wav": 100})
    assert Corpus(tmp_path / "a.h5")[0].beat.bpm == 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "music"]


Usage = namedtuple("Usage", "total used free")


def test_too_small_a_disk_is_seen_at_the_start(music, tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "stream", None)  # nothing is decoded
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 100_000))
    with pytest.raises(OSError, match=r"about 0.2 MB. Received: .*a\.h5', where 0.1 MB are free") as raised:
        Corpus.build(music, tmp_path / "a.h5", RATE)
    assert raised.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["music"]


def test_space_is_estimated_from_what_is_missing(music, tmp_path, monkeypatch, caplog):
    """Three tracks of 2 s are 96 kB, and so are their parts; what is there already needs no part."""
    sources, file = sorted(music.iterdir()), tmp_path / "a.h5"

    def needs(megabytes, at_hand=0):
        def fits(free):
            monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free))
            try:
                _space.require(file, sources, RATE, at_hand)
            except OSError:
                return False
            return True

        return fits(megabytes * 0.91e6) and not fits(megabytes * 0.89e6)

    assert needs(0.192)
    assert needs(0.096, at_hand=48_000)
    assert needs(0.096, at_hand=99_000)
    (music / "text.mp3").write_text("no music" * 5000)
    sources.append(music / "text.mp3")
    assert needs(0.192 + 2 * 16_000 * 1e-6)  # as if it had 320 kbit/s
    sources.pop()
    monkeypatch.undo()
    stopped(music, file, monkeypatch, caplog)
    assert needs(0.096)


BUILD = """
import pathlib
from gruvlike import Corpus
music, file = pathlib.Path("music"), pathlib.Path("out/a.h5")
file.parent.mkdir(exist_ok=True)
expected = Corpus.build(music, "b.h5", 8000).file.read_bytes()
def prepare():
    {before}
def work():
    Corpus.build(music, file, 8000)
    assert file.read_bytes() == expected
def check(was_killed):
    names = {{path.name for path in file.parent.iterdir()}}
    if was_killed:
        assert not file.exists() or file.read_bytes() in (expected, {earlier})
        assert names <= {{"a.h5", "a.h5.parts", *[n for n in names if n.endswith(".gruvlike-tmp")]}}, names
    else:
        assert names == {{"a.h5"}}, names
"""
# Three builds: of a new file; over an earlier corpus with other music; onto a corpus that is complete.
FRESH = BUILD.format(before="file.unlink(missing_ok=True)", earlier="None")
EARLIER = 'first = Corpus.build(music / "0.wav", "c.h5", 8000).file.read_bytes()\n'
OVER = BUILD.format(before="file.write_bytes(first)", earlier="first").replace("def prepare", f"{EARLIER}def prepare")
ONTO = BUILD.format(before="pass", earlier="expected")


def test_a_killed_build_goes_on(music, tmp_path):
    killed(OVER, 3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("code", [FRESH, OVER, ONTO])
def test_builds_killed_often(music, tmp_path, code):
    killed(code, 20, tmp_path)


def test_names_of_parts():
    for name in (f"{'0a' * 32}-8000-20.0-v1.pcm", f"{'0a' * 32}-44100-1e-05-v12.json"):
        assert _parts._PART.fullmatch(name)
