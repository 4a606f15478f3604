"""Small parts that several tests need: models of some neurons, and parts made as a user makes their own."""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

import gruvlike as gl


def shaken(stack, random_seed=0, by=0.2):
    """Gives a stack weights large enough for its past to matter, small enough for rounding not to grow into chaos."""
    rng = np.random.default_rng(random_seed)
    stack.set_weights([weight + by * rng.standard_normal(weight.shape) for weight in stack.get_weights()])
    return stack


@keras.saving.register_keras_serializable(package="tests")
class Gaussian(gl.heads.Head):
    """A mean and the logarithm of a deviation for each number of a frame: a head as a user would write it."""

    def outputs(self, width):
        return 2 * width

    def draws(self, width):
        return width

    def loss(self, target, output):
        mean, log_std = ops.split(output, 2, axis=-1)
        log_std = ops.clip(log_std, -4.0, 2.0)
        return ops.mean(0.5 * ops.square((target - mean) / ops.exp(log_std)) + log_std, axis=-1)

    def mean(self, output):
        return ops.split(output, 2, axis=-1)[0]

    def sample(self, output, noise, temperature):
        mean, log_std = ops.split(output, 2, axis=-1)
        normal = np.sqrt(2.0).astype("float32") * ops.erfinv(2.0 * noise - 1.0)
        return mean + temperature * ops.exp(ops.clip(log_std, -4.0, 2.0)) * normal


def gaussian_generator(music, encoder=None, sample_rate=8000, **options):
    """A generator that draws its frames."""
    encoder = encoder or gl.BlockDFT(16)
    normalizer = gl.Standardizer().fit(music, encoder)
    head = Gaussian()
    options = {"units": (8,), "random_seed": 0, **options}
    stack = shaken(gl.recurrent_stack(encoder.features, head=head, **options))
    return gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=sample_rate, head=head)


class Loudness(gl.Encoder):
    """The level of each of four parts of a block, without the waveform: an encoder that cannot be inverted."""

    invertible = False

    def __init__(self, block_size, **kwargs):
        super().__init__(features=4, frame_size=block_size, hop=block_size, **kwargs)
        self.block_size = block_size

    def analyze(self, pieces, xp):
        parts = xp.reshape(pieces, (*xp.shape(pieces)[:2], 4, self.block_size // 4))
        return xp.sqrt(xp.mean(parts * parts, axis=-1) + 1e-6)

    def synthesize(self, frames, xp):
        """A buzz of that level: half of the samples up, half down."""
        signs = np.tile(np.array([1.0, -1.0], "float32"), self.block_size // 8)
        parts = xp.multiply(frames[..., None], signs)
        return xp.reshape(parts, (*xp.shape(frames)[:2], self.block_size))


class OverlappingLoudness(Loudness):
    """The same with blocks that overlap by half, of which each adds half."""

    def __init__(self, block_size, **kwargs):
        gl.Encoder.__init__(self, features=4, frame_size=block_size, hop=block_size // 2, **kwargs)
        self.block_size = block_size

    def synthesize(self, frames, xp):
        return 0.5 * super().synthesize(frames, xp)


@keras.saving.register_keras_serializable(package="tests")
class Projection(gl.Normalizer):
    """Frames around their mean, along a few orthonormal directions that `random_seed` decides."""

    def __init__(self, features=None, width=6, random_seed=0, **kwargs):
        super().__init__(features, width, **kwargs)
        self.random_seed = random_seed
        self.mean = self.directions = None
        if features is not None:
            self._make_weights(features)

    def fit(self, music, encoder):
        statistics = gl.normalizers.measure(music, encoder)
        if self.features is None:
            self._make_weights(encoder.features)
        random = np.random.default_rng(self.random_seed).normal(size=(self.features, self.width))
        self.mean.assign(statistics.mean.astype("float32"))
        self.directions.assign(np.linalg.qr(random)[0].astype("float32"))
        return self

    @property
    def center(self):
        self._require_fitted()
        return keras.ops.zeros((self.width,), "float32")

    def normalize(self, frames, xp):
        return xp.matmul(frames - xp.convert_to_tensor(self.mean), xp.convert_to_tensor(self.directions))

    def restore(self, frames, xp):
        back = xp.transpose(xp.convert_to_tensor(self.directions))
        return xp.matmul(frames, back) + xp.convert_to_tensor(self.mean)

    def _make_weights(self, features):
        self.features = features
        self.mean = self.add_statistic("mean", (features,))
        self.directions = self.add_statistic("directions", (features, self.width))


@dataclass
class Piece:
    """A `gruvlike._contracts.Track`."""

    name: str
    pcm: np.ndarray
    sample_rate: int = 8000

    def __len__(self):
        return len(self.pcm)


class Pieces(list):
    """A `gruvlike._contracts.Music`: a list of pieces."""

    sample_rate, high_pass_hz = 8000, None
