"""The networks of the benchmarks, the cost of their steps, and sound for them."""

import functools
from typing import Any, NamedTuple

import numpy as np


class Network(NamedTuple):
    """An encoder, a stack, and the batch that it is trained with. `encoder` names a class of gruvlike."""

    name: str
    encoder: str
    block_size: int
    units: tuple[int, ...]
    projection: int | None = None
    batch_size: int = 32
    steps: int = 40
    sample_rate: int = 16_000

    def make_encoder(self) -> Any:
        """The encoder."""
        import gruvlike as gl

        return getattr(gl, self.encoder)(block_size=self.block_size)

    def make_stack(self) -> Any:
        """The stack, always with the same weights."""
        import gruvlike as gl

        features = self.make_encoder().features
        return gl.recurrent_stack(features, units=self.units, projection=self.projection, random_seed=0)

    def make_model(self, jit_compile: bool | str = "auto") -> Any:
        """The model, compiled to train on PCM."""
        import gruvlike as gl

        parts = self.make_encoder(), self.make_normalizer(), self.make_stack()
        model = gl.AudioModel(*parts, sample_rate=self.sample_rate)
        model.compile("adam", jit_compile=jit_compile)
        return model

    def make_normalizer(self) -> Any:
        """The normalizer, with the statistics of `pcm()`; by the backend, so that the host needs no scipy."""
        import gruvlike as gl

        frames = self._encoded()
        return gl.Standardizer(mean=frames.mean((0, 1)), std=frames.std((0, 1)))

    def frames(self) -> np.ndarray:
        """Returns the normalized frames of `pcm()`, (B, T + 1, F), as a model computes them itself."""
        return self.make_normalizer()(self._encoded())

    def _encoded(self) -> np.ndarray:
        import keras

        pcm = keras.ops.convert_to_tensor(self.pcm())
        return keras.ops.convert_to_numpy(self.make_encoder().encode(pcm, padded=False))

    def pcm(self) -> np.ndarray:
        """A batch of windows of noise, int16 (B, span)."""
        shape = self.batch_size, self.make_encoder().span(self.steps + 1)
        return np.random.default_rng(0).integers(-3000, 3000, shape, dtype=np.int16)

    def seconds(self) -> float:
        """Seconds of sound that a training step predicts."""
        return self.batch_size * self.steps * self.make_encoder().hop / self.sample_rate

    def gflop(self) -> float:
        """Returns the operations (10^9) of the matrix products of a training step.

        Each weight takes two per frame for the forward pass, two for its own gradient and two for the gradient of its
        input. The first layer needs no gradient of its input.
        """
        first = int(np.prod(next(shape for shape in _shapes(self) if len(shape) == 2)))
        return 3 * self.gflop_forward() - 2 * first * self.batch_size * self.steps / 1e9

    def gflop_forward(self) -> float:
        """Returns the operations (10^9) of the forward pass alone."""
        weights = sum(int(np.prod(shape)) for shape in _shapes(self) if len(shape) == 2)
        return 2 * weights * self.batch_size * self.steps / 1e9

    def parameters(self) -> int:
        """How many numbers the stack learns."""
        return sum(int(np.prod(shape)) for shape in _shapes(self))


@functools.cache
def _shapes(network: Network) -> list[tuple[int, ...]]:
    return [tuple(w.shape) for layer in network.make_stack().layers for w in layer.trainable_weights]


PAPER = Network("2015: 1024, projection, F = 22050", "BlockDFT", 11_025, (1024,), 1024, 5, 40, 44_100)
HALF = PAPER._replace(name="the same, half spectrum, F = 11025", encoder="HalfDFT")
BLOG = Network("3 x 300, F = 8000", "BlockDFT", 4000, (300, 300, 300))
LAPPED = Network("2 x 512, MDCT, F = 256", "MDCT", 256, (512, 512), steps=200)
SMALL = Network("2 x 300, MDCT, F = 256", "MDCT", 256, (300, 300), steps=200)
