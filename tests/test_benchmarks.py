"""The benchmarks at tiny sizes: they run, and what stands in their tables is what was measured."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench(monkeypatch):
    """Imports a module of benchmarks/, and forgets it and its fellows afterwards."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    yield importlib.import_module
    for name in names & sys.modules.keys():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def tiny(bench):
    """Networks like those that are measured, in small."""
    networks = bench("_networks")
    return [
        network._replace(block_size=16, units=(4,) * len(network.units), batch_size=2, steps=5)
        for network in (networks.PAPER._replace(projection=4), networks.HALF._replace(projection=4), networks.LAPPED)
    ]


def check(rows):
    assert rows
    for row in rows:
        assert row.ours > 0
        assert len(row.cells()) == 6
        for other, ratio in ((row.rival, row.times_the_rival), (row.limit, row.of_the_limit)):
            assert (other is None) == (ratio is None)
            assert other is None or ratio > 0


def test_ratios_tell_the_better(bench):
    row = bench("_measure").Row("job", ours=2.0, rival=4.0, limit=1.0, unit="s")
    assert (row.times_the_rival, row.of_the_limit) == (2.0, 0.5)
    rate = row._replace(more_is_better=True, rival=1.0, limit=4.0)
    assert (rate.times_the_rival, rate.of_the_limit) == (2.0, 0.5)
    assert row.cells() == ["job", "2.00 s", "4.00 s", "1.00 s", "2", "0.5"]
    assert row._replace(rival=None, ours=1234.0, unit="MB").cells()[1:3] == ["1234 MB", "-"]


def test_runs_take_turns(bench):
    order = []
    taken = bench("_measure").in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == list("ababab")
    assert all(seconds > 0 for seconds in taken.values())


def test_memory_beyond_what_was_there_is_seen(bench):
    with bench("_measure").peak_memory(interval=0.001) as peak:
        held = np.ones(4_000_000)
    assert 25 < peak() < 60
    del held
    with bench("_measure").peak_memory(interval=0.001) as peak:
        pass
    assert peak() < 5


def test_a_row_replaces_its_own_block_alone(bench, tmp_path, monkeypatch):
    measure, page = bench("_measure"), bench("_page")
    monkeypatch.setattr(page, "DOCS", tmp_path)
    row = measure.Row("job", 2.0, 4.0, 1.0, "s")
    (tmp_path / measure.PAGE).write_text("# Title\n\n<!-- start: begin -->\n<!-- start: end -->\n\nEnd.\n")
    measure.publish("train", [row], "first")
    measure.publish("start", [row], "second")
    measure.publish("train", [row], "third")
    text = (tmp_path / measure.PAGE).read_text()
    assert text.startswith("# Title")
    assert "first" not in text
    assert text.index("second") < text.index("End.") < text.index("third")
    assert text.count("| job | 2.00 s | 4.00 s | 1.00 s | 2 | 0.5 |") == 2
    assert "Python 3." in text


def test_the_command_plans_rows_and_backends(bench):
    run = bench("run")
    assert {row for row, _ in run.plan([], ["tensorflow"])} == set(run.ROWS)
    assert all((ROOT / "benchmarks" / f"{row}.py").exists() for row in run.ROWS)
    assert run.plan(["generate", "start"], ["tensorflow", "jax"]) == [
        ("start", "tensorflow"),
        ("generate", "tensorflow"),
        ("generate", "jax"),
    ]


@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated:DeprecationWarning")  # librosa's reader
def test_prepare(bench):
    prepare = bench("prepare")
    rows, notes = prepare.measure(files=2, seconds=11.0, hours=2, rounds=1, run=prepare.run_way)
    check([row for row in rows if row.unit != "MB"])  # so little music may fit into memory that was free already
    assert "soundfile" in notes


def test_what_is_prepared_is_all_of_the_music(bench, tmp_path):
    """Files that differ in their bytes alone are decoded one by one, each whole."""
    import gruvlike as gl

    bench("prepare").write_music(tmp_path / "music", files=3, seconds=2.0)
    corpus = gl.Corpus.build(tmp_path / "music", tmp_path / "music.h5", sample_rate=16_000)
    assert [len(track) for track in corpus] == [32_000] * 3
    assert len({track.hash for track in corpus}) == 3


def test_windows(bench, tiny):
    rows, _ = bench("windows").measure(tiny[0], hours=1, steps=2, rounds=1, batches=4)
    check(rows)


def test_train(bench, tiny):
    rows, _ = bench("train").measure(tuple(tiny[:2]), steps=1, rounds=1, peak_size=64)
    check(rows)
    assert len(rows) == 3


def test_choices(bench, tiny):
    choices = bench("choices")
    for name in [name for name in choices.CHOICES if "XLA" in name]:
        del choices.CHOICES[name]  # they take long to compile
    rows, _ = choices.measure((tiny[1],), steps=1, rounds=1, peak_size=64)
    check(rows)
    assert len(rows) == 1


def test_the_operations_of_a_step_are_counted(bench, tiny):
    """2 x 4 weights read the frames; 4 operations each and frame for those, 6 for the others."""
    stack = tiny[0].make_stack()
    reading, inner = 32 * 4, 4 * 16 + 4 * 16 + 4 * 32
    assert sum(w.size for w in stack.get_weights() if w.ndim == 2) == reading + inner
    assert tiny[0].gflop() == pytest.approx((4 * reading + 6 * inner) * 2 * 5 / 1e9)


def test_generate(bench, tiny):
    rows, notes = bench("generate").measure(
        tuple(tiny[:1]), seconds=0.001, rounds=1, lengths=(2, 4), total=4, long_song=1100
    )
    check(rows)
    assert len(rows) == 3
    assert "times the first third" in notes
    assert "nan" not in notes


def test_the_rivals_of_generation_predict_the_same(bench, tiny):
    """Otherwise they would be no rivals: the twin keeps the past that `predict` is fed again."""
    stack = tiny[0].make_stack()
    frames = np.random.default_rng(0).standard_normal((1, 3, 32)).astype("float32")
    generate = bench("generate")
    step = generate.twin_step(generate.stateful_twin(stack))
    step_by_step = [step(frames[:, i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(step_by_step, 1), stack.predict(frames, verbose=0), atol=1e-5)


def test_cudnn_is_not_taken_for_granted(bench, tiny):
    if bench("_measure").accelerator() is None:
        with pytest.raises(RuntimeError, match="cuDNN is not used"):
            bench("gpu").evidence_of_cudnn(tiny[2])


BARE = """
import sys

sys.modules.update(dict.fromkeys(["librosa", "soundfile", "soxr", "tqdm", "matplotlib", %s]))  # as if not installed
sys.path.insert(0, sys.argv[1])
import _networks, gpu

network = _networks.LAPPED._replace(block_size=16, units=(4,), batch_size=2, steps=5)
sizes = {"matrix": 32, "bytes": 4096, "steps": 2, "rounds": 1}
rows = gpu.measure((network,), ("mixed_bfloat16",), sizes)
sys.exit(len(rows) != 3)
"""


def test_the_gpu_benchmark_needs_keras_and_numpy_alone(tmp_path):
    """From a folder that is not the checkout, here on the CPU: training and generation in mixed precision."""
    import keras

    scipy = "" if keras.backend.backend() == "jax" else '"scipy"'  # JAX brings it
    command = [sys.executable, "-c", BARE % scipy, str(ROOT / "benchmarks")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
