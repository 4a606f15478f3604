"""The memory after a seed: a song goes on from it as from the seed, at once, for any temperature and length."""

import numpy as np
import pytest
from _parts import gaussian_generator, shaken

import gruvlike as gl
from gruvlike._step import _loops

pytestmark = pytest.mark.backends


@pytest.fixture
def generator(melody):
    return gaussian_generator(melody, encoder=gl.MDCT(16), cell="gru", units=(8, 6))


def test_a_memory_sings_what_the_seed_sings(generator, melody):
    memory = generator.listen(melody[:400])
    assert memory.frames.shape == (1, 1, 16)
    assert memory.samples.shape == (1, 32)
    assert [tuple(state.shape) for state in memory.states] == [(1, 8), (1, 6)]
    for draw in ({"random_seed": 1}, {"temperature": 0.3, "random_seed": 2}):
        song = generator.extend(melody[:400], steps=20, **draw)
        np.testing.assert_array_equal(generator.extend(memory, steps=20, **draw), song)
        streamed = np.concatenate(list(generator.stream(memory, steps=20, **draw)))
        np.testing.assert_allclose(streamed, song, atol=1e-5)
    assert not np.allclose(
        generator.extend(generator.listen(melody[16:416]), steps=20), generator.extend(memory, steps=20)
    )


def test_seeds_of_other_lengths_share_one_memory(generator, melody, monkeypatch):
    """Each clip's states are those after its own seed, whatever is beside it."""
    seeds = [melody[:320], melody[4000:4960], melody[9000:9032]]
    for chunk_bytes in (2**20, 0):  # 0: chunks of 8 steps
        monkeypatch.setattr(_loops, "_CHUNK_BYTES", chunk_bytes)
        generator._network._programs._loops.clear()
        together = generator.listen(seeds)
        for index, seed in enumerate(seeds):
            alone = generator.listen(seed)
            np.testing.assert_array_equal(together.frames[index], alone.frames[0])
            for all_states, state in zip(together.states, alone.states, strict=True):
                np.testing.assert_allclose(np.asarray(all_states)[index], np.asarray(state)[0], atol=1e-5)
    assert generator.extend(together, steps=5).shape == (3, 80)


def test_one_memory_for_several_clips(generator, melody):
    memory = generator.listen(melody[:400])
    clips = generator.extend(memory, steps=6, clips=3)
    np.testing.assert_allclose(clips, generator.extend(melody[:400], steps=6, clips=3), atol=1e-5)
    assert clips.shape == (3, 96)
    assert not np.allclose(clips[0], clips[1], atol=1e-3)
    with pytest.raises(ValueError, match=r"A memory of one clip .*Received: clips=2, a memory of 3 clips"):
        generator.extend(generator.listen([melody[:400]] * 3), steps=2, clips=2)


def test_a_memory_that_does_not_fit_is_refused(generator, melody):
    memory = generator.listen(melody[:400])
    for given in ({"history": "full"}, {"history": 3}, {"include_seed": True}):
        with pytest.raises(ValueError, match='A memory goes on by `history="carry"`'):
            generator.extend(memory, steps=2, **given)
    other = gaussian_generator(melody, encoder=gl.MDCT(16), cell="gru", units=(8, 7))
    with pytest.raises(ValueError, match="belongs to the network that listened"):
        other.extend(memory, steps=2)


def test_a_memory_in_place_of_a_seed_is_refused_where_the_seed_itself_is_needed(generator, melody):
    memory = generator.listen(melody[:4000])
    for call in (
        lambda: generator.listen(memory),
        lambda: generator.takes(memory, 2, seconds=0.2),
        lambda: generator.fill(memory, melody, seconds=0.2),
    ):
        with pytest.raises(ValueError, match=r"samples or a path here. Received: a memory. Give the seed"):
            call()
    for call in (
        lambda: generator.extend([memory, memory], seconds=0.2),
        lambda: generator.fill(melody[:4000], memory, seconds=0.2),
    ):
        with pytest.raises(ValueError, match=r"must be an array of mono samples. Received: Memory"):
            call()


def test_a_stream_begins_after_a_few_frames(melody):
    """With an encoder of 256 samples a chunk was 4.1 s of sound, and the first piece came after it."""
    encoder = gl.MDCT(256)
    stack = shaken(gl.recurrent_stack(256, units=(4,), random_seed=0))
    generator = gl.Generator(stack, encoder=encoder, sample_rate=8000)
    taken = []
    run = _loops.Loop.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_loops.Loop, "run", lambda self, steps, *rest: taken.append(steps) or run(self, steps, *rest))
        stream = generator.stream(melody[:4096])
        assert sum(taken) == 0  # nothing is predicted before it is asked for
        first = next(stream)
        assert sum(taken) <= 4
        assert 0 < len(first) <= 4 * 256
        assert len(next(generator.stream(melody[:4096], frames_at_once=1))) <= 256
    with pytest.raises(ValueError, match="`frames_at_once` must be a positive integer"):
        generator.stream(melody[:4096], frames_at_once=0)
