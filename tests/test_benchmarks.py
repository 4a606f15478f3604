"""The benchmarks at tiny sizes: they run, and their tables hold the measured figures."""

import logging
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[1]


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
    assert "GB of memory, Python 3." in text
    assert f"numpy {np.__version__}" in text


@pytest.mark.slow
def test_what_is_read_again_and_again_comes_from_the_cache(bench):
    """Memory is measured on more than the caches hold, by all cores; a small matrix never leaves them."""
    measure = bench("_measure")
    assert 1e8 < measure.read_rate(2**24, rounds=2) < 1e12
    assert measure.read_seconds(2**16, rounds=2) < measure.read_seconds(2**24, rounds=2)
    assert measure.cache_bytes() % 1024 == 0


def test_the_command_plans_rows_and_backends(bench):
    run = bench("run")
    assert {row for row, _ in run.plan([], ["tensorflow"])} == set(run.ROWS)
    assert all((ROOT / "benchmarks" / f"{row}.py").exists() for row in run.ROWS)
    assert run.plan(["generate", "start"], ["tensorflow", "jax"]) == [
        ("start", "tensorflow"),
        ("generate", "tensorflow"),
        ("generate", "jax"),
    ]


def test_the_command_runs_what_is_asked_for(bench, monkeypatch):
    run, done = bench("run"), []
    monkeypatch.setattr(run, "python_with", lambda backend: sys.executable)
    monkeypatch.setattr(run, "run", lambda row, backend: not done.append((row, backend)) and row != "prepare")
    monkeypatch.setenv("BACKENDS", "jax,torch")
    assert run.main(["train", "start"]) == 0
    assert done == [("start", "jax"), ("train", "jax"), ("train", "torch")]
    assert run.main(["prepare"]) == 1


@pytest.mark.parametrize(("chosen", "message"), [("numpy", "some of tensorflow,jax,torch"), ("all", "make bench")])
def test_the_command_refuses_backends_that_it_cannot_run(bench, monkeypatch, capsys, chosen, message):
    run = bench("run")
    monkeypatch.setattr(run, "python_with", {"tensorflow": sys.executable}.get)
    monkeypatch.setattr(run, "run", lambda row, backend: pytest.fail("nothing should run"))
    monkeypatch.setenv("BACKENDS", chosen)
    with pytest.raises(SystemExit, match="2"):
        run.main([])
    assert message in capsys.readouterr().err


def test_a_row_that_fails_is_told(bench, monkeypatch, caplog, tmp_path):
    run = bench("run")
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(run, "python_with", lambda backend: sys.executable)
    (tmp_path / "good.py").write_text("import os; assert os.environ['KERAS_BACKEND'] == 'jax'")
    (tmp_path / "bad.py").write_text("raise SystemExit(3)")
    with caplog.at_level(logging.INFO):
        assert run.run("good", "jax")
        assert not run.run("bad", "jax")
    assert "bad, jax: FAILED with code 3" in caplog.text


def test_a_python_is_taken_only_if_it_has_the_backend(bench, monkeypatch, tmp_path):
    run = bench("run")
    assert run.python_with("json") == sys.executable  # what is installed here
    monkeypatch.setattr(run, "HERE", tmp_path / "benchmarks")
    monkeypatch.delenv("NOWHERE_PYTHON", raising=False)
    assert run.python_with("nowhere") is None
    monkeypatch.setenv("NOWHERE_PYTHON", str(tmp_path / "missing"))
    assert run.python_with("nowhere") is None
    monkeypatch.setenv("NOWHERE_PYTHON", sys.executable)  # a Python, but without it
    assert run.python_with("nowhere") is None
    with_it = tmp_path / "python"
    with_it.write_text("#!/bin/sh\nexit 0\n")
    with_it.chmod(0o755)
    monkeypatch.setenv("NOWHERE_PYTHON", str(with_it))
    assert run.python_with("nowhere") == str(with_it)


@pytest.mark.backends
def test_start(bench, tiny, monkeypatch):
    """Processes of their own take seconds each: here the song alone is made, in this one."""
    start, ran = bench("start"), []

    def python(*arguments):
        ran.append(arguments)
        if start.SONG in arguments:
            monkeypatch.setattr(sys, "argv", list(arguments[1:]))
            exec(start.SONG, {})

    monkeypatch.setattr(start, "python", python)
    rows, notes = start.measure(tiny[2], rounds=1)
    check(rows)
    assert len(ran) == 5
    assert tiny[2].name in notes


def test_start_measures_whole_processes(bench, tmp_path):
    bench("start").python("-c", "import sys; open(sys.argv[1], 'w')", str(tmp_path / "ran"))
    assert (tmp_path / "ran").exists()
    with pytest.raises(subprocess.CalledProcessError):
        bench("start").python("-c", "raise SystemExit(1)")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated:DeprecationWarning")  # librosa's reader
def test_prepare(bench):
    prepare = bench("prepare")
    rows, notes = prepare.measure(files=2, seconds=11.0, times=2, rounds=1, run=prepare.run_way)
    check([row for row in rows if row.unit != "MB"])  # this little music may fit into memory that was free before
    assert len(rows) == 7
    assert "soundfile" in notes


def test_ways_to_prepare_take_turns(bench):
    prepare, order = bench("prepare"), []

    def run(way, folder, cores):
        order.append((way, cores, len(list(folder.glob("*.ogg")))))
        return {"seconds": float(len(order)), "mb": 1.0}

    rows, _ = prepare.measure(files=1, seconds=1.0, times=3, rounds=2, run=run)
    assert order[:5] == order[5:10]
    assert {way for way, *_ in order[:5]} == set(prepare.WAYS)
    assert order[10:] == [("ours", prepare.cores(), 3)]
    assert rows[0].ours == 3.5  # the first and the sixth
    assert rows[-2].limit == 3 * 3.5


def test_what_is_prepared_is_all_of_the_music(bench, tmp_path):
    """Files that differ in their bytes alone are decoded one by one, each whole."""
    import gruvlike as gl

    bench("prepare").write_music(tmp_path / "music", files=3, seconds=2.0)
    corpus = gl.Corpus.build(tmp_path / "music", tmp_path / "music.h5", sample_rate=16_000)
    assert [len(track) for track in corpus] == [32_000] * 3
    assert len({track.hash for track in corpus}) == 3


def test_fitting(bench):
    rows, _ = bench("fitting").measure(minutes=(0.1,), frame_size=64, components=8, rounds=1)
    check([row for row in rows if row.unit != "MB"])
    assert len(rows) == 3


@pytest.mark.backends
def test_windows(bench, tiny):
    rows, _ = bench("windows").measure(tiny[2], hours=1, steps=2, rounds=1, batches=4)
    check(rows)
    for consumer in rows[-2:]:
        assert consumer.ours >= consumer.limit


def test_no_round_reads_what_another_has_read(bench):
    windows = bench("windows")
    rounds = windows.iter_fresh(total=100, batches=10)
    read = [index for _ in range(10) for index in next(rounds)]
    assert sorted(read) == list(range(100))
    assert max(read[:10]) - min(read[:10]) == 90  # from the whole corpus, not from its beginning


@pytest.mark.backends
def test_each_epoch_of_fresh_windows_goes_on(bench):
    asked = []

    class Ten(list):
        def __getitem__(self, index):
            asked.append(index)
            return (np.zeros((1, 2), "int16"),)

    windows = bench("windows")
    fit = windows.consume(windows.Fresh(Ten(range(10)), 2), seconds=0.0)
    fit()
    first = set(asked)
    asked.clear()
    fit()
    fresh = set(asked) - first
    assert len(first) >= 2
    assert len(fresh) >= (2 if keras.backend.backend() == "tensorflow" else 1)


@pytest.mark.backends
@pytest.mark.slow
def test_train_compares_the_half_with_the_whole(bench, tiny):
    rows, _ = bench("train").measure(tuple(tiny[:2]), steps=1, rounds=1, peak_size=64)
    check(rows)
    assert [row.unit for row in rows] == ["GFLOP/s", "GFLOP/s", "s"]


@pytest.mark.backends
@pytest.mark.slow
def test_train(bench, tiny):
    rows, notes = bench("train").measure(tuple(tiny[:1]), steps=1, rounds=1, peak_size=64)
    check(rows)
    assert len(rows) == 1
    assert "that is compiling" in notes
    assert "left out: torch is not installed" in notes
    assert "TORCH_PYTHON" in notes


@pytest.mark.backends
def test_train_with_pytorch(bench, tiny):
    version = pytest.importorskip("torch").__version__
    rows, notes = bench("train").measure((tiny[2],), steps=1, rounds=1, peak_size=64, torch_python=sys.executable)
    check(rows)
    assert len(rows) == 2
    assert f"PyTorch {version}" in notes


def test_pytorch_answers_each_step(bench, tiny, tmp_path):
    """The protocol, with an echo in the place of PyTorch."""
    rival = bench("_torch_rival")
    echo = tmp_path / "python"
    echo.write_text(f"#!/bin/sh\nexec {sys.executable} -u -c 'import sys; [print(line) for line in sys.stdin]'\n")
    echo.chmod(0o755)
    with rival.Torch(str(echo), tiny[0]) as torch:
        for _ in range(3):
            torch.step()
    assert torch.process.returncode == 0


def test_pytorch_that_ends_is_told(bench, tiny, tmp_path):
    ending = tmp_path / "python"
    ending.write_text("#!/bin/sh\nexit 7\n")
    ending.chmod(0o755)
    with (
        pytest.raises(RuntimeError, match=r"its end, with code 7\..*Is torch installed"),
        bench("_torch_rival").Torch(str(ending), tiny[0]) as torch,
    ):
        torch.step()


@pytest.mark.backends
def test_what_half_a_spectrum_can_gain_is_counted(bench):
    """That of 2015, a 32nd: 700 -> 32, 32 -> 4 x 32 twice, 32 -> 700; half of it reads and writes 350."""
    networks = bench("_networks")
    paper, halved = (n._replace(block_size=350, units=(32,), projection=32) for n in (networks.PAPER, networks.HALF))
    inner = 8 * 32**2
    whole, half = (6 * (2 * 32 * n + inner) - 2 * 32 * n for n in (700, 350))
    assert paper.gflop() == pytest.approx(whole * 5 * 40 / 1e9)
    assert paper.parameters() == sum(w.size for w in paper.make_stack().get_weights())
    text = bench("train").arithmetic(paper, halved)
    assert f"are {whole / half:.2f} times as many" in text
    assert f"are {paper.parameters() / halved.parameters():.2f} times as many" in text


@pytest.mark.backends
@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the parts of a step are measured with TensorFlow")
def test_parts(bench, tiny):
    ((name, *times, forward, backward, peak),), _ = bench("parts").measure((tiny[1],), rounds=1, peak_size=64)
    assert name == tiny[1].name
    assert len(times) == 5
    assert min(float(value) for value in (forward, backward, peak)) > 0
    shapes = [w.shape for w in tiny[1].make_stack().get_weights() if len(w.shape) == 2]
    inner, first = (2 * sum(map(np.prod, some)) * tiny[1].batch_size * tiny[1].steps for some in (shapes, shapes[:1]))
    assert tiny[1].gflop_forward() == pytest.approx(inner / 1e9)
    assert tiny[1].gflop() == pytest.approx((3 * inner - first) / 1e9)


@pytest.mark.backends
@pytest.mark.slow
def test_choices(bench, tiny):
    choices = bench("choices")
    unrolled = "plain Keras, `unroll=True`"
    assert unrolled in choices.choices_for(tiny[1])
    assert unrolled not in choices.choices_for(tiny[1]._replace(steps=200))
    for name in [name for name in choices.CHOICES if any(word in name for word in ("XLA", "unroll", "implementation"))]:
        del choices.CHOICES[name]  # they take long to compile
    rows, notes = choices.measure((tiny[1],), steps=1, rounds=1, peak_size=64)
    check(rows)
    assert len(rows) == len(choices.CHOICES) - 1
    assert "the first step took longer" in notes


@pytest.mark.backends
@pytest.mark.slow
def test_all_choices_train_the_same_network(bench, tiny):
    """Computed in another way, the loss of the first steps is the same; in half precision it is close, not equal."""
    train = bench("train")

    def losses(**options):
        step = train.plain_keras(tiny[2], jit_compile=False, **options)
        return [float(step()) for _ in range(3)]

    expected = losses()
    for option in ({"at_once": True}, {"unroll": True}, {"implementation": 1}):
        np.testing.assert_allclose(losses(**option), expected, rtol=1e-4)
    rough = losses(policy="mixed_bfloat16")
    np.testing.assert_allclose(rough, expected, rtol=0.05)
    assert rough != expected


@pytest.mark.backends
def test_rivals_get_what_a_model_makes_of_its_sound(bench, tiny):
    """Plain Keras, PyTorch: their frames are those of ours, normalized."""
    model, network = tiny[1].make_model(), tiny[1]
    _, target = model(keras.ops.convert_to_tensor(network.pcm()))
    frames = network.frames()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(target), frames[:, 1:], atol=1e-4)
    varies = frames.std((0, 1)) > 0
    np.testing.assert_allclose(frames.mean((0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(frames.std((0, 1))[varies], 1, atol=1e-3)
    assert varies.sum() > 10


@pytest.mark.backends
def test_the_operations_of_a_step_are_counted(bench, tiny):
    """2 x 4 weights read the frames; 4 operations each and frame for those, 6 for the others."""
    stack = tiny[0].make_stack()
    reading, inner = 32 * 4, 4 * 16 + 4 * 16 + 4 * 32
    assert sum(w.size for w in stack.get_weights() if w.ndim == 2) == reading + inner
    assert tiny[0].gflop() == pytest.approx((4 * reading + 6 * inner) * 2 * 5 / 1e9)


@pytest.mark.backends
@pytest.mark.slow
def test_generate(bench, tiny):
    rows, notes = bench("generate").measure(
        tuple(tiny[:1]), seconds=0.001, rounds=1, lengths=(2, 4), total=4, late=70, read=2**20
    )
    check(rows)
    assert len(rows) == 5
    assert "GB/s by all cores" in notes
    assert "fit the cache" in notes
    assert "clips): that is compiling" in notes


@pytest.mark.backends
def test_stream(bench, tiny):
    rows, _ = bench("stream").measure(tuple(tiny[:1]), steps=5, rounds=1)
    check(rows)
    assert [row.what.split("`stream` ")[1].split(" at once")[0] for row in rows] == ["1 frame", "4 frames", "16 frames"]


@pytest.mark.backends
def test_music(bench):
    from gruvlike import recipes

    small = {"network": {"units": (4, 4)}, "normalizer": {"components": 8}, "windows": {"steps": 16}}
    module = bench("music")
    recipe = recipes.get("music").change(**small)
    assert not module.plain(recipe).conditions["clock"]
    rows, notes = module.measure(recipe, music_seconds=24.0, song_seconds=0.5, rounds=1)
    check(rows)
    assert [row.what.split("; ")[0] for row in rows][-4:] == ["16 clips", "decoding", "fitting", "fitting"]
    assert rows[0].limit == pytest.approx(1.3 * rows[0].rival)
    assert "windows of 16 frames" in notes


@pytest.mark.backends
def test_late_steps_are_late(bench, tiny, monkeypatch):
    """Young songs start anew each time; the old one has come to the step that is asked for, and goes on."""
    from gruvlike._step import _loops

    generate, ages = bench("generate"), []
    run = _loops.Loop.run
    age_of = {}

    def watched(loop, steps, carried):
        result = run(loop, steps, carried)
        before = age_of.get(id(carried), (0,))[0]
        age_of[id(result[1])] = before + steps, result[1]  # kept alive, because ids of dead objects are reused
        ages.append((before, before + steps))
        return result

    monkeypatch.setattr(_loops.Loop, "run", watched)
    generate.growth(tiny[0].make_stack(), late=200, songs=2)
    assert ages[-4:] == [(0, 40), (180, 220), (0, 40), (220, 260)]


@pytest.mark.backends
def test_the_progress_bar_is_on_where_it_is_measured(bench, tiny, monkeypatch):
    """And it is asked to move at most once for each chunk of the loop, however long the song."""
    import tqdm

    generate, bars = bench("generate"), []

    class Bar(tqdm.tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.updates, self.shown = 0, not self.disable  # a bar that is closed is disabled
            bars.append(self)

        def update(self, n=1):
            self.updates += 1
            return super().update(n)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    row = generate.bar_row(tiny[0], seconds=0.05, rounds=1)
    check([row])
    on, off = bars[-2:]
    assert (on.shown, off.shown) == (True, False)
    step = generate.Step(generate.lay_out(tiny[0].make_stack(), None, None), generate.Point(), 32)
    chunk = generate.make_loop(step, 1).chunk
    assert 1 <= on.updates <= -(-on.total // (16 * chunk)) + 1


def test_the_rivals_of_generation_predict_the_same(bench, tiny):
    """Otherwise they would be no rivals: the twin keeps the past that `predict` is fed again."""
    stack = tiny[0].make_stack()
    frames = np.random.default_rng(0).standard_normal((1, 3, 32)).astype("float32")
    generate = bench("generate")
    step = generate.twin_step(generate.stateful_twin(stack))
    step_by_step = [step(frames[:, i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(np.concatenate(step_by_step, 1), stack.predict(frames, verbose=0), atol=1e-5)
