"""The compiled loop: several clips at once, and the cost of a second song: compilation, copies, waiting."""

import contextlib
import logging

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike._step import _loops
from gruvlike._step._stateless import StatelessStack

pytestmark = pytest.mark.backends


def make_generator(melody, encoder, **options):
    normalizer = gl.Standardizer().fit(melody, encoder)
    stack = gl.recurrent_stack(encoder.features, **{"units": (8,), "random_seed": 0, **options})
    rng = np.random.default_rng(0)
    stack.set_weights([w + 0.2 * rng.standard_normal(w.shape) for w in stack.get_weights()])
    return gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=8000)


@pytest.fixture
def generator(melody):
    return make_generator(melody, gl.BlockDFT(block_size=16))


# --- several clips


@pytest.mark.parametrize("encoder", [lambda: gl.BlockDFT(16), lambda: gl.MDCT(16)], ids=["BlockDFT", "MDCT"])
@pytest.mark.parametrize("chunk_bytes", [0, 2**20], ids=["chunks of 8", "one chunk"])
def test_a_clip_is_the_same_alone_and_in_a_batch(melody, monkeypatch, encoder, chunk_bytes):
    """Also where the seeds have other lengths, shorter and longer than a chunk, and the song is longer than both."""
    monkeypatch.setattr(_loops, "_CHUNK_BYTES", chunk_bytes)
    generator = make_generator(melody, encoder())
    seeds = [
        melody[start : start + size] for start, size in ((0, 320), (4000, 320), (8000, 160), (9000, 32), (99, 512))
    ]
    together = generator.extend(seeds, steps=40)
    assert together.shape == (5, 640)
    for seed, clip in zip(seeds, together, strict=True):
        np.testing.assert_allclose(generator.extend(seed, steps=40), clip, atol=1e-5)
    assert not np.allclose(together[0], together[1], atol=1e-3)
    pieces = list(generator.stream(seeds, steps=40))
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), together, atol=1e-6)


def test_seeds_of_any_lengths_go_through_one_loop_together(generator, melody, monkeypatch):
    """As many steps as the longest seed and the song have, not as many as all have."""
    taken = []
    run = _loops.Loop.run
    monkeypatch.setattr(_loops.Loop, "run", lambda self, n, *rest: taken.append(n) or run(self, n, *rest))
    read = _loops.Loop.read
    monkeypatch.setattr(
        _loops.Loop, "read", lambda self, seeds, *rest: taken.append(max(map(len, seeds))) or read(self, seeds, *rest)
    )
    generator.extend([melody[: 16 * n] for n in (20, 3, 11)], steps=30)
    assert list(generator._network._programs._loops) == [(3, None, False)]
    assert sum(taken) == 20 + 30 - 1  # the last step of the seed predicts the first frame


@pytest.mark.parametrize("history", ["full", 3])
def test_seeds_of_other_lengths_are_fed_again_each_with_its_own_past(generator, melody, history):
    seeds = [melody[:320], melody[4000:4160], melody[8000:8320]]
    together = generator.extend(seeds, steps=4, history=history)
    for seed, clip in zip(seeds, together, strict=True):
        np.testing.assert_allclose(generator.extend(seed, steps=4, history=history), clip, atol=1e-5)


def test_clips_of_one_seed(generator, melody):
    songs = generator.extend(melody[:320], steps=3, clips=2)
    assert songs.shape == (2, 48)
    np.testing.assert_allclose(songs[0], songs[1], atol=1e-6)  # nothing is drawn at random
    assert generator.extend([melody[:320]], steps=3).shape == (1, 48)
    assert generator.extend(list(map(float, melody[:320])), steps=3).shape == (48,)
    assert next(generator.stream(melody[:320], steps=3, clips=2)).shape[0] == 2


def test_clips_that_do_not_fit_are_refused(generator, melody):
    with pytest.raises(ValueError, match="Received: 2 seeds, clips=3"):
        generator.extend([melody[:320]] * 2, steps=3, clips=3)
    with pytest.raises(ValueError, match=r"same length. Received: \[320, 400\]"):
        generator.extend([melody[:320], melody[:400]], steps=3, include_seed=True)


# --- what a second song costs


@contextlib.contextmanager
def compilations(monkeypatch):
    """Gives a list that grows with whatever the backend compiles: XLA programs, traced functions, recorded steps."""
    compiled = []
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        handler = logging.Handler()
        handler.emit = lambda record: compiled.append(record.getMessage())
        handler.addFilter(lambda record: record.getMessage().startswith("Compiling"))
        logger = logging.getLogger("jax")
        logger.addHandler(handler)
        with jax.log_compiles():
            yield compiled
        logger.removeHandler(handler)
        return
    # Whatever is traced anew on the others runs the step of the stack in Python.
    step = StatelessStack.step
    monkeypatch.setattr(StatelessStack, "step", lambda *a: compiled.append(backend) or step(*a))
    yield compiled


def test_a_longer_song_compiles_nothing(generator, melody, monkeypatch):
    """One program serves every length of song and of seed, alike or not, and so do the steps that are left over."""
    with compilations(monkeypatch) as compiled:
        generator.extend([melody[:320]] * 3, steps=3)
        assert compiled
        compiled.clear()
        for steps in (3, 700, 5, 11):
            generator.extend([melody[:320]] * 3, steps=steps)
        generator.extend([melody[:999], melody[:160], melody[:480]], steps=300)
        generator.extend([melody[:160]] * 3, seconds=0.2)
        assert compiled == []


def test_beyond_the_seed_nothing_is_sent_to_the_device(generator, melody, monkeypatch):
    monkeypatch.setattr(_loops, "_CHUNK_BYTES", 0)  # chunks of 8 steps; the seed fills one
    read = []
    for kind in (_loops._TensorFlowLoop, _loops._JaxLoop, _loops._TorchLoop):
        run = kind._run
        monkeypatch.setattr(
            kind, "_run", lambda self, orders, *a, run=run: read.append(orders.buffer) or run(self, orders, *a)
        )
    generator.extend(melody[:128], steps=30)
    assert len(read) > 3
    assert all(buffer is read[1] for buffer in read[1:])
    assert read[0] is not read[1]
    assert keras.ops.is_tensor(read[1])
