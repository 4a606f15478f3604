"""Files are written completely or not at all, and what a killed writer leaves is removed by the next one."""

import errno
import os
import stat
import sys
import threading
from pathlib import Path

import pytest
from _corpora import killed, python

from gruvlike import _files

LEFT = ".gruvlike-tmp"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write(path, text="new", **options):
    with _files.replacing(path, **options) as temporary:
        temporary.write_text(text)


def left_over(folder, name="song.wav"):
    """Leaves what a killed writer leaves."""
    code = """
        import os, sys
        from gruvlike import _files
        with _files.replacing(sys.argv[1]) as temporary:
            temporary.write_text("half")
            os._exit(0)
    """
    python(code, folder / name)
    (found,) = (path for path in folder.iterdir() if path.name.endswith(LEFT))
    assert names(found) == [f"new{Path(name).suffix}"]
    return found


def test_a_file_takes_its_name_when_it_is_complete(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with _files.replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".txt"
        assert temporary.stat().st_dev == tmp_path.stat().st_dev
        assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_an_error_leaves_the_earlier_file(tmp_path):
    def half(temporary):
        temporary.write_text("half")
        raise RuntimeError("stop")

    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError, match="stop"), _files.replacing(tmp_path / "a.txt") as temporary:
        half(temporary)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_errors_name_the_file_and_no_temporary_one(tmp_path):
    def failing(fail):
        with pytest.raises(OSError, match=r"\S+") as raised, _files.replacing(tmp_path / "a.txt") as temporary:
            fail(temporary)
        return raised.value

    def full(_):
        raise OSError(errno.ENOSPC, "full")

    for fail, kind in ((full, OSError), (Path.read_bytes, FileNotFoundError), (Path.iterdir, FileNotFoundError)):
        error = failing(lambda temporary, fail=fail: list(fail(temporary)))
        assert isinstance(error, kind)
        assert error.filename == str(tmp_path / "a.txt")
    assert failing(lambda _: (tmp_path / "another").read_bytes()).filename == str(tmp_path / "another")
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="permissions")
def test_a_folder_that_must_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=r"a\.txt'$"):
        write(tmp_path / "a.txt")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_permissions(tmp_path, mask):
    before = os.umask(mask)
    try:
        write(tmp_path / "new.txt")
        (tmp_path / "old.txt").touch()
        (tmp_path / "old.txt").chmod(0o640)
        write(tmp_path / "old.txt")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.txt").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "old.txt").stat().st_mode) == 0o640


def test_the_umask_of_other_threads_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", None)
    write(tmp_path / "a.txt")


def test_long_and_odd_names(tmp_path):
    for name in ("x" * 251 + ".txt", "🤔" * 60 + ".wav", "a b\n.wav", ".hidden", "no suffix"):
        write(tmp_path / name)
        assert (tmp_path / name).read_text() == "new"
    assert len(names(tmp_path)) == 5


@pytest.mark.parametrize("name", ["song.wav", "another.txt"])
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path, name):
    left_over(tmp_path)
    write(tmp_path / name)
    assert names(tmp_path) == [name]


def test_a_writer_within_a_writer(tmp_path):
    """A checkpoint is made by `model.save`, which makes its file in the same way."""
    with _files.replacing(tmp_path / "a.txt") as outer, _files.replacing(outer) as inner:
        inner.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"
    code = """
        import os, sys
        from gruvlike import _files
        with _files.replacing(sys.argv[1]) as outer, _files.replacing(outer) as inner:
            inner.write_text("half")
            os._exit(0)
    """
    python(code, tmp_path / "a.txt")
    assert len(names(tmp_path)) == 2
    write(tmp_path / "b.txt")
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_a_living_writer_is_left_alone(tmp_path):
    with _files.replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        write(tmp_path / "b.txt")
        threads = [threading.Thread(target=write, args=(tmp_path / f"{k}.txt",)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        python("import sys; from gruvlike import _files; _files.sweep(sys.argv[1])", tmp_path)
    assert names(tmp_path) == [*(f"{k}.txt" for k in range(8)), "a.txt", "b.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_folders_and_files_of_the_users_stay(tmp_path):
    """Also those that look a little like ours, and what a link of such a name leads to."""
    for name in (f".a{LEFT}", f"a.abcdefgh{LEFT}", f".a.ABCDEFGH{LEFT}", ".a.abcdefgh.tmp", ".song.k3j2h4x9.wav"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
    (tmp_path / f".file.abcdefgh{LEFT}").write_text("mine")
    (tmp_path / f".link.abcdefgh{LEFT}").symlink_to(tmp_path / f".a{LEFT}")
    before = names(tmp_path)
    write(tmp_path / "b.txt")
    assert names(tmp_path) == sorted([*before, "b.txt"])
    assert len(list(tmp_path.glob("*/mine.txt"))) == 6  # one by the link


def test_two_who_sweep_at_once(tmp_path):
    """A folder that another one is removing just now is neither used nor missed."""
    folder = left_over(tmp_path)
    handle = _files._hold(folder)
    write(tmp_path / "a.txt")
    assert names(tmp_path) == [folder.name, "a.txt"]
    os.close(handle)
    write(tmp_path / "a.txt")
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("when", ["before it is opened", "before it is locked"])
def test_a_folder_that_is_swept(tmp_path, monkeypatch, when):
    opened, swept = os.open, []

    def sweeping(path, *args, **kwargs):
        if not str(path).endswith(LEFT) or swept:
            return opened(path, *args, **kwargs)
        swept.append(path)
        if when == "before it is opened":
            os.rmdir(path)
        handle = opened(path, *args, **kwargs)
        os.rmdir(path)
        return handle

    monkeypatch.setattr(_files.os, "open", sweeping)
    write(tmp_path / "a.txt", sweep_first=False)
    assert len(swept) == 1
    assert names(tmp_path) == ["a.txt"]


def test_without_locks_only_what_is_old_is_removed(tmp_path, monkeypatch):
    folder = left_over(tmp_path)

    def refuse(*_):
        raise OSError(errno.EBADF, "no locks on this network file system")

    monkeypatch.setattr(_files.fcntl, "flock", refuse)
    write(tmp_path / "a.txt")
    assert names(tmp_path) == [folder.name, "a.txt"]
    for path in (folder, *folder.iterdir()):
        os.utime(path, (1e9, 1e9))
    write(tmp_path / "a.txt")
    assert names(tmp_path) == ["a.txt"]


WRITE = """
import os, numpy as np
from gruvlike import audio
noise = np.random.default_rng(0).uniform(-0.5, 0.5, {size}).astype("float32")
def prepare():
    with open("song{suffix}", "wb") as earlier:
        earlier.write(bytes(1000))
def work():
    audio.write("song{suffix}", noise, 16000)
def check(was_killed):
    names = os.listdir(".")
    size = os.path.getsize("song{suffix}")
    if was_killed:
        assert size == 1000 or len(audio.read("song{suffix}", 16000)) == len(noise), size
        assert all(name.endswith(".gruvlike-tmp") for name in names if name != "song{suffix}"), names
    else:
        assert names == ["song{suffix}"], names
        assert len(audio.read("song{suffix}", 16000)) == len(noise)
"""


def test_a_killed_write_leaves_the_earlier_file_or_the_new_one(tmp_path):
    killed(WRITE.format(size=400_000, suffix=".flac"), 3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_writes_killed_often(tmp_path, suffix):
    killed(WRITE.format(size=4_000_000, suffix=suffix), 20, tmp_path)
