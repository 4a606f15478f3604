"""Pictures of sound and of training: each function draws on matplotlib axes and returns the axes or the figure.

pyplot is not used, so the functions work without a display and in threads. Save with `axes.figure.savefig("x.png")`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gruvlike import _checks

_INK, _SEED, _SONG, _FREE = "#333344", "#3b6ea8", "#c8553d", "#6a8f4e"
_COLUMNS = 2000  # columns of a waveform or spectrogram: more than its width in pixels
_DB = 80.0  # range of a spectrogram
_MEASURED = "val_free_running_"  # name of a free-running loss, before its horizon


def waveform(samples: np.ndarray, sample_rate: int, ax: Axes | None = None, color: str = _SEED) -> Axes:
    """Waveform: the lowest and the highest sample in each column of the picture, so that no peak is lost.

    Args:
        samples: Samples of shape (S,).
        sample_rate: Samples a second.
        ax: Axes to draw on. None makes a figure.
        color: Any matplotlib color.

    Returns:
        The axes: seconds across, amplitude up.

    Raises:
        ValueError: If the samples are not mono, finite and not empty.

    Example:
        >>> import gruvlike as gl
        >>> axes = gl.plots.waveform(gl.tune.compose(2), 16_000)
        >>> axes.get_xlabel()
        'seconds'
    """
    samples = _checks.mono("samples", samples)
    sample_rate = _checks.positive_int("sample_rate", sample_rate)
    ax = ax or _axes((10, 2.5))
    starts = np.unique(np.linspace(0, samples.size, _COLUMNS + 1).astype(int)[:-1])
    low, high = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    ax.fill_between(starts / sample_rate, low, high, color=color, linewidth=0.6, alpha=0.9)
    ax.set(xlim=(0, samples.size / sample_rate), ylim=(-1.05, 1.05), xlabel="seconds", ylabel="amplitude")
    _tidy(ax)
    return ax


def spectrogram(samples: np.ndarray, sample_rate: int, ax: Axes | None = None) -> Axes:
    """Mel spectrogram in decibels below its loudest point.

    Args:
        samples: Samples of shape (S,).
        sample_rate: Samples a second.
        ax: Axes to draw on. None makes a figure.

    Returns:
        The axes: seconds across, frequency on the mel scale up; `axes.images[0]` holds the levels.

    Raises:
        ValueError: If the samples are not mono, finite and not empty.

    Example:
        >>> import gruvlike as gl
        >>> axes = gl.plots.spectrogram(gl.tune.compose(2), 16_000)
        >>> axes.figure.savefig("spectrogram.png")  # doctest: +SKIP
    """
    samples = _checks.mono("samples", samples)
    sample_rate = _checks.positive_int("sample_rate", sample_rate)
    ax = ax or _axes((10, 3.5))
    levels, mels = _mel_levels(samples, sample_rate)
    seconds = samples.size / sample_rate
    ax.imshow(
        levels, origin="lower", aspect="auto", cmap="magma", vmin=-_DB, vmax=0, extent=(0, seconds, mels[0], mels[-1])
    )
    ticks = [hz for hz in (250, 500, 1000, 2000, 4000, 8000, 16_000) if hz <= sample_rate / 2]
    ax.set(xlabel="seconds", ylabel="Hz")
    ax.set_yticks(_mel(np.array(ticks, dtype=float)), [f"{hz:,}".replace(",", " ") for hz in ticks])
    _tidy(ax)
    return ax


def learning_curves(
    history: Mapping[str, Sequence[float]], baselines: Mapping[str, float] | None = None, ax: Axes | None = None
) -> Axes:
    """Learning curves: the training and validation loss by epoch, beside the baselines that they have to beat.

    Args:
        history: Name -> one value an epoch, such as `model.fit(...).history`. If it holds losses relative to
            predicting the mean (an `AudioModel` reports them), those are drawn, and beside them the free-running loss
            whose horizon is nearest to ten frames. If not, the plain losses are drawn.
        baselines: Name -> loss of a trivial predictor on the same windows, drawn as horizontal lines.
        ax: Axes to draw on. None makes a figure.

    Returns:
        The axes: epochs across, loss up.

    Raises:
        ValueError: If there is no loss in the history.

    Example:
        >>> import gruvlike as gl
        >>> history = {"loss": [1.0, 0.7, 0.6], "val_loss": [1.1, 0.9, 0.95]}
        >>> axes = gl.plots.learning_curves(history, baselines={"predicting the mean": 1.0})
        >>> [text.get_text() for text in axes.get_legend().get_texts()]
        ['training', 'validation', 'predicting the mean (1.00)']
    """
    prefix = "relative_" if "relative_loss" in history else ""
    names = {f"{prefix}loss": ("training", _SEED), f"val_{prefix}loss": ("validation", _SONG)}
    losses = {name: np.asarray(history[name], float) for name in names if name in history}
    if not any(values.size for values in losses.values()):
        raise ValueError(f"`history` must hold at least one epoch of a loss. Received: {dict(history)!r}.")
    ax = ax or _axes((8, 4.5))
    for name, values in losses.items():
        label, color = names[name]
        mark = "." if values.size < 60 else None
        ax.plot(np.arange(1, values.size + 1), values, label=label, color=color, marker=mark, markersize=5)
    held_out = losses.get(f"val_{prefix}loss", np.zeros(0))
    if np.isfinite(held_out).any():
        best = int(np.nanargmin(held_out))
        ax.plot(best + 1, held_out[best], "o", color=_SONG, markersize=8, fillstyle="none")
    for (name, value), style in zip((baselines or {}).items(), ("--", ":", "-.") * 10, strict=False):
        ax.axhline(value, color="0.45", linestyle=style, linewidth=1.2, label=f"{name} ({value:.2f})")
    if prefix:
        _free_running(ax, history)
    ax.set(xlabel="epoch", ylabel="loss (1 = predicting the mean)" if prefix else "loss")
    ax.set_ylim(bottom=0)
    ax.locator_params(axis="x", integer=True)
    ax.legend(frameon=False)
    ax.grid(alpha=0.25)
    _tidy(ax)
    return ax


def _free_running(ax: Axes, history: Mapping[str, Sequence[float]]) -> None:
    """Draws the free-running loss of the horizon nearest to ten frames, at the epochs in which it was measured.

    The vertical axis ends at twice the largest of the other losses or below: a free-running loss far above them is cut
    off, so that the others stay readable.
    """
    horizon = _horizon(history)
    losses = np.asarray(history[f"{_MEASURED}{horizon}"], float) if horizon else np.zeros(0)
    measured = np.flatnonzero(np.isfinite(losses))
    if not measured.size:
        return
    shown = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines])
    top = 2 * max([1.0, *shown[np.isfinite(shown)]])
    label = f"free-running, frame {horizon} (last {losses[measured[-1]]:.2f})"
    ax.plot(measured + 1, losses[measured], label=label, color=_FREE, marker="^", markersize=5, linewidth=1)
    ax.set_ylim(0, min(top, ax.get_ylim()[1]))


def _horizon(names: Iterable[str]) -> int:
    """Returns the horizon nearest to ten frames of the free-running losses among `names`; 0 if there is none."""
    horizons = [int(name.removeprefix(_MEASURED)) for name in names if name.startswith(_MEASURED)]
    return min(horizons, key=lambda one: abs(one - 10), default=0)


def seed_and_song(seed: np.ndarray, song: np.ndarray, sample_rate: int, title: str | None = None) -> Figure:
    """Seed and song, one after the other, as waveform and spectrogram with the join marked.

    Args:
        seed: Samples of shape (S,) that the song was continued from.
        song: Samples of shape (S',) that follow the seed.
        sample_rate: Samples a second of both.
        title: Title of the picture.

    Returns:
        A figure with two axes, the waveform above the spectrogram.

    Raises:
        ValueError: If the samples are not mono, finite and not empty.

    Example:
        >>> import gruvlike as gl
        >>> tune = gl.tune.compose(3)
        >>> figure = gl.plots.seed_and_song(tune[:16_000], tune[16_000:], 16_000)
        >>> len(figure.axes)
        2
    """
    seed, song = _checks.mono("seed", seed), _checks.mono("song", song)
    join, both = seed.size / _checks.positive_int("sample_rate", sample_rate), np.concatenate([seed, song])
    figure = Figure(figsize=(11, 5.5), layout="constrained", dpi=120)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.7))
    waveform(both, sample_rate, above, color=_SONG)
    # The seed is drawn again in its own color, over the first part of both.
    waveform(seed, sample_rate, above)
    spectrogram(both, sample_rate, below)
    above.set(xlabel="", xlim=(0, both.size / sample_rate))
    above.axvline(join, color=_INK, linewidth=1.2)
    below.axvline(join, color="white", linewidth=1.2, linestyle="--")
    middle = ((join / 2, "seed", _SEED), (join + song.size / sample_rate / 2, "song", _SONG))
    for x, text, color in middle:
        above.annotate(text, (x, 1.02), xycoords=("data", "axes fraction"), ha="center", color=color, weight="bold")
    if title:
        figure.suptitle(title)
    return figure


def _axes(size: tuple[float, float]) -> Axes:
    return Figure(figsize=size, layout="constrained", dpi=120).subplots()


def _tidy(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(colors=_INK)


def _mel(hz: np.ndarray) -> np.ndarray:
    import librosa

    return librosa.hz_to_mel(hz)


def _mel_levels(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the levels (bands, columns) in dB below the loudest point, and the mels at the borders of the bands."""
    import librosa

    frame_size = 2 ** int(np.ceil(np.log2(max(sample_rate / 10, 64))))
    padded: Any = np.pad(samples, (0, max(0, frame_size - samples.size)))
    hop = max(1, frame_size // 8, samples.size // _COLUMNS)
    power = np.abs(librosa.stft(padded, n_fft=frame_size, hop_length=hop)) ** 2
    bands = librosa.filters.mel(sr=sample_rate, n_fft=frame_size, n_mels=96)
    levels = bands @ power[:, : -(-samples.size // hop) + 1]
    loudest = max(float(levels.max()), 1e-10)
    levels = np.maximum(10 * np.log10(np.maximum(levels / loudest, 1e-12)), -_DB)
    return levels, np.linspace(_mel(np.array(0.0)), _mel(np.array(sample_rate / 2)), 97)
