"""report: every measure in one dictionary and one table, from samples, files, folders and corpora."""

import subprocess
import sys

import numpy as np
import pytest

import gruvlike
from gruvlike import metrics, tune
from gruvlike.metrics import _report

RATE = 4000
MEASURES = {
    *("tick_ratio", "tick_level_db", "tick_excess_db", "level_db", "energy_drift_db", "spectral_convergence"),
    *("log_spectral_distance", "spectral_flatness", "flatness_excess_db", "copy_score", "repetition"),
    *("flux", "pulse", "onset_rate", "copy_score_spectrum", "frechet_distance"),
}
ALONE = {
    *("tick_ratio", "tick_level_db", "level_db", "spectral_flatness", "repetition", "flux", "pulse", "onset_rate"),
}
REFERENCES = {f"{name}_reference" for name in (*ALONE, "frechet_distance")}
BESIDE_SEED = {"own_rhythm", "seed_copy_score", "seed_copy_score_spectrum"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("music")
    for seed in range(3):
        gruvlike.audio.write(folder / f"tune{seed}.wav", tune.compose(12, RATE, random_seed=seed), RATE)
    return folder


@pytest.fixture(scope="module")
def song():
    return tune.compose(5, RATE, random_seed=9)


def test_everything_is_there_and_plain(folder, song):
    found = metrics.report(song, folder, hop=500, sample_rate=RATE)
    assert set(found) == MEASURES | REFERENCES
    assert all(type(value) is float and np.isfinite(value) for value in found.values())
    assert found["tick_level_db"] == metrics.tick_level_db(song, 500)
    assert found["tick_excess_db"] == found["tick_level_db"] - found["tick_level_db_reference"]
    assert found["repetition"] == metrics.repetition(song, RATE)
    assert found["pulse"] == metrics.pulse(song, RATE)
    assert found["onset_rate"] == metrics.onset_rate(song, RATE)
    assert found["flux"] == metrics.flux(song, RATE)
    assert found["copy_score"] < 0.8


def test_the_table_names_every_measure_and_the_copied_track(folder):
    copied = gruvlike.audio.read(folder / "tune1.wav", RATE)[6000:26_000]
    found = metrics.report(copied, folder, hop=500, sample_rate=RATE)
    table = str(found)
    assert found["copy_score"] == pytest.approx(1, abs=1e-3)
    assert found.closest.track == "tune1.wav"
    assert "song at 0.00 s, 'tune1.wav' at 1.50 s" in table
    for name in MEASURES:
        assert f"\n{name} " in table
    assert max(map(len, table.splitlines())) < 90
    assert len(table.splitlines()) == len(MEASURES) + 2


def test_samples_files_folders_and_corpora_are_references(folder, song, tmp_path):
    corpus = gruvlike.Corpus.build(folder, tmp_path / "music.h5", sample_rate=RATE, high_pass_hz=None)
    gruvlike.audio.write(tmp_path / "song.wav", song, RATE, subtype="FLOAT")
    wanted = metrics.report(song, folder, hop=500, sample_rate=RATE)
    same = (
        metrics.report(song, str(folder), hop=500, sample_rate=RATE),
        metrics.report(tmp_path / "song.wav", folder, hop=500),
        metrics.report(song, corpus, hop=500),
        metrics.report(song, tmp_path / "music.h5", hop=500),
    )
    for found in same:
        assert found == pytest.approx(wanted, rel=1e-3, abs=1e-3)
    one = metrics.report(song, folder / "tune0.wav", hop=500, sample_rate=RATE)
    assert one == pytest.approx(
        metrics.report(song, gruvlike.audio.read(folder / "tune0.wav", RATE), hop=500, sample_rate=RATE), abs=1e-3
    )
    assert one["spectral_flatness_reference"] != wanted["spectral_flatness_reference"]


def test_faults_show(folder, song):
    good = metrics.report(song, folder, hop=500, sample_rate=RATE)
    dying = metrics.report(song * np.geomspace(1, 1e-4, len(song)), folder, hop=500, sample_rate=RATE)
    ticking = song.copy()
    ticking[500::500] += 0.3
    ticking = metrics.report(ticking, folder, hop=500, sample_rate=RATE)
    stuck = metrics.report(np.tile(song[8000:10_000], 10), folder, hop=500, sample_rate=RATE)
    assert dying["energy_drift_db"] < good["energy_drift_db"] - 30
    assert ticking["tick_excess_db"] > good["tick_excess_db"] + 10
    assert stuck["repetition"] > 0.9 > good["repetition"]


def test_with_the_seed_there_are_its_rhythm_and_two_controls(folder, tmp_path):
    whole, beat = tune.compose(16, RATE, random_seed=9), 0.5
    seed, song = whole[: 8 * RATE], whole[8 * RATE :]
    found = metrics.report(song, folder, hop=500, sample_rate=RATE, seed=seed, beat_seconds=beat)
    loop = {f"{name}_loop" for name in MEASURES | BESIDE_SEED}
    controls = {f"{name}_seed" for name in MEASURES} | {"own_rhythm_reference"} | loop
    assert set(found) == MEASURES | REFERENCES | BESIDE_SEED | controls
    assert np.isfinite(list(found.values())).all()
    assert found["pulse_seed"] == metrics.pulse(seed, RATE)
    own = metrics.rhythm_pattern(seed, RATE, beat)
    pattern = metrics.rhythm_pattern(song, RATE, beat, start_seconds=8)
    assert found["own_rhythm"] == metrics.rhythm_similarity(pattern, own)
    assert found["seed_copy_score_loop"] == pytest.approx(1, abs=1e-5)
    assert found["repetition_loop"] > 0.9
    music = [gruvlike.audio.read(path, RATE) for path in sorted(folder.glob("*.wav"))]
    assert found["copy_score_seed"] == pytest.approx(metrics.copy_score(seed, music, RATE).score, abs=1e-3)
    gruvlike.audio.write(tmp_path / "seed.wav", seed, RATE, subtype="FLOAT")
    same = metrics.report(song, folder, hop=500, sample_rate=RATE, seed=tmp_path / "seed.wav", beat_seconds=beat)
    assert same == found
    table = str(found)
    assert table.splitlines()[0].split()[:5] == ["measure", "song", "reference", "seed", "loop"]
    assert all(f"\n{name} " in table for name in MEASURES | BESIDE_SEED)
    assert max(map(len, table.splitlines())) < 115


def test_the_embedding_is_the_users_choice(folder, song):
    def levels(samples):
        return metrics.energy_curve(samples, 500)[:, None]

    found = metrics.report(song, folder, hop=500, sample_rate=RATE, embed=levels)
    assert found["frechet_distance"] != metrics.report(song, folder, hop=500, sample_rate=RATE)["frechet_distance"]
    assert 0 <= found["frechet_distance_reference"] < 1000


def test_silence_is_reported_without_a_nan(folder):
    found = metrics.report(np.zeros(5 * RATE, "float32"), folder, hop=500, sample_rate=RATE)
    assert np.isfinite(list(found.values())).all()
    assert found["copy_score"] == 0
    assert found["tick_level_db"] == 0
    assert found["repetition"] == 1
    assert "closest" not in str(found)


def test_a_long_reference_is_cut_in_pieces_as_long_as_the_song(song):
    tracks = [(str(seed), tune.compose(60, RATE, random_seed=seed)) for seed in range(3)]
    for count, size in ((1, len(song)), (3, len(song)), (3, 200 * RATE)):
        pieces = _report._pieces(tracks[:count], size, RATE, 500)
        assert 1 <= sum(map(len, pieces)) <= 180 * RATE
        assert all(len(piece) == min(size, 60 * RATE) for piece in pieces)


def test_errors_state_the_rule(folder, song, tmp_path):
    report = metrics.report
    with pytest.raises(ValueError, match="`sample_rate` must be given"):
        report(song, folder, hop=500)
    with pytest.raises(ValueError, match=r"of the song: 16000 samples\. Received: 15999"):
        report(song[:15_999], folder, hop=500, sample_rate=RATE)
    with pytest.raises(ValueError, match=r"of the reference: 16000 samples\. Received: 10000"):
        report(song, song[:10_000], hop=500, sample_rate=RATE)
    with pytest.raises(ValueError, match=r"hop=6000\) of the song: 24000 samples"):
        report(song, folder, hop=6000, sample_rate=RATE)
    for seed, match in ((song[:15_999], "of the seed: 16000 samples"), (song, "must have a bar of 4 beats")):
        with pytest.raises(ValueError, match=match):
            report(song, folder, hop=500, sample_rate=RATE, seed=seed, beat_seconds=0.5 if len(seed) < 16_000 else 2)
    with pytest.raises(ValueError, match="`beat_seconds`"):
        report(song, folder, hop=500, sample_rate=RATE, seed=song, beat_seconds=-1)
    with pytest.raises(ValueError, match="`hop`"):
        report(song, folder, hop=8, sample_rate=RATE)
    corpus = gruvlike.Corpus.build(folder, tmp_path / "music.h5", sample_rate=RATE)
    with pytest.raises(ValueError, match="`sample_rate` must be the corpus's 4000"):
        report(song, corpus, hop=500, sample_rate=8000)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="folder with audio in it"):
        report(song, tmp_path / "empty", hop=500, sample_rate=RATE)
    with pytest.raises(FileNotFoundError):
        report(tmp_path / "none.wav", folder, hop=500, sample_rate=RATE)
    with pytest.raises(FileNotFoundError):
        report(tmp_path / "none.wav", folder, hop=500)
    (tmp_path / "notes.txt").write_text("no audio")
    with pytest.raises(ValueError, match="`sample_rate` must be given where the file does not tell it"):
        report(tmp_path / "notes.txt", folder, hop=500)


def test_metrics_need_no_keras():
    code = "import sys, gruvlike.metrics; sys.exit(any(name in sys.modules for name in ('keras', 'librosa', 'h5py')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
