"""Beats of a corpus: found by the build, added to files of format 1, seen from sections, given by hand."""

import json

import h5py
import numpy as np
import pytest

from gruvlike import Corpus, audio, cli, rhythm, tune
from gruvlike._contracts import HasBeat
from gruvlike._files import locked
from gruvlike.corpus import _build, _file

RATE = 8000
FIELDS = ("beat_seconds", "phase_seconds", "confidence")


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Two tunes of known tempo, a noise, and a sound too short for a bar."""
    folder = tmp_path_factory.mktemp("beats") / "music"
    folder.mkdir()
    for random_seed in (0, 1):
        audio.write(folder / f"tune-{random_seed}.wav", tune.compose(12, RATE, random_seed), RATE)
    audio.write(folder / "noise.wav", np.random.default_rng(0).uniform(-0.3, 0.3, 8 * RATE), RATE)
    audio.write(folder / "short.wav", tune.compose(1, RATE), RATE)
    return folder


@pytest.fixture
def file(music, tmp_path):
    return Corpus.build(music, tmp_path / "music.h5", RATE).file


def to_format_1(path):
    """Makes a file as format 1 had it: no beats."""
    with h5py.File(path, "a") as h5:
        h5.attrs["format_version"] = 1
        for dataset in h5["tracks"].values():
            for name in FIELDS:
                del dataset.attrs[name]


def write_format_1(path, pcm):
    """Writes format 1 by h5py alone, as it is documented."""
    with h5py.File(path, "w") as h5:
        h5.attrs.update(format="gruvlike corpus", format_version=1, sample_rate=RATE, high_pass_hz=20.0)
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        dataset = h5.create_group("tracks").create_dataset("000000", pcm.shape, "<i2", dcpl=layout)
        dataset[:] = pcm
        dataset.attrs.update(name="a.wav", source="/a.wav", hash="0" * 64, peak=0.8, rms=0.1, clipped=0)


def test_the_build_finds_beats(file):
    corpus = Corpus(file)
    by_name = {track.name: track for track in corpus}
    assert isinstance(corpus[0], HasBeat)
    for random_seed in (0, 1):
        track = by_name[f"tune-{random_seed}.wav"]
        assert track.beat.bpm == pytest.approx(np.random.default_rng(random_seed).integers(96, 125), abs=0.1)
        assert track.beat.clear
        assert track.beat == rhythm.tempo(track.samples(), RATE)
    assert not by_name["noise.wav"].beat.clear
    assert by_name["short.wav"].beat.confidence == 0
    with h5py.File(file) as h5:
        assert h5.attrs["format_version"] == 2
        assert tuple(h5["tracks/000003"].attrs[name] for name in FIELDS) == corpus[3].beat


def test_a_section_sees_the_beat_from_its_start(file):
    corpus = Corpus(file)
    train, validation = corpus.split(0.3, by="time", gap_seconds=0.5)
    for whole, first, last in zip(corpus, train, validation, strict=True):
        assert first.beat == whole.beat
        assert last.beat.beat_seconds == whole.beat.beat_seconds
        bar = 4 * whole.beat.beat_seconds
        moved = (last.beat.phase_seconds + last.start / RATE - whole.beat.phase_seconds) / bar
        assert moved == pytest.approx(round(moved), abs=1e-6)
        assert 0 <= last.beat.phase_seconds < bar


def test_format_1_opens_without_beats(tmp_path):
    pcm = np.rint(tune.compose(8, RATE) * 32767).astype("<i2")
    write_format_1(tmp_path / "old.h5", pcm)
    corpus = Corpus(tmp_path / "old.h5")
    assert corpus[0].beat is None
    assert corpus.split(0.5, by="time")[1][0].beat is None
    np.testing.assert_array_equal(corpus[0].pcm, pcm)
    assert corpus.add_beats() == ["a.wav"]
    assert corpus[0].beat == rhythm.tempo(pcm, RATE) == Corpus(tmp_path / "old.h5")[0].beat
    np.testing.assert_array_equal(corpus[0].pcm, pcm)
    assert corpus[0].hash == "0" * 64


def test_added_beats_equal_those_of_a_build(file, monkeypatch):
    fresh = file.read_bytes()
    to_format_1(file)
    assert file.read_bytes() != fresh
    monkeypatch.setattr(audio, "stream", None)  # nothing is decoded
    corpus = Corpus(file)
    assert sorted(corpus.add_beats()) == ["noise.wav", "short.wav", "tune-0.wav", "tune-1.wav"]
    assert file.read_bytes() == fresh
    assert corpus.add_beats() == []
    assert file.read_bytes() == fresh
    assert [path.name for path in file.parent.iterdir()] == ["music.h5"]


def test_a_part_keeps_its_sections(file):
    to_format_1(file)
    _, validation = Corpus(file).split(0.3, by="time", gap_seconds=0.5)
    before = [(track.start, track.stop, track.pcm.copy()) for track in validation]
    validation.add_beats()
    for (start, stop, pcm), track in zip(before, validation, strict=True):
        assert (track.start, track.stop) == (start, stop)
        np.testing.assert_array_equal(track.pcm, pcm)
        assert track.beat is not None
    assert all(track.beat is not None for track in Corpus(file))


def test_a_tempo_by_hand(file, music):
    corpus = Corpus(file)
    before = {track.name: track.beat for track in corpus}
    assert corpus.add_beats(bpm={"tune-0.wav": 60.0}) == ["tune-0.wav"]
    after = {track.name: track.beat for track in corpus}
    assert after["tune-0.wav"].bpm == 60
    assert after["tune-0.wav"] == rhythm.tempo(corpus[2].samples(), RATE, bpm=60)
    assert {**after, "tune-0.wav": None} == {**before, "tune-0.wav": None}
    again = Corpus.build(music, file, RATE)
    assert again[2].beat == after["tune-0.wav"]
    corpus = Corpus(file)
    corpus.add_beats(bpm={"short.wav": 100})
    assert corpus[1].beat == (0.6, 0, 0)


def test_bad_tempos_by_hand_change_nothing(file):
    before = file.read_bytes()
    for bpm, words in (({"tune-9.wav": 100}, "Did you mean"), ({"tune-0.wav": 0}, "must be a finite number")):
        with pytest.raises(ValueError, match=words):
            Corpus(file).add_beats(bpm)
    assert file.read_bytes() == before


def test_a_full_disk_leaves_the_file(file, monkeypatch):
    to_format_1(file)
    before = file.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_file, "allocate", full)
    with pytest.raises(OSError, match="No space left"):
        Corpus(file).add_beats()
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["music.h5"]


def test_a_build_onto_format_1_adds_beats_without_decoding(file, music, monkeypatch):
    fresh = file.read_bytes()
    to_format_1(file)
    monkeypatch.setattr(audio, "stream", None)
    assert len(Corpus.build(music, file, RATE)) == 4
    assert file.read_bytes() == fresh


def test_parts_of_an_older_version_get_beats(file, music, tmp_path, monkeypatch):
    """They stand beside the target, each with a list of attributes that knows no beat."""
    fresh, parts = file.read_bytes(), tmp_path / "new.h5.parts"
    parts.mkdir()
    for track in Corpus(file):
        name = f"{track.hash}-8000-20.0-v{_build._PREPARATION}"
        track.pcm.tofile(parts / f"{name}.pcm")
        about = {"hash": track.hash, "peak": track.peak, "rms": track.rms, "clipped": track.clipped}
        (parts / f"{name}.json").write_text(json.dumps(about))
    monkeypatch.setattr(audio, "stream", None)
    Corpus.build(music, tmp_path / "new.h5", RATE)
    assert (tmp_path / "new.h5").read_bytes() == fresh
    assert not parts.exists()


def test_a_file_that_is_being_built_is_left_alone(file):
    parts = file.with_name("music.h5.parts")
    parts.mkdir()
    with locked(parts / "lock", "mine"), pytest.raises(BlockingIOError, match="is being built now"):
        Corpus(file).add_beats(bpm={"tune-0.wav": 100})


def test_a_tempo_at_the_edge_is_logged(tmp_path, caplog):
    clicks = np.zeros(10 * RATE, "float32")
    clicks[: -RATE // 2 : round(RATE * 60 / 85.2)] = 0.9
    audio.write(tmp_path / "slow.wav", clicks, RATE)
    Corpus.build(tmp_path / "slow.wav", tmp_path / "a.h5", RATE)
    assert "edge of the range 85 to 170 in 1 tracks" in caplog.text
    assert "'slow.wav' (85.2)" in caplog.text
    caplog.clear()
    Corpus.build(tmp_path / "slow.wav", tmp_path / "a.h5", RATE)  # known, so not said again
    Corpus(tmp_path / "a.h5").add_beats(bpm={"slow.wav": 85.2})
    assert "edge of the range" not in caplog.text


def test_the_command_line(file, music, tmp_path, capsys):
    assert cli.main(["prepare", str(music), f"{tmp_path}/b.h5", "--sample-rate", "8000"]) == 0
    assert "tempo: 109.0 to 120.0 beats per minute, no clear beat in 2 of 4 tracks" in capsys.readouterr().out
    to_format_1(file)
    assert cli.main(["info", str(file)]) == 0
    out = capsys.readouterr().out
    assert "format 1" in out
    assert out.count("not sought") == 4
    assert cli.main(["beats", str(file), "--bpm", "tune-1.wav=109"]) == 0
    out = capsys.readouterr().out
    assert "4 beats were added" in out
    assert "109.0 bpm" in out
    assert Corpus(file)[3].beat.bpm == 109
    assert cli.main(["info", str(file)]) == 0
    out = capsys.readouterr().out
    assert "format 2" in out
    assert out.count("no clear beat") == 2
    for words, message in (
        (["--bpm", "tune-1.wav"], "`--bpm` must be"),
        (["--bpm", "tune-1.wav=fast"], "`--bpm` must be"),
        (["--bpm", "tune-9.wav=100"], "Did you mean"),
    ):
        assert cli.main(["beats", str(file), *words]) == 2
        assert message in capsys.readouterr().err
    assert cli.main(["beats", f"{tmp_path}/none.h5"]) == 2
