"""A user's script with types: from music to a song, with an encoder, a normalizer and a callback of the user's own.

`make lint` has mypy check it in strict mode: the types that it asserts are those that checkers and editors see.
`test_consumer.py` runs it.
"""

from pathlib import Path
from typing import Any, assert_type

import keras
import numpy as np

import gruvlike as gl
from gruvlike.normalizers import Affine, Statistics


@keras.saving.register_keras_serializable(package="consumer")
class Backwards(gl.Encoder):
    """Blocks of samples, the last sample first."""

    def __init__(self, block_size: int, **kwargs: object) -> None:
        super().__init__(features=block_size, frame_size=block_size, hop=block_size, **kwargs)
        self.block_size = block_size

    def analyze(self, pieces: Any, xp: Any) -> Any:
        return xp.flip(pieces, axis=-1)

    def synthesize(self, frames: Any, xp: Any) -> Any:
        return xp.flip(frames, axis=-1)


@keras.saving.register_keras_serializable(package="consumer")
class Halves(Affine):
    """Scales by the half of the standard deviation."""

    def choose(self, statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
        assert_type(statistics.mean, np.ndarray)
        return statistics.mean, np.sqrt(statistics.variance) / 2


class Epochs(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Counts epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.count += 1


def compose(folder: Path, units: int = 300, steps: int = 40, epochs: int = 50) -> np.ndarray:
    """Learns the music of a folder and continues an excerpt of it."""
    corpus = gl.Corpus.build(folder, folder / "music.h5", sample_rate=16_000)
    assert_type(corpus, gl.Corpus)
    train, validation = corpus.split(validation=0.1)
    assert_type(train, gl.Corpus)

    encoder = Backwards(block_size=100)
    seed = validation.excerpt(seconds=0.1, random_seed=0)
    assert_type(seed, np.ndarray)
    assert_type(encoder.encode(seed), np.ndarray)
    assert_type(encoder.span(2), int)
    normalizer = Halves().fit(train, encoder)
    assert_type(normalizer, Halves)
    stack = gl.recurrent_stack(encoder.features, units=(units,))

    model = gl.AudioModel(encoder, normalizer, stack, sample_rate=corpus.sample_rate)
    model.compile("adam")
    windows = train.windows(encoder, steps=steps)
    assert_type(windows, gl.Windows)
    counter = Epochs()
    model.fit(windows, epochs=epochs, callbacks=[counter, gl.callbacks.TimeLimit(minutes=60)], verbose=0)
    assert_type(counter.count, int)
    model.save(folder / "run.keras")

    loaded = gl.load(folder / "run.keras")
    assert_type(loaded, gl.AudioModel)
    generator = gl.Generator(loaded)
    song = generator.extend(seed, seconds=0.1)
    assert_type(song, np.ndarray)
    assert_type(generator.sample_rate, int)
    gl.audio.write(folder / "song.wav", song, generator.sample_rate)
    assert_type(gl.audio.read(folder / "song.wav", 16_000), np.ndarray)
    return song
