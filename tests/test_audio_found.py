"""Every file that looks like sound is found, or listed with the reason; no file, folder or name stops a build."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from _sounds import ID3, RATE, encode, music

import gruvlike.cli
from gruvlike import Corpus, audio
from gruvlike.audio import _finding, _suffixes


@pytest.fixture
def folder(tmp_path):
    """A folder with one good file."""
    (tmp_path / "music").mkdir()
    audio.write(tmp_path / "music" / "good.wav", music(1), RATE)
    return tmp_path / "music"


def names(paths):
    return [path.name for path in paths]


def test_all_suffixes_that_readers_read_are_found(folder):
    for suffix in _suffixes.SNDFILE + _suffixes.AV:
        (folder / f"x{suffix.upper()}").touch()
    assert len(audio.find(folder)) == len(set(_suffixes.SNDFILE + _suffixes.AV)) + 1
    for suffix in (".mov", ".mkv", ".m4r", ".3gp", ".mpga", ".webm", ".mka"):
        assert suffix in _suffixes.SNDFILE + _suffixes.AV


def test_no_suffix_stands_in_two_lists():
    lists = [*_suffixes.SNDFILE, *_suffixes.AV, *_suffixes.UNREADABLE]
    assert len(lists) == len(set(lists))


def test_sound_under_another_suffix_is_found_by_its_first_bytes(folder, rng):
    pytest.importorskip("av")
    sounds = {}
    for name in ("a.flac", "a.ogg", "a.mp3", "a.aiff", "a.caf", "a.w64", "a.au"):
        audio.write(folder / name, music(0.5), RATE)
        sounds[name] = (folder / name).read_bytes()
    for name, codec, container in (("a.m4a", "aac", "ipod"), ("a.webm", "libopus", "webm"), ("a.aac", "aac", "adts")):
        encode(folder / name, codec, container, 48_000, seconds=0.5)
        sounds[name] = (folder / name).read_bytes()
    for name in sounds:
        (folder / name).unlink()
    for number, data in enumerate(sounds.values()):
        (folder / f"{number}.download").write_bytes(data)
    (folder / "tagged").write_bytes(ID3 + sounds["a.mp3"])
    others = {
        "notes.txt": b"song one\nsong two\n",
        "cover.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + rng.bytes(20_000),
        "cover.png": b"\x89PNG\r\n\x1a\n" + rng.bytes(5000),
        "photo.heic": b"\0\0\0\x18ftypheic" + rng.bytes(500),
        "picture.webp": b"RIFF\x10\x10\0\0WEBPVP8 " + rng.bytes(500),
        "utf16.txt": "a text".encode("utf-16") * 100,
        "noise.bin": rng.bytes(200_000),
        "zeros.bin": bytes(10_000),
        "empty": b"",
    }
    for name, data in others.items():
        (folder / name).write_bytes(data)
    skipped = []
    found = audio.find(folder, skipped)
    assert names(found) == [*(f"{number}.download" for number in range(len(sounds))), "good.wav", "tagged"]
    assert skipped == []
    for path in found:
        assert audio.read(path, RATE).size > 0.4 * RATE


def test_files_that_look_like_sound_are_listed_with_the_reason(folder, caplog):
    for name in ("tune.mid", "tune.xm", "take.raw", "track01.cda", "notes.txt"):
        (folder / name).write_bytes(b"x" * 50)
    (folder / "dead.wav").symlink_to(folder / "nowhere.wav")
    (folder / "dead.txt").symlink_to(folder / "nowhere.txt")
    skipped = []
    assert names(audio.find(folder, skipped)) == ["good.wav"]
    reasons = {path.name: reason for path, reason in skipped}
    assert list(reasons) == ["dead.wav", "take.raw", "track01.cda", "tune.mid", "tune.xm"]
    assert "cannot be opened" in reasons["dead.wav"]
    assert "not sound" in reasons["tune.mid"]
    assert "headerless" in reasons["take.raw"]
    assert not caplog.records
    audio.find(folder)
    assert "5 files or folders look like sound and are not read" in caplog.text
    assert "tune.mid" in caplog.text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_a_pipe_is_listed_and_not_opened(folder):
    os.mkfifo(folder / "pipe.mp3")
    os.mkfifo(folder / "pipe")
    skipped = []
    assert names(audio.find(folder, skipped)) == ["good.wav"]
    assert skipped == [(folder / "pipe.mp3", "not a regular file")]


@pytest.fixture
def forbidden(folder, monkeypatch):
    """Files and folders called "forbidden" cannot be opened; for the user root the system forbids nothing."""
    (folder / "forbidden").mkdir()
    (folder / "forbidden.wav").touch()
    list_names, stat = os.listdir, Path.stat

    def refuse(path):
        if Path(path).stem == "forbidden":
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", lambda path: (refuse(path), list_names(path))[1])
    monkeypatch.setattr(
        Path,
        "stat",
        lambda path, **options: (refuse(path) if path.suffix else None, stat(path, **options))[1],
    )
    return folder


def test_what_must_not_be_opened_is_listed(forbidden):
    skipped = []
    assert names(audio.find(forbidden, skipped)) == ["good.wav"]
    assert [(path.name, reason) for path, reason in skipped] == [
        ("forbidden", "the folder cannot be searched: Permission denied"),
        ("forbidden.wav", "cannot be opened: Permission denied"),
    ]
    with pytest.raises(PermissionError):
        audio.find(forbidden / "forbidden")


def test_what_must_not_be_opened_does_not_stop_a_build(forbidden, tmp_path):
    paths = [forbidden, forbidden / "forbidden.wav"]
    corpus = Corpus.build(paths, tmp_path / "music.h5", RATE)
    assert len(corpus) == 1
    assert {Path(path).name for path, _ in corpus.skipped} == {"forbidden", "forbidden.wav"}
    with pytest.raises(ValueError, match=r"2 of 3 that are not:\n.*forbidden"):
        Corpus.build(paths, tmp_path / "music.h5", RATE, strict=True)


def test_a_file_that_vanishes_before_it_is_read_is_skipped(folder, tmp_path, monkeypatch):
    search = _finding.search

    def and_gone(*arguments):
        return [*search(*arguments), folder / "gone.wav"]

    monkeypatch.setattr(_finding, "search", and_gone)
    corpus = Corpus.build(folder, tmp_path / "music.h5", RATE)
    ((path, reason),) = corpus.skipped
    assert Path(path).name == "gone.wav"
    assert "No such file" in reason


@pytest.fixture
def mixed(folder):
    """One good file, and many that are not."""
    odd = ["two\nlines.mp3", "🤔.flac"]
    if sys.platform == "linux":
        odd.append(os.fsdecode(b"latin-\xf8.ogg"))
    for name in odd:
        (folder / name).write_bytes(b"no music " * 100)
    soundfile.write(folder / "silent.wav", np.zeros(900), RATE)
    (folder / "tune.mid").touch()
    return folder, {*odd, "silent.wav", "tune.mid"}


def test_a_build_lists_all_that_it_leaves_out(mixed, tmp_path, caplog):
    folder, bad = mixed
    corpus = Corpus.build(folder, tmp_path / "music.h5", RATE)
    assert names(map(Path, (track.source for track in corpus))) == ["good.wav"]
    assert {Path(path).name for path, _ in corpus.skipped} == bad
    assert f"{len(bad)} of {len(bad) + 1} files were left out" in caplog.text
    with pytest.raises(ValueError, match=rf"{len(bad)} of {len(bad) + 1} that are not"):
        Corpus.build(folder, tmp_path / "music.h5", RATE, strict=True)


def test_the_command_says_what_it_left_out_by_its_exit_code_too(mixed, tmp_path, capsys):
    folder, bad = mixed
    prepare = ["prepare", str(folder), str(tmp_path / "music.h5"), "--overwrite"]
    assert gruvlike.cli.main(prepare) == 1
    assert f"; {len(bad)} files left out" in capsys.readouterr().out
    assert gruvlike.cli.main([*prepare, "--strict"]) == 2
    assert "tune.mid" in capsys.readouterr().err
    for name in bad:
        (folder / name).unlink()
    assert gruvlike.cli.main(prepare) == 0
    assert "left out" not in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no UTF-8")
def test_a_corpus_whose_name_is_no_utf8_is_announced(folder, tmp_path, capsys):
    name = os.fsdecode(str(tmp_path).encode() + b"/m\xf8.h5")
    assert gruvlike.cli.main(["prepare", str(folder), name]) == 0
    assert "1 tracks" in capsys.readouterr().out


def test_without_any_sound_the_reasons_are_told(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "tune.mid").touch()
    with pytest.raises(ValueError, match=r"At least one audio file.*\n.*tune\.mid.*not sound"):
        Corpus.build(tmp_path / "notes", tmp_path / "music.h5", RATE)


def test_one_wrongly_named_file_does_not_stop_a_build(folder, tmp_path):
    """It ended the build of the whole folder, because it was opened a second time, where nothing caught the error."""
    pytest.importorskip("av")
    encode(folder / "dl.m4a", "aac", "ipod", RATE, seconds=1)
    (folder / "dl.m4a").rename(folder / "dl.mp3")
    audio.write(folder / "tone.mp3", music(1), RATE)
    data = (folder / "tone.mp3").read_bytes()
    (folder / "odd.mp3").write_bytes(bytes(5000) + data)
    (folder / "odder.mp3").write_bytes(b"x" + data)
    corpus = Corpus.build(folder, tmp_path / "music.h5", RATE)
    assert [track.name for track in corpus] == ["dl.mp3", "good.wav", "odd.mp3", "odder.mp3", "tone.mp3"]
    assert corpus.skipped == []
