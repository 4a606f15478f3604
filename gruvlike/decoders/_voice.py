"""The sound of one clip as unit selection makes it: grains are chosen, joined, and made as loud as the frames."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from gruvlike._arrays import scipy_fft
from gruvlike.decoders._grains import GrainEncoder, Grains, edges_of, loudness
from gruvlike.decoders._pieces import overlap_added

FOLLOWED = 16  # bands whose loudness is corrected
MOST = float(np.log(4.0))  # no correction is larger: 12 dB
TINY = 1e-6


class Chooser:
    """Finds grains for frames, and sound for grains.

    Args:
        encoder: Of the frames.
        grains: The music.
        size: Frames from grain to grain.
        neighbors: How many of the nearest grains are weighed.
        continuity: The weight of a join that fits.
    """

    def __init__(self, encoder: GrainEncoder, grains: Grains, size: int, neighbors: int, continuity: float):
        self.encoder, self.grains, self.size = encoder, grains, size
        self.advance = size * encoder.hop
        self.neighbors, self.continuity = min(neighbors, len(grains.starts)), continuity

    def chosen(self, frames: np.ndarray, last: int | None) -> list[int]:
        """Returns the first frames of n grains for frames (n * size + 1, F); `last` is that of the grain before."""
        numbers, chosen = self.grains.numbers, []
        wanted = sliding_window_view(self.grains.numbers_of(frames), self.size + 1, axis=0)[:: self.size]
        wanted = wanted.transpose(0, 2, 1)
        nearest = self.grains.nearest(wanted, self.neighbors)
        for goal, found in zip(wanted, nearest, strict=True):
            going_on = None if last is None else last + self.size
            if going_on is not None and going_on + self.size < len(numbers):
                found = np.append(found, going_on)
            costs = ((numbers[found[:, None] + np.arange(self.size + 1)] - goal) ** 2).sum(axis=(1, 2))
            if going_on is not None:
                ends = numbers[np.minimum(going_on + np.arange(2), len(numbers) - 1)]
                joins = ((numbers[found[:, None] + np.arange(2)] - ends) ** 2).sum(axis=(1, 2))
                costs = costs + 0.5 * self.continuity * (self.size + 1) * joins
            last = int(found[np.argmin(costs)])
            chosen.append(last)
        return chosen

    def joined(self, raw: np.ndarray, offset: int, start: int, place: int | None) -> tuple[np.ndarray, int]:
        """Returns sound with one more grain, and the place of the grain in the music.

        Args:
            raw: Sound so far, up to three quarters of a frame beyond `offset` or more; or nothing.
            offset: Where in `raw` the first frame of the grain begins.
            start: The first frame of the grain.
            place: Where in the music its first sample is known to be, or `None`: near that of the frame.
        """
        size, samples = self.encoder.frame_size, self.grains.samples
        quarter, length = size // 4, self.advance + size
        nominal = int(self.grains.places[start])
        if not len(raw):
            return samples[nominal : nominal + length], nominal
        tail = raw[offset + quarter : offset + quarter + size // 2]
        if place is None:
            lowest = max(0, nominal - self.encoder.hop // 2)
            around = samples[lowest + quarter :][: len(tail) + self.encoder.hop]
            likeness = np.correlate(around, tail, "valid")
            energy = np.cumsum(np.append(0, np.square(around, dtype="float64")))
            energy = energy[len(tail) :] - energy[: -len(tail)]
            place = lowest + int(np.argmax(likeness / np.sqrt(np.maximum(energy, 0) + TINY)))
        grain = samples[place + quarter : place + length]
        grain = np.pad(grain, (0, length - quarter - len(grain)))
        rising = np.sin(np.linspace(0, np.pi / 2, len(tail), dtype="float32")) ** 2
        faded = tail * (1 - rising) + grain[: len(tail)] * rising
        return np.concatenate([raw[: offset + quarter], faded, grain[len(tail) :]]), place


class Follower:
    """Draws the loudness of sound in bands to that of frames.

    Args:
        encoder: Of the frames.
        share: Of the difference that is corrected.
    """

    def __init__(self, encoder: GrainEncoder, share: float):
        self.encoder, self.share = encoder, share
        bins = np.arange(encoder.frame_size // 2 + 1)
        self.edges = edges_of(FOLLOWED, len(bins))
        middles = 0.5 * (self.edges + np.append(self.edges[1:], len(bins)) - 1)
        self._spread = np.stack([np.interp(bins, middles, row) for row in np.eye(len(middles))]).astype("float32")
        window = encoder.analysis_window**2
        self._cover = np.pad(window, (0, -len(window) % encoder.hop)).reshape(-1, encoder.hop).sum(axis=0)

    def corrected(self, raw: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Returns the frames of sound (T, frame_size), windowed twice; rows of `wanted` (T, D) may be NaN: none."""
        size, window = self.encoder.frame_size, self.encoder.analysis_window
        pieces = sliding_window_view(raw, size)[:: self.encoder.hop][: len(wanted)]
        spectra = scipy_fft().rfft(pieces * window)
        gains = self.share * (wanted - loudness(np.abs(spectra), self.edges))
        gains = np.clip(np.nan_to_num(gains), -MOST, MOST).astype("float32")
        spectra *= np.exp(gains @ self._spread)
        return scipy_fft().irfft(spectra, size) * window

    def leveled(self, hops: np.ndarray) -> np.ndarray:
        """Returns samples, a whole number of hops, without the sum of the squared windows that they were added with."""
        return (hops.reshape(-1, self.encoder.hop) / self._cover).reshape(-1)


class Voice:
    """The growing sound of one clip.

    Args:
        chooser: Finds the grains.
        follower: Corrects the loudness.
        context: How many frames wait until their sound is complete, and are known with a seed.
        seed: Samples under the first `context` frames, or `None`.
    """

    def __init__(self, chooser: Chooser, follower: Follower, context: int, seed: np.ndarray | None):
        self.chooser, self.follower, self.context = chooser, follower, context
        encoder, known = chooser.encoder, 0 if seed is None else context
        self.frames: np.ndarray | None = None  # these frames have no grain yet
        self.raw = np.zeros(0, "float32") if seed is None else seed[: encoder.span(context)].astype("float32")
        self.offset = known * encoder.hop  # the next grain begins there in `raw`
        self.last: int | None = None  # the last grain begins with this frame
        self.place = 0  # the last grain lies there in the music
        # The frames of `raw` should get this loudness in bands.
        self.wanted = np.full((known, len(follower.edges)), np.nan)
        self.carry = np.zeros(encoder.lap, "float32")  # corrected frames reach into the next one with these samples
        self.known, self.dropped = known, encoder.lap

    def add(self, frames: np.ndarray) -> np.ndarray:
        """Takes frames (T, F) and returns the samples that are complete."""
        skipped = min(self.known, len(frames))
        self.known, frames = self.known - skipped, frames[skipped:]
        self.frames = frames if self.frames is None else np.concatenate([self.frames, frames])
        self._choose(max(0, len(self.frames) - 1) // self.chooser.size)
        return self._speak(max(0, len(self.wanted) - self.context))

    def end(self) -> np.ndarray:
        """Returns the samples that are left."""
        left = 0 if self.frames is None else len(self.frames)
        if self.frames is not None and left:
            size = self.chooser.size
            count = max(-(-(left - 1) // size), 1 if self.last is None else 0)
            short = count * size + 1 - left
            self.frames = np.concatenate([self.frames, np.repeat(self.frames[-1:], short, axis=0)])
            self._choose(count)
            magnitudes = self.chooser.encoder.magnitudes(self.frames[None])[0]
            self.wanted = np.concatenate([self.wanted, loudness(magnitudes, self.follower.edges)])
            self.wanted = self.wanted[: len(self.wanted) - short]
        return self._speak(len(self.wanted))

    def _choose(self, count: int) -> None:
        """Adds `count` grains to the raw sound."""
        if not count or self.frames is None:
            return
        chooser, span = self.chooser, count * self.chooser.size
        magnitudes = chooser.encoder.magnitudes(self.frames[None, : span + 1])[0]
        for start in chooser.chosen(self.frames[: span + 1], self.last):
            place = None
            if self.last is not None and start == self.last + chooser.size:
                place = self.place + chooser.advance
            self.raw, self.place = chooser.joined(self.raw, self.offset, start, place)
            self.offset, self.last = self.offset + chooser.advance, start
        self.wanted = np.concatenate([self.wanted, loudness(magnitudes[:span], self.follower.edges)])
        self.frames = self.frames[span:]

    def _speak(self, count: int) -> np.ndarray:
        """Returns the samples of the first `count` frames of the raw sound, and lets go of them."""
        encoder = self.chooser.encoder
        if not count:
            return np.zeros(0, "float32")
        sound = overlap_added(self.follower.corrected(self.raw, self.wanted[:count]), encoder.hop)
        sound[: len(self.carry)] += self.carry
        done = count * encoder.hop
        self.carry = sound[done : done + encoder.lap]
        self.raw, self.wanted, self.offset = self.raw[done:], self.wanted[count:], self.offset - done
        skipped = min(self.dropped, done)
        self.dropped -= skipped
        return self.follower.leveled(sound[:done])[skipped:]
