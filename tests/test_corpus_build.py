"""`Corpus.build`: the corpus holds the music, and a fault on the way loses no finished work."""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from gruvlike import Corpus, _files, audio
from gruvlike.corpus import _build, _file

RATE = 8000


class Serial(Executor):
    """The smallest executor: does each job when it is submitted."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def folder(tmp_path, melody):
    """Three pieces of music, in a folder and one below."""
    music = tmp_path / "music"
    (music / "more").mkdir(parents=True)
    audio.write(music / "a.wav", melody, RATE)
    soundfile.write(music / "b.flac", np.stack([melody, 0.5 * melody]).T + 0.2, 11_025)
    audio.write(music / "more" / "a.wav", -melody[:9000], RATE)
    return music


def test_a_corpus_holds_what_audio_reads(folder, tmp_path):
    corpus = Corpus.build(folder, tmp_path / "music.h5", RATE)
    assert [track.name for track in corpus] == ["a.wav", "b.flac", "a.wav"]
    assert [track.source for track in corpus] == [str(path) for path in audio.find(folder)]
    assert (len(corpus), corpus.sample_rate, corpus.high_pass_hz, corpus.skipped) == (3, RATE, 20.0, [])
    assert corpus.seconds == sum(track.seconds for track in corpus) == sum(map(len, corpus)) / RATE
    for track in corpus:
        expected = audio.read(track.source, RATE, high_pass_hz=20)
        np.testing.assert_array_equal(track.pcm, np.rint(expected * 32768))
        np.testing.assert_allclose(track.samples(), expected, atol=0.5 / 32768 + 1e-7)
        np.testing.assert_array_equal(track.samples(10, 20), track.samples()[10:20])
        assert track.peak == np.abs(track.samples()).max()
        assert track.rms == pytest.approx(np.sqrt(np.mean(track.samples().astype("float64") ** 2)), rel=1e-5)
        assert abs(track.samples().mean()) < 1e-3  # the 0.2 of b.flac is gone
        assert (track.start, track.stop, track.clipped, len(track.hash)) == (0, len(track), 0, 64)
    assert corpus[0].hash != corpus[2].hash
    assert corpus[-1] == corpus[2]
    assert "3 tracks" in repr(corpus)


def test_the_offset_stays_without_a_high_pass(folder, tmp_path):
    corpus = Corpus.build([folder / "b.flac"], str(tmp_path / "music.h5"), RATE, high_pass_hz=None)
    assert corpus.high_pass_hz is None
    assert corpus[0].samples().mean() > 0.19


def test_pcm_is_the_mapped_file(folder, tmp_path):
    track = Corpus.build(folder, tmp_path / "music.h5", RATE)[1]
    assert isinstance(track.pcm, np.memmap)
    assert track.pcm.dtype == np.int16
    assert not track.pcm.flags.owndata
    assert not track.pcm.flags.writeable
    assert np.shares_memory(track.pcm, track.pcm[5:])


def test_the_file_can_be_read_with_h5py_alone(folder, tmp_path):
    corpus = Corpus.build(folder, tmp_path / "music.h5", RATE)
    with h5py.File(tmp_path / "music.h5") as h5:
        assert (h5.attrs["format"], h5.attrs["format_version"], h5.attrs["sample_rate"]) == ("gruvlike corpus", 2, RATE)
        assert list(h5["tracks"]) == ["000000", "000001", "000002"]
        assert h5["tracks/000001"].attrs["name"] == "b.flac"
        assert h5["tracks/000001"].chunks is None
        np.testing.assert_array_equal(h5["tracks/000001"][:], corpus[1].pcm)


def test_the_executor_makes_no_difference(folder, tmp_path):
    Corpus.build(folder, tmp_path / "a.h5", RATE)
    Corpus.build(folder, tmp_path / "b.h5", RATE, executor=Serial())
    with ThreadPoolExecutor(3) as pool:
        Corpus.build(folder, tmp_path / "c.h5", RATE, executor=pool)
    first = (tmp_path / "a.h5").read_bytes()
    assert first == (tmp_path / "b.h5").read_bytes() == (tmp_path / "c.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5", "c.h5", "music"]


@pytest.mark.slow
def test_processes_build_too(folder, tmp_path):
    with ProcessPoolExecutor(2) as pool:
        Corpus.build(folder, tmp_path / "a.h5", RATE, executor=pool)
    Corpus.build(folder, tmp_path / "b.h5", RATE)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_script_needs_no_main_guard(folder, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"import gruvlike as gl\nprint(len(gl.Corpus.build({str(folder)!r}, 'out.h5', 8000)))\n")
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    result = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("3\n", "")  # no progress bar without a terminal


def test_files_folders_and_doubles(folder, tmp_path):
    copy = folder / "copy.wav"
    copy.write_bytes((folder / "a.wav").read_bytes())
    corpus = Corpus.build([copy, folder, folder / "a.wav"], tmp_path / "music.h5", RATE)
    assert [track.name for track in corpus] == ["copy.wav", "a.wav", "b.flac", "a.wav"]  # each path once
    assert corpus[0].hash == corpus[1].hash
    np.testing.assert_array_equal(corpus[0].pcm, corpus[1].pcm)


def test_odd_names(folder, tmp_path):
    names = ["🤔 שלום.wav", "two\nlines.wav"]
    if sys.platform == "linux":
        names.append(os.fsdecode(b"latin-\xf8.wav"))
    for name in names:
        (tmp_path / name).write_bytes((folder / "a.wav").read_bytes())
    corpus = Corpus.build([tmp_path / name for name in names], tmp_path / "🤔.h5", RATE)
    assert [track.name for track in Corpus(tmp_path / "🤔.h5")] == [track.name for track in corpus] == names
    assert [track.source for track in corpus] == [str(tmp_path / name) for name in names]


def bad_files(folder):
    audio.write(folder / "silent.wav", np.zeros(9000, "float32"), RATE)
    audio.write(folder / "offset.wav", np.full(9000, 0.25), RATE)
    soundfile.write(folder / "nan.wav", np.full(50, np.nan), RATE, "FLOAT")
    (folder / "text.mp3").write_text("no music")
    (folder / "zero.ogg").touch()
    data = (folder / "b.flac").read_bytes()
    (folder / "half.flac").write_bytes(data[: len(data) // 2])
    return {"silent.wav", "offset.wav", "nan.wav", "text.mp3", "zero.ogg", "half.flac"}


def test_unusable_files_are_left_out_and_reported(folder, tmp_path, caplog):
    bad = bad_files(folder)
    corpus = Corpus.build(folder, tmp_path / "music.h5", RATE)
    assert len(corpus) == 3
    assert {Path(path).name for path, _ in corpus.skipped} == bad
    reasons = {Path(path).name: reason for path, reason in corpus.skipped}
    assert "silent" in reasons["silent.wav"]
    assert "silent" in reasons["offset.wav"]
    assert "50 of 50 are NaN" in reasons["nan.wav"]
    assert "breaks off" in reasons["half.flac"]
    assert "6 of 9 files were left out" in caplog.text
    assert all(name in caplog.text for name in bad)


def test_strict_refuses_unusable_files_and_keeps_the_earlier_corpus(folder, tmp_path):
    Corpus.build(folder / "more", tmp_path / "music.h5", RATE)
    bad_files(folder)
    with pytest.raises(ValueError, match=r"6 of 9 that are not"):
        Corpus.build(folder, tmp_path / "music.h5", RATE, strict=True)
    assert len(Corpus(tmp_path / "music.h5")) == 1


def test_clipped_samples_are_counted(tmp_path, melody, caplog):
    soundfile.write(tmp_path / "loud.wav", melody * 3, RATE, "FLOAT")
    corpus = Corpus.build(tmp_path / "loud.wav", tmp_path / "loud.h5", RATE, high_pass_hz=None)
    assert corpus[0].clipped == np.count_nonzero(np.abs(melody * 3) > 1) > 0
    assert (corpus[0].pcm.max(), corpus[0].pcm.min()) == (32767, -32768)
    assert f"{corpus[0].clipped} samples in 1 tracks were beyond full scale" in caplog.text


def test_no_usable_music_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="At least one audio file"):
        Corpus.build(tmp_path / "empty", tmp_path / "music.h5", RATE)
    with pytest.raises(ValueError, match="At least one audio file"):
        Corpus.build([], tmp_path / "music.h5", RATE)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Corpus.build([tmp_path / "nowhere"], tmp_path / "music.h5", RATE)
    (tmp_path / "empty" / "a.wav").write_text("no music")
    with pytest.raises(ValueError, match=r"none of them usable:\n.*a\.wav"):
        Corpus.build(tmp_path / "empty", tmp_path / "music.h5", RATE)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_bad_arguments(folder, tmp_path):
    for bad in ({"sample_rate": 0}, {"high_pass_hz": 4000}, {"high_pass_hz": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            Corpus.build(folder, tmp_path / "music.h5", **{"sample_rate": RATE, **bad})
    with pytest.raises(FileNotFoundError, match="must exist"):
        Corpus.build(folder, tmp_path / "nowhere" / "music.h5", RATE)
    with pytest.raises(IsADirectoryError):
        Corpus.build(folder, folder, RATE)


@pytest.fixture
def read_files(monkeypatch):
    """The names of the files that are decoded from now on."""
    names, stream = [], audio.stream

    def noted(path, *args, **kwargs):
        names.append(path.name)
        return stream(path, *args, **kwargs)

    monkeypatch.setattr(audio, "stream", noted)
    return names


def test_a_second_build_reads_only_what_is_new(folder, tmp_path, melody, read_files):
    Corpus.build(folder, tmp_path / "music.h5", RATE)
    first = (tmp_path / "music.h5").read_bytes()
    assert sorted(read_files) == ["a.wav", "a.wav", "b.flac"]
    read_files.clear()
    Corpus.build(folder, tmp_path / "music.h5", RATE)
    assert read_files == []
    assert (tmp_path / "music.h5").read_bytes() == first
    (folder / "a.wav").rename(folder / "moved.wav")
    audio.write(folder / "new.wav", 0.5 * melody, RATE)
    corpus = Corpus.build(folder, tmp_path / "music.h5", RATE)
    assert read_files == ["new.wav"]
    assert [track.name for track in corpus] == ["b.flac", "a.wav", "moved.wav", "new.wav"]
    np.testing.assert_array_equal(corpus[2].pcm, np.rint(audio.read(folder / "moved.wav", RATE, 20.0) * 32768))
    read_files.clear()
    assert Corpus.build(folder, tmp_path / "music.h5", 4000).sample_rate == 4000
    assert Corpus.build(folder, tmp_path / "music.h5", 4000, high_pass_hz=None).high_pass_hz is None
    assert len(read_files) == 8


def test_what_is_no_corpus_is_never_overwritten(folder, tmp_path):
    target = tmp_path / "mine"
    for make in (lambda: target.write_text("my diary"), lambda: h5py.File(target, "w").create_group("mine")):
        make()
        before = target.read_bytes()
        with pytest.raises(ValueError, match="not overwritten"):
            Corpus.build(folder, target, RATE)
        assert target.read_bytes() == before
        target.unlink()


@pytest.mark.parametrize("where", ["part", "join"])
def test_a_full_disk_leaves_the_earlier_corpus(folder, tmp_path, monkeypatch, where, melody):
    Corpus.build(folder, tmp_path / "music.h5", RATE)
    before = (tmp_path / "music.h5").read_bytes()
    audio.write(folder / "new.wav", 0.5 * melody, RATE)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if where == "part":
            patch.setattr(_build, "_write_pcm", full)
        else:
            patch.setattr(_file, "allocate", full)
        with pytest.raises(OSError, match=r"No space left on device: .*music\.h5"):
            Corpus.build(folder, tmp_path / "music.h5", RATE)
    assert (tmp_path / "music.h5").read_bytes() == before
    assert not list(tmp_path.glob(".*"))
    assert len(Corpus.build(folder, tmp_path / "music.h5", RATE)) == 4
    assert not (tmp_path / "music.h5.parts").exists()


def test_ctrl_c_keeps_what_is_done(folder, tmp_path, monkeypatch, read_files, caplog):
    prepare = _build._prepare

    def interrupted(source, **kwargs):
        if source.name == "b.flac":
            raise KeyboardInterrupt
        return prepare(source, **kwargs)

    class Late(Serial):  # Ctrl-C comes to the parent, while it waits
        def submit(self, fn, /, *args, **kwargs):
            try:
                return super().submit(fn, *args, **kwargs)
            except KeyboardInterrupt as error:
                future = Future()
                future.set_exception(error)
                return future

    with monkeypatch.context() as patch:
        patch.setattr(_build, "_prepare", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Corpus.build(folder, tmp_path / "music.h5", RATE, executor=Late())
    assert not (tmp_path / "music.h5").exists()
    assert "2 prepared tracks are kept" in caplog.text
    assert read_files == ["a.wav", "a.wav"]
    read_files.clear()
    corpus = Corpus.build(folder, tmp_path / "music.h5", RATE)
    assert read_files == ["b.flac"]
    Corpus.build(folder, tmp_path / "other.h5", RATE)
    assert (tmp_path / "other.h5").read_bytes() == (tmp_path / "music.h5").read_bytes()
    assert len(corpus) == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_process_is_resumed(tmp_path, sent):
    music = tmp_path / "music"
    music.mkdir()
    for index in range(12):
        noise = np.random.default_rng(index).uniform(-0.3, 0.3, 20 * 44_100)
        soundfile.write(music / f"{index}.ogg", noise, 44_100)
    code = "import sys, gruvlike as gl; gl.Corpus.build(sys.argv[1], sys.argv[2], 16000)"
    build = [sys.executable, "-c", code, str(music), str(tmp_path / "a.h5")]
    process = subprocess.Popen(build, cwd=Path(__file__).parents[1], stderr=subprocess.PIPE)
    parts = tmp_path / "a.h5.parts"
    while len(list(parts.glob("*.json"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(sent)
    process.wait(timeout=20)
    process.stderr.close()
    assert not (tmp_path / "a.h5").exists()
    assert 3 <= len(list(parts.glob("*.json"))) < 12
    subprocess.run(build, cwd=Path(__file__).parents[1], check=True)
    Corpus.build(music, tmp_path / "b.h5", 16_000)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "b.h5", "music"]


def test_one_build_at_a_time(folder, tmp_path):
    (tmp_path / "a.h5.parts").mkdir()
    with (
        _files.locked(tmp_path / "a.h5.parts" / "lock", "mine"),
        pytest.raises(BlockingIOError, match=r"one process at a time. Received: .*a.h5.*give another name"),
    ):
        Corpus.build(folder, tmp_path / "a.h5", RATE)
    assert len(Corpus.build(folder, tmp_path / "a.h5", RATE)) == 3
    assert not (tmp_path / "a.h5.parts").exists()


def test_a_file_system_without_locks(folder, tmp_path, monkeypatch, caplog):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    assert len(Corpus.build(folder, tmp_path / "a.h5", RATE)) == 3
    assert "No lock in" in caplog.text
