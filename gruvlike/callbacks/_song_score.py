"""The songs of a model in training, judged by measures: a number by which the best model can be chosen."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gruvlike import _checks
from gruvlike._contracts import HoldsWindows
from gruvlike.callbacks._songs import BestEffort, continued, corpus_of
from gruvlike.callbacks._throttle import Throttle
from gruvlike.corpus import Corpus, Track

if TYPE_CHECKING:
    from gruvlike.decoders import Decoder
    from gruvlike.generation import Generator
    from gruvlike.models import AudioModel

logger = logging.getLogger(__name__)

# A measure that is so far from the music that really follows counts as 1.
_TOLERANCES = {"pulse": 0.1, "rhythm": 0.1, "flux": 0.3, "energy_db": 3.0, "timbre_db": 3.0}
_PARTS = ("first", "last")  # halves of a song
_NAMES = tuple(f"{measure}_{part}" for measure in _TOLERANCES for part in _PARTS)
_LEAST_SECONDS = 8.0  # half of such a song is the shortest sound with a pulse
_BAR = 4  # beats
_SILENCE = 1e-6  # RMS
_FLOOR_DB = -80.0  # the level of a band is at least this

Measures = Mapping[str, float]


class HeldOut(NamedTuple):
    """An opening of held-out music.

    Attributes:
        seed: Its samples, (S,).
        beat_seconds: Seconds from beat to beat.
        real: The measures of the music that really follows.
    """

    seed: np.ndarray
    beat_seconds: float
    real: Measures


class SongScore(BestEffort):
    """Continues a few held-out openings every few epochs, and compares the songs with the music that really follows.

    The model at the end of a training is always measured, also within an epoch.

    The loss says how well a model predicts one frame. A model with a lower loss can drift more on its own output, so
    the best model for songs is chosen by songs: `run_callbacks(directory, monitor="val_song_distance")`.

    Openings are spread evenly over the validation music of `fit`. The first and the last half of each song are measured
    apart, against the opening: `pulse`; `rhythm` (the `rhythm_similarity` with the opening, at the beat of the track);
    `flux`; `energy_db` (the level over that of the opening); and `timbre_db` (the distance of the mean log-mel spectrum
    from that of the opening, root mean square over bands). The same is measured once for the music that follows.
    `val_song_distance` in the history is the mean, over openings, measures and halves, of

        |measure of the song - measure of the real music| / tolerance

    with a tolerance of 0.1 for pulse and rhythm, 0.3 dB for flux, and 3 dB for energy and timbre. Lower is better, 0 is
    music with the measures of the real one, and 1 is a tolerance away from it in each. The means over all songs stand
    beside it: `val_song_pulse_first`, `val_song_timbre_db_last` and so on. All are NaN in the epochs between, and where
    measuring failed: that is logged and stops nothing. The numbers that songs are drawn with are the same each time.

    A song has at least 8 s, and an opening as much as the network reads back, or a bar. Where the longest track has
    less than `seed_seconds + seconds`, both are shorter; where it has less than that, a warning says so, and nothing is
    added to the history.

    Args:
        every: Epochs from one measurement to the next.
        openings: How many openings.
        seed_seconds: Length of an opening, at most, unless the network needs more.
        seconds: Length of a song, at most.
        temperature: Of a head that draws; `None`: that of the head.
        leash: As for `Generator.extend`.
        iterations: Of Griffin-Lim, at most, where it is the decoder of the model's encoder: fewer are faster.
        share: Of the time, in (0, 1), that measuring takes at most, where epochs are short; `None` for no bound.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> SongScore(every=10, openings=2).seconds
        16.0
    """

    _product = "song score"

    def __init__(
        self,
        every: int = 5,
        openings: int = 4,
        seed_seconds: float = 8.0,
        seconds: float = 16.0,
        temperature: float | None = None,
        leash: float | None = None,
        iterations: int = 8,
        share: float | None = 0.05,
    ):
        super().__init__()
        self.every = _checks.positive_int("every", every)
        self.openings = _checks.positive_int("openings", openings)
        self.seed_seconds = _checks.number("seed_seconds", seed_seconds, 0, open_low=True)
        self.seconds = _checks.number("seconds", seconds, _LEAST_SECONDS)
        self.temperature = None if temperature is None else _checks.number("temperature", temperature, 0)
        self.leash = None if leash is None else _checks.number("leash", leash, 0, 1)
        self.iterations = _checks.positive_int("iterations", iterations)
        self.share = None if share is None else _checks.number("share", share, 0, 1, open_low=True)
        self._throttle = Throttle(self.share or math.inf)
        self._generator: Generator | None = None
        self._sizes: tuple[int, int] | None = None  # samples of an opening and of a song
        self._openings: list[HeldOut] = []

    def _prepare(self, model: "AudioModel") -> bool:
        """Looks at the model and its validation music, and returns whether songs can be measured."""
        self._generator, self._sizes, self._openings = None, None, []
        self._sizes = self._try(0, lambda: self._choose_sizes(model))
        return self._sizes is not None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Prepares for the model; a run folder has done that before, so an error is not said again."""
        self._prepare(self.model)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Forgets the errors of this `fit`."""
        self._last_error = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measures after every so many epochs, and at the end."""
        if logs is None or self._sizes is None:
            return
        is_last = self.model.stop_training or epoch + 1 == (self.params or {}).get("epochs")
        found: Measures = {}
        if is_last or ((epoch + 1) % self.every == 0 and self._throttle.is_due()):
            with self._throttle.timed():
                found = self._try(epoch + 1, self._measure) or {}
        for name in ("distance", *_NAMES):
            logs[f"val_song_{name}"] = found.get(name, np.nan)

    def _choose_sizes(self, model: "AudioModel") -> tuple[int, int]:
        """Returns the samples of an opening and of a song, as many as the music allows.

        Raises:
            ValueError: If it is too short, or there is none.
        """
        from gruvlike.generation import Generator
        from gruvlike.rhythm._beat import LOW

        corpus = self._music_of(model)
        generator = Generator(model, decoder=_quick(model.encoder.decoder(), self.iterations))
        needed = max(generator.seed_seconds, _BAR * 60 / LOW)
        longest = max(track.seconds for track in corpus)
        seed_seconds = max(needed, self.seed_seconds * min(1.0, longest / (self.seed_seconds + self.seconds)))
        seconds = min(self.seconds, longest - seed_seconds)
        if seconds < _LEAST_SECONDS:
            raise ValueError(
                f"Songs are measured over {_LEAST_SECONDS:g} s, after an opening of {needed:.2f} s. "
                f"Received: the longest validation track has {longest:.2f} s. Hold out more."
            )
        self._generator = generator
        return round(seed_seconds * corpus.sample_rate), int(seconds * corpus.sample_rate)

    def _music_of(self, model: "AudioModel") -> Corpus:
        corpus = corpus_of(model.validation_windows) if isinstance(model, HoldsWindows) else None
        if corpus is None:
            raise ValueError("Songs continue validation music. Received: no windows of a `Corpus` for validation.")
        return corpus

    def _measure(self) -> dict[str, float]:
        """Returns the distance and the means of all measures."""
        if self._generator is None or self._sizes is None:
            raise ValueError("Songs are measured inside `fit`. Received: a callback whose training has not begun.")
        rate = self._generator.sample_rate
        if not self._openings:
            places = _places(self._music_of(self.model), self.openings, sum(self._sizes))
            self._openings = [_opening(*place, *self._sizes) for place in places]
        seeds = [opening.seed for opening in self._openings]
        songs = continued(self._generator, seeds, self._sizes[1] / rate, self.temperature, self.leash)
        pairs = list(zip(songs, self._openings, strict=True))
        found = [song_measures(song, one.seed, rate, one.beat_seconds) for song, one in pairs]
        means = {name: float(np.mean([one[name] for one in found])) for name in _NAMES}
        return {"distance": song_distance(found, [one.real for one in self._openings]), **means}


def song_measures(song: np.ndarray, seed: np.ndarray, sample_rate: int, beat_seconds: float) -> dict[str, float]:
    """Returns the measures of both halves of a song, or of the music that really follows a seed.

    Args:
        song: Samples (S,), eight seconds or longer.
        seed: Samples (S,) before it, a bar or longer.
        sample_rate: In Hz.
        beat_seconds: Seconds from beat to beat.
    """
    from gruvlike import metrics
    from gruvlike.metrics._levels import rms

    pattern, spectrum = metrics.rhythm_pattern(seed, sample_rate, beat_seconds), _mean_spectrum(seed, sample_rate)
    half = len(song) // 2
    found: dict[str, float] = {}
    for part, start in zip(_PARTS, (0, half), strict=True):
        piece = song[start : start + half]
        place = (len(seed) + start) / sample_rate
        own = metrics.rhythm_pattern(piece, sample_rate, beat_seconds, start_seconds=place)
        level = max(rms(piece), _SILENCE) / max(rms(seed), _SILENCE)
        found |= {
            f"pulse_{part}": metrics.pulse(piece, sample_rate),
            f"rhythm_{part}": metrics.rhythm_similarity(own, pattern),
            f"flux_{part}": metrics.flux(piece, sample_rate),
            f"energy_db_{part}": float(20 * np.log10(level)),
            f"timbre_db_{part}": rms(_mean_spectrum(piece, sample_rate) - spectrum),
        }
    return found


def song_distance(songs: Sequence[Measures], real: Sequence[Measures]) -> float:
    """Returns the mean difference of the measures of songs and of real music, in tolerances.

    Example:
        >>> close = dict.fromkeys(_NAMES, 0.5)
        >>> song_distance([close], [close]), song_distance([{**close, "pulse_last": 1.5}], [close])
        (0.0, 1.0)
    """
    return float(
        np.mean(
            [
                abs(one[name] - other[name]) / _TOLERANCES[name.rpartition("_")[0]]
                for one, other in zip(songs, real, strict=True)
                for name in _NAMES
            ]
        )
    )


def _mean_spectrum(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Returns the mean of the log-mel spectrum, in dB, of each band."""
    from gruvlike.metrics._spectra import log_mel

    return np.maximum(log_mel(samples, sample_rate), _FLOOR_DB).mean(axis=0)


def _quick(decoder: "Decoder", iterations: int) -> "Decoder":
    """Returns the decoder; Griffin-Lim with `iterations` at most."""
    from gruvlike.decoders import GriffinLim

    if not isinstance(decoder, GriffinLim):
        return decoder
    return GriffinLim(decoder.encoder, min(iterations, decoder.iterations), decoder.momentum, decoder.random_seed)


def _places(tracks: Corpus, count: int, size: int) -> list[tuple[Track, int]]:
    """Returns `count` places for an excerpt, spread evenly over all music: (track, first sample)."""
    ends = np.cumsum([max(0, len(track) - size + 1) for track in tracks])
    found = []
    for position in ((np.arange(count) + 0.5) / count * ends[-1]).astype(int):
        index = int(np.searchsorted(ends, position, side="right"))
        found.append((tracks[index], int(position - (ends[index - 1] if index else 0))))
    return found


def _opening(track: Track, start: int, seed_size: int, song_size: int) -> HeldOut:
    """Returns the opening at a place of a track, and measures the music after it."""
    from gruvlike import rhythm

    samples, rate = track.samples(start, start + seed_size + song_size), track.sample_rate
    seed, rest = samples[:seed_size], samples[seed_size:]
    beat = (track.beat or rhythm.tempo(samples, rate)).beat_seconds
    while _BAR * beat * rate > min(seed_size, song_size // 2):  # a tempo that was given by hand can be slow
        beat /= 2
    return HeldOut(seed, beat, song_measures(rest, seed, rate, beat))
