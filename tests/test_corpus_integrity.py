"""What is rotten or cut in a corpus is seen: checksums of the music, compared by `verify`, windows, builds, beats."""

import logging
import os
import zlib
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import soundfile
from _corpora import flipped, made, noise, place_of

from gruvlike import Corpus, audio, cli
from gruvlike.corpus import _split, _track

ENCODER = SimpleNamespace(hop=100, span=lambda steps: 100 * steps)
RATE = 8000


def batches(corpus, **options):
    return corpus.windows(ENCODER, steps=9, batch_size=2, offset=0, shuffle=False, **options)


def without_checksums(path):
    """Makes a file as an older version wrote it."""
    with h5py.File(path, "r+") as h5:
        for dataset in h5["tracks"].values():
            del dataset.attrs["checksum"]
    return path


@pytest.fixture
def music(tmp_path, melody):
    folder = tmp_path / "music"
    folder.mkdir()
    for k in range(3):
        audio.write(folder / f"{k}.wav", np.roll(melody, 999 * k) * (0.5 + 0.1 * k), RATE)
    return folder


def test_every_track_has_the_checksum_of_its_pcm(music, tmp_path):
    corpus = Corpus.build(music, tmp_path / "a.h5", RATE)
    assert [track.checksum for track in corpus] == [zlib.crc32(track.pcm.tobytes()) for track in corpus]
    assert len({track.checksum for track in corpus}) == 3
    assert corpus.verify() == []


@pytest.mark.parametrize("where", [0, 4999, 9999])
@pytest.mark.parametrize("bit", [1, 128])
def test_one_wrong_bit_is_found(tmp_path, where, bit):
    path = made(tmp_path / "a.h5", noise(3))
    flipped(path, place_of(path, 1)[0] + where, bit)
    with pytest.raises(ValueError, match=r"as it was written. Received: '1.wav' in .*a\.h5.*Build again"):
        Corpus(path).verify()


def test_inserted_and_zeroed_bytes_are_found(tmp_path):
    path = made(tmp_path / "a.h5", noise(2))
    first, size = place_of(path, 1)
    data = path.read_bytes()
    path.write_bytes(data[: first + 101] + b"\7" * 300 + data[first + 101 : -300])
    with pytest.raises(ValueError, match=r"1\.wav|damaged"):
        Corpus(path).verify()
    path.write_bytes(data[:first] + bytes(size) + data[first + size :])
    with pytest.raises(ValueError, match=r"1\.wav"):
        Corpus(path).verify()


def test_the_first_window_of_a_track_compares_it(tmp_path):
    path = made(tmp_path / "a.h5", noise(2))
    flipped(path, place_of(path, 1)[0] + 9000)  # near the end of the second track
    windows = batches(Corpus(path))
    assert windows[0][0]["pcm"].shape == (2, 1000)  # the first track is whole
    for _ in range(2):
        with pytest.raises(ValueError, match=r"'1\.wav' in .*a\.h5"):
            windows[3]


def test_parts_of_a_split_compare_the_whole_track(tmp_path):
    path = made(tmp_path / "a.h5", noise(1, 9000))
    flipped(path, place_of(path)[0] + 100)
    _, validation = Corpus(path).split(0.4, by="time")
    with pytest.raises(ValueError, match=r"0\.wav"):
        batches(validation)[0]
    with pytest.raises(ValueError, match=r"0\.wav"):
        validation.verify()


def test_each_track_is_compared_once(tmp_path, monkeypatch):
    corpus = Corpus(made(tmp_path / "a.h5", noise(2)))
    sizes, crc = [], _track.crc
    monkeypatch.setattr(_track, "crc", lambda pcm: (sizes.append(len(pcm)), crc(pcm))[1])
    for part in corpus.split(0.4, by="time", gap_seconds=0):
        for _ in range(2):
            assert all(len(batch["pcm"]) for (batch,) in batches(part))
    assert sizes == [5000, 5000]


def test_a_file_without_checksums_is_read(tmp_path):
    path = without_checksums(made(tmp_path / "a.h5", noise(2)))
    corpus = Corpus(path)
    assert [track.checksum for track in corpus] == [None, None]
    assert corpus.verify() == ["0.wav", "1.wav"]
    assert len(list(batches(corpus))) == 6


def test_a_build_gives_checksums_to_an_older_corpus(music, tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    fresh = Corpus.build(music, path, RATE).file.read_bytes()
    without_checksums(path)
    monkeypatch.setattr(audio, "stream", None)  # nothing is decoded
    assert Corpus.build(music, path, RATE).verify() == []
    assert path.read_bytes() == fresh


def test_a_build_makes_damaged_tracks_again(music, tmp_path, caplog):
    path = tmp_path / "a.h5"
    fresh = Corpus.build(music, path, RATE).file.read_bytes()
    flipped(path, place_of(path, 1)[0] + 77)
    assert path.read_bytes() != fresh
    Corpus.build(music, path, RATE)
    assert path.read_bytes() == fresh
    assert "1 tracks of the earlier corpus are damaged" in caplog.text
    assert "'1.wav'" in caplog.text


def test_damaged_music_gets_no_new_checksum(tmp_path):
    """`add_beats` writes the file again: what is damaged must not come out as whole."""
    path = made(tmp_path / "a.h5", noise(2))
    flipped(path, place_of(path, 1)[0] + 77)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"'1\.wav'"):
        Corpus(path).add_beats()
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.h5"]


def test_a_corpus_cut_while_it_is_open(tmp_path):
    """A read beyond the end of a mapped file would kill the process."""
    path = made(tmp_path / "a.h5", noise(2, 50_000))
    corpus = Corpus(path)
    windows = batches(corpus)
    assert len(windows[0][0]["pcm"])
    os.truncate(path, 1000)
    for read in (lambda: windows[-1], lambda: corpus[1].samples(), corpus.verify):
        with pytest.raises(ValueError, match=r"a\.h5', which was cut"):
            read()


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_corpus_that_is_gone_is_read_on(tmp_path, how):
    path = made(tmp_path / "a.h5", noise(2))
    windows = batches(Corpus(path))
    expected = [batch["pcm"].copy() for (batch,) in batches(Corpus(path))]
    assert len(windows[0][0]["pcm"])
    if how == "deleted":
        path.unlink()
    else:
        made(tmp_path / "b.h5", noise(1, 200, random_seed=1)).replace(path)
    for (batch,), pcm in zip(windows, expected, strict=True):
        np.testing.assert_array_equal(batch["pcm"], pcm)


def test_beats_are_not_added_to_another_file(tmp_path):
    path = made(tmp_path / "a.h5", noise(2))
    corpus = Corpus(path)
    made(tmp_path / "b.h5", noise(3, 700)).replace(path)
    with pytest.raises(ValueError, match="was replaced"):
        corpus.add_beats()


def test_info_verify(tmp_path, capsys, caplog):
    path = made(tmp_path / "a.h5", noise(2))
    assert cli.main(["info", str(path), "--verify"]) == 0
    assert "those of 2 tracks agree" in capsys.readouterr().out
    without_checksums(path)
    assert cli.main(["info", str(path), "--verify"]) == 0
    assert "2 of an older version have none" in capsys.readouterr().out
    made(path, noise(2))
    flipped(path, place_of(path, 1)[0] + 77)
    assert cli.main(["info", str(path)]) == 0
    capsys.readouterr()
    assert cli.main(["info", str(path), "--verify"]) == 2
    assert "'1.wav'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--steps", "5"], ["--batch-size", "5"]])
def test_info_drops_no_option(tmp_path, capsys, words):
    path = made(tmp_path / "a.h5", noise(2))
    assert cli.main(["info", str(path), *words]) == 2
    assert f"`{words[0]}` goes with `--corpus`" in capsys.readouterr().err
    (tmp_path / "b.keras").write_bytes(b"PK")
    assert cli.main(["info", str(tmp_path / "b.keras"), "--verify"]) == 2
    assert "`--verify` goes with a corpus" in capsys.readouterr().err


def lossless_copies(folder, melody, count=8):
    """Songs, each as WAV, as FLAC, and as a WAV with a tag."""
    folder.mkdir()
    for k in range(count):
        samples = np.roll(melody, 999 * k) * (0.5 + 0.05 * k)
        for kind in ("wav", "flac"):
            audio.write(folder / f"{k}.{kind}", samples, RATE)
        with soundfile.SoundFile(folder / f"{k}b.wav", "w", RATE, 1, "PCM_24") as file:
            file.title = f"song {k}"
            file.write(soundfile.read(folder / f"{k}.wav", dtype="float32")[0])


def test_equal_music_never_stands_on_both_sides(tmp_path, melody, caplog):
    lossless_copies(tmp_path / "music", melody)
    corpus = Corpus.build(tmp_path / "music", tmp_path / "a.h5", RATE)
    assert len({track.hash for track in corpus}) == 24
    assert "16 tracks repeat the music of another one" in caplog.text
    assert "0.flac' = " in caplog.text
    for by in ("track", "auto"):
        parts = corpus.split(0.25, 0.25, by=by)
        music = [{track.pcm.tobytes() for track in part} for part in parts]
        assert [len(one) for one in music] == [4, 2, 2]
        assert len(set.union(*music)) == 8
    expected = [[track.name for track in part] for part in corpus.split(0.25, by="track")]
    without_checksums(corpus.file)  # then the samples are looked at
    assert [[track.name for track in part] for part in Corpus(corpus.file).split(0.25, by="track")] == expected


def test_auto_counts_equal_music_once(tmp_path, melody):
    lossless_copies(tmp_path / "music", melody, count=4)
    corpus = Corpus.build(tmp_path / "music", tmp_path / "a.h5", RATE)
    train, validation = corpus.split(0.25)  # one song in three files is no two pieces
    assert len(train) == len(validation) == 12


def test_a_file_that_ties_two_pieces_together(tmp_path):
    """Two tracks have equal files, two equal PCM: all of them are one piece."""
    one, other = noise(2)
    path = made(tmp_path / "a.h5", [one, other, other, *noise(9, random_seed=5)])
    with h5py.File(path, "r+") as h5:
        h5["tracks/000002"].attrs["hash"] = h5["tracks/000000"].attrs["hash"]
    pieces = _split.pieces(Corpus(path)[:])
    assert len(set(pieces.values())) == 10
    for share in (0.25, 0.5, 0.75):
        parts = Corpus(path).split(share, by="track")
        homes = {
            index for index, part in enumerate(parts) for track in part if track.name in {"0.wav", "1.wav", "2.wav"}
        }
        assert len(homes) == 1


def test_what_leaves_a_corpus_is_said(tmp_path, melody, caplog):
    for name in ("jazz", "rock"):
        (tmp_path / name).mkdir()
        audio.write(tmp_path / name / f"{name}.wav", melody[:: 1 if name == "jazz" else -1], RATE)
    Corpus.build(tmp_path / "jazz", tmp_path / "all.h5", RATE)
    assert caplog.text == ""
    Corpus.build(tmp_path / "rock", tmp_path / "all.h5", RATE)
    assert "1 of 1 tracks of the earlier corpus are not in the new one" in caplog.text
    assert "jazz.wav" in caplog.text
    caplog.clear()
    Corpus.build([tmp_path / "rock", tmp_path / "jazz"], tmp_path / "all.h5", RATE)
    audio.write(tmp_path / "rock" / "rock.wav", 0.5 * melody, RATE)  # a newer state of a file is no loss
    (tmp_path / "jazz" / "jazz.wav").rename(tmp_path / "jazz" / "moved.wav")
    Corpus.build([tmp_path / "rock", tmp_path / "jazz"], tmp_path / "all.h5", RATE)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    (tmp_path / "jazz" / "moved.wav").write_bytes(b"no music")
    Corpus.build([tmp_path / "rock", tmp_path / "jazz"], tmp_path / "all.h5", 4000)
    assert "1 of 2 tracks of the earlier corpus are not in the new one" in caplog.text
