"""Songs from a network of 2015: its frames as the old program made them, or a model of today with the same sound."""

import keras
import numpy as np

from gruvlike._checks import choice, positive_int
from gruvlike.encoders import BlockDFT, TimeBlocks
from gruvlike.generation import Generator
from gruvlike.gruv2015._data import FULL_SCALE
from gruvlike.models import AudioModel
from gruvlike.normalizers import Standardizer


def generate(
    network: keras.Model, seed: np.ndarray, steps: int, mean: np.ndarray, std: np.ndarray, *, history: str = "carry"
) -> np.ndarray:
    """Continues a seed as the program of 2015 did: each prediction is the next input.

    The result begins with T - 1 frames that the network predicts while it reads the seed, its reconstruction of the
    seed. The song itself is the last `steps` frames.

    Args:
        network: A network made by `network` or `load_network`.
        seed: Standardized frames of shape (1, T, F) or (T, F): one window of `Prepared.x`.
        steps: Number of new frames.
        mean: Mean of each feature, of shape (F,), from `prepare`.
        std: Standard deviation of each feature, of shape (F,), from `prepare`.
        history: "carry" keeps the state between steps and takes linear time. "full" feeds the whole past again at every
            step, as the program of 2015 did, and takes quadratic time. The results are equal.

    Returns:
        Un-standardized float32 frames of shape (T + steps - 1, F), for `to_samples`.

    Raises:
        ValueError: If shapes do not fit the network, `steps` is no positive integer, `history` is unknown, or the
            state of a layer cannot be carried.

    Example:
        >>> from gruvlike import gruv2015
        >>> model = gruv2015.network(features=8, hidden=4, random_seed=0)
        >>> seed = np.random.default_rng(0).normal(size=(1, 6, 8))
        >>> frames = gruv2015.generate(model, seed, steps=10, mean=np.zeros(8), std=np.ones(8))
        >>> frames.shape, gruv2015.to_samples(frames[-10:]).shape
        ((15, 8), (40,))
    """
    steps = positive_int("steps", steps)
    choice("history", history, ("carry", "full"))
    seed = np.asarray(seed, dtype=np.float32)
    features = network.input_shape[-1]
    seed = seed[None] if seed.ndim == 2 else seed
    if seed.ndim != 3 or seed.shape[0] != 1 or not seed.shape[1] or seed.shape[2] != features:
        raise ValueError(
            f"`seed` must have shape (1, T, {features}) or (T, {features}), T > 0. Received: shape={seed.shape}."
        )
    mean, std = _check_statistics(mean, std, features)
    # `TimeBlocks` treats the frames as blocks of samples, so `Generator` returns the frames of the song unchanged.
    generator = Generator(network, encoder=TimeBlocks(features), sample_rate=1)
    song = generator.extend(seed.reshape(-1), steps=steps, history=history).reshape(steps, features)
    frames = np.concatenate([network.predict_on_batch(seed)[0, :-1], song])
    return (frames * std + mean).astype(np.float32)


def _check_statistics(mean: np.ndarray, std: np.ndarray, features: int) -> tuple[np.ndarray, np.ndarray]:
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    if mean.shape != (features,) or std.shape != (features,) or not np.isfinite([mean, std]).all() or std.min() <= 0:
        raise ValueError(
            f"`mean` and `std` must be finite, of shape ({features},) like the network's frames, and `std` positive. "
            f"Received: shapes {mean.shape} and {std.shape}. Use those of `prepare` with the same block size."
        )
    return mean, std


def to_audio_model(
    network: keras.Model, mean: np.ndarray, std: np.ndarray, sample_rate: int, time_domain: bool = False
) -> AudioModel:
    """Makes an `AudioModel` from an old network, for `Generator`, for more training, and to save in one `.keras` file.

    Args:
        network: A network made by `network` or `load_network`.
        mean: Mean of each feature, of shape (F,), from `prepare` of the music that the network learned from.
        std: Standard deviation of each feature, of shape (F,). In 2015 its file was called `_var`, but it does not hold
            the variance.
        sample_rate: Sample rate of that music, in Hz. In 2015 it was not stored.
        time_domain: Whether the network's frames are the samples themselves.

    Returns:
        An `AudioModel` that makes the same sound.

    Raises:
        ValueError: If the statistics do not fit the network, or `sample_rate` is no positive integer.

    Example:
        >>> from gruvlike import gruv2015
        >>> network = gruv2015.network(features=8, hidden=4)
        >>> model = gruv2015.to_audio_model(network, np.zeros(8), np.ones(8), sample_rate=8000)
        >>> model.encoder.block_size, model.sample_rate
        (4, 8000)
    """
    features = network.input_shape[-1]
    if features % 2 and not time_domain:
        raise ValueError(f"A frame of real and imaginary parts has even F. Received: F={features}. Set time_domain.")
    # PCM was divided by 32767 then and is divided by 32768 now, so frames of the same sound are smaller by this factor.
    scale = FULL_SCALE / 32768
    mean, std = (scale * statistic for statistic in _check_statistics(mean, std, features))
    encoder = TimeBlocks(features) if time_domain else BlockDFT(features // 2)
    return AudioModel(encoder, Standardizer(mean=mean, std=std), network, sample_rate=sample_rate)
