"""Settings of all tests: a quiet TensorFlow, and the folder of material from elsewhere (without it, tests skip)."""

import gc
import importlib
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
# Workers of xdist fill the cores already: threads that wait for each other would only take time from the other workers,
# more than half of it on torch. `make test-slow` runs in one process, with all threads.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")

    # A compiled program that is garbage takes long to free, the longer the more there are: one collection near the end
    # took 40 s. The garbage of a whole worker is about 2 GB.
    gc.disable()

import numpy as np
import pytest

# A shell starts background jobs with Ctrl-C ignored, and the processes that tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
DATA = ROOT / "tests" / "data"


@pytest.fixture
def shared():
    """The folder with golden data and odd files that are not part of the project."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the material beside the checkout: {SHARED.name}/ is absent")
    return SHARED


@pytest.fixture
def golden_script(monkeypatch):
    """The script that made tests/data/gruv2015: the program of 2015 in plain numpy, apart from gruvlike."""
    monkeypatch.syspath_prepend(str(DATA))
    return importlib.import_module("make_gruv2015")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def melody():
    """Two seconds of a melody at 8 kHz: float32 samples of shape (16000,)."""
    t = np.arange(16_000) / 8_000
    notes = np.array([262, 330, 392, 523])[(t * 4).astype(int) % 4]
    return (0.4 * np.sin(2 * np.pi * notes * t) + 0.1 * np.sin(4 * np.pi * notes * t)).astype("float32")


@pytest.fixture
def plain_curves(monkeypatch):
    """The learning curve of a run is an empty file: to draw it takes longer than to train a tiny network."""
    from gruvlike import plots

    axes = SimpleNamespace(figure=SimpleNamespace(savefig=lambda path: Path(path).write_bytes(b"")))
    monkeypatch.setattr(plots, "learning_curves", lambda *_: axes)


@pytest.fixture
def plain_pictures(monkeypatch):
    """The pictures of a listening page take no time, and as many bytes each."""
    from gruvlike.listening import _sounds

    monkeypatch.setattr(_sounds, "picture_uri", lambda *_: "data:image/webp;base64," + "A" * 2000)


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
