"""Continue a seed: the one entry point to generation."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from gruvlike import _checks
from gruvlike._contracts import Temperature
from gruvlike.conditions._style import AlongSong, Styling
from gruvlike.decoders import Decoder
from gruvlike.encoders import Encoder
from gruvlike.generation._engine import Network, incomplete, refuse_parts
from gruvlike.generation._joining import Coming, frames_for, joined, leveled, sounding
from gruvlike.generation._memory import Memory, Wish
from gruvlike.generation._morph import Path
from gruvlike.generation._opening import Listening, Seed, SoundParts, enough_seconds, read_opening, read_samples
from gruvlike.generation._takes import Take, beyond_passage, check_takes, closest_end
from gruvlike.generation._wishes import begin, check_level, frames_of, length_of, sampling_of, size_of, sung
from gruvlike.heads import Head, Point
from gruvlike.models import AudioModel, load
from gruvlike.normalizers import Normalizer
from gruvlike.seeds import crossfade

_FRAMES_AT_ONCE = 4  # a stream has a latency of a few frames


class Generator:
    """Continues a seed, frame by frame, with a network that predicts the next frame.

    Args:
        model: A `gruvlike.AudioModel`, the path of a saved one, or any Keras model (B, T, W) -> (B, T, O) that
            predicts the next normalized frame at every step; then `encoder`, `normalizer`, `head` and `sample_rate`
            give its frames and outputs their meaning.
        encoder: Samples <-> frames. Only beside a Keras model of your own, as the next four.
        normalizer: Scales frames; `None` there means that the network works on plain frames.
        sample_rate: In Hz.
        high_pass_hz: The high-pass filter that the music went through; seeds given as paths get the same.
        dtype: `"bfloat16"` or `"float16"`: the matrices of LSTM, GRU and Dense layers are read in that type, as copies
            made at the start of each song. States and sums stay float32. It halves the bytes that a step reads, for
            GPUs; on a CPU it gains nothing (docs/speed.md). `None`: as they are.
        torch_compile: On torch: compile the step by `torch.compile`, in the first song of each number of clips, for
            seconds to minutes, which only very long songs win back. It needs a C++ compiler; where it fails, a warning
            says so. TensorFlow and JAX always compile.
        head: The meaning of the network's outputs; `None`: `heads.Point()`, the next frame itself.
        decoder: Frames -> sound; `None`: the encoder's own, `encoder.decoder()`. May stand beside an `AudioModel`.

    Attributes:
        stack, encoder, normalizer, head, sample_rate, high_pass_hz: As given, or those of the model.
        decoder, dtype, torch_compile: As given.

    Raises:
        ValueError: If parts are missing or do not fit, or the network reads the future.

    Example:
        >>> import gruvlike as gl, numpy as np
        >>> music = np.sin(np.arange(4000) / 9).astype("float32")
        >>> encoder = gl.BlockDFT(block_size=8)
        >>> normalizer = gl.Standardizer().fit(music, encoder)
        >>> stack = gl.recurrent_stack(encoder.features, units=(4,), random_seed=0)
        >>> generator = gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=8000)
        >>> generator.extend(music[:100], steps=5).shape
        (40,)
    """

    def __init__(
        self,
        model: AudioModel | keras.Model | str | os.PathLike,
        encoder: Encoder | None = None,
        normalizer: Normalizer | None = None,
        sample_rate: int | None = None,
        high_pass_hz: float | None = None,
        dtype: str | None = None,
        torch_compile: bool = False,
        head: Head | None = None,
        decoder: Decoder | None = None,
    ):
        self.dtype = None if dtype is None else _checks.choice("dtype", dtype, ("bfloat16", "float16"))
        self.torch_compile = torch_compile
        if isinstance(model, str | os.PathLike):
            model = load(model)
        if isinstance(model, AudioModel):
            own = {"encoder": encoder, "normalizer": normalizer, "head": head}
            refuse_parts({**own, "sample_rate": sample_rate, "high_pass_hz": high_pass_hz})
            encoder, normalizer, head = model.encoder, model.normalizer, model.head
            sample_rate, high_pass_hz = model.sample_rate, model.high_pass_hz
        self.stack = model.stack if isinstance(model, AudioModel) else model
        if encoder is None or sample_rate is None or not isinstance(self.stack, keras.Model):
            raise incomplete(self.stack, encoder, sample_rate)
        self.encoder, self.normalizer, self.high_pass_hz = encoder, normalizer, high_pass_hz
        self.head = Point() if head is None else head
        self.decoder = encoder.decoder() if decoder is None else decoder
        self.sample_rate = _checks.positive_int("sample_rate", sample_rate)
        self._parts = SoundParts(encoder, normalizer, self.decoder, self.sample_rate, high_pass_hz)
        self._network = Network(self.stack, self.head, self._parts, self.dtype, torch_compile)

    @property
    def seed_seconds(self) -> float:
        """Length of a seed that is enough for the network: it reads back so far at the slowest tempo that is found.

        A slower one that is given by hand, `bpm=`, needs more.

        Example:
            >>> import gruvlike as gl
            >>> stack = gl.recurrent_stack(4, units=(3,), lags=gl.Lags(beats=(1, 4)))
            >>> round(gl.Generator(stack, encoder=gl.TimeBlocks(4), sample_rate=8000).seed_seconds, 2)
            2.82
        """
        return enough_seconds(self._parts, self._network.conditions)

    def extend(
        self,
        seed: Seed | Sequence[Seed] | Memory,
        *,
        seconds: float | None = None,
        steps: int | None = None,
        history: str | int = "carry",
        include_seed: bool = False,
        clips: int = 1,
        temperature: float | None = None,
        random_seed: int | None = None,
        take: int = 0,
        style: AlongSong | None = None,
        leash: float | None = None,
        choices: int | None = None,
        bpm: float | None = None,
        pad_seed: bool = False,
        match_level: bool = False,
    ) -> np.ndarray:
        """Returns the sound that follows a seed.

        Args:
            seed: Samples (S,) at the generator's rate, or the path of a sound file (read, resampled, filtered like
                the corpus); or a list of those, a clip each. It is aligned at its end: leading samples that fill no
                frame are dropped. Or a `Memory` that `listen` gave.
            seconds: Length of the song; or
            steps: The same in frames.
            history: How much of the past the network knows: `"carry"`, all of it, in its states, at constant cost;
                `"full"`, all of it, fed again at each step, as the paper did (the same song, slowly); or an integer
                k, the last k frames.
            include_seed: Whether the seed is put before the song, joined by the overlap of the encoder.
            clips: How many songs. A network that draws nothing at random gives the same song for the same seed: give
                a seed for each.
            temperature: Of a head that draws: 1 as it was learned, less is more likely and less varied. `None`: that of
                the head, 1 unless it was made with another.
            random_seed: Of a head that draws; 0 by default. Each clip and each step draws numbers of its own: a clip
                is the same alone or beside others, but for rounding.
            take: Of a head that draws: the number of the first clip, which decides its draws beside `random_seed`; the
                next clips have the next numbers. `extend(seed, take=5)` is the sixth of `extend(seed, clips=8)`.
            style: Of a network with a `conditions.Style`: a label, `"jazz"`; weights of several, `{"jazz": 0.7, "rock":
                0.3}`; or pairs of a second of the song and one of these, `[(0, "jazz"), (20, "rock")]`, between which
                it changes evenly. `None`: equal parts of all labels.
            leash: Keeps the song near the sound of its seed, in [0, 1]: mean and deviation of its last two seconds are
                drawn to the seed's, each frame by this share of the distance. 0 leaves it free. `None`: 0.6 for a
                network with conditions (a clock, lags, an anchor), else 0.
            choices: Of a head that draws: each moment of 1.5 s is drawn so many times, and the song goes on with the
                one most like the seed, by the pattern of its bar and its mean and deviation. `None`: 4 for a network
                with conditions, else 1.
            bpm: Beats a minute of the seed, for a network that reads the beat; `None`: found by `rhythm.tempo`.
            pad_seed: Whether silence is put before a seed that is shorter than the network reads back.
            match_level: Whether each song is brought to the loudness of its seed (EBU R 128) by one gain, as
                `audio.match_level` does, which fades in over the first 10 ms so that the song still joins its seed.
                Not for a `Memory`, which does not hold the whole seed.

        Returns:
            Float32 samples: (S,) for one seed and `clips=1`, else (clips, S). The song starts with the sample after
            the seed and has exactly `round(seconds * sample_rate)` or `steps * hop` samples.

        Raises:
            ValueError: If the seed is shorter than the network needs, not finite or not one-dimensional, an argument is
                out of range or of no effect, the state of a layer cannot be carried, or the network predicts NaN.
            FileNotFoundError: If a seed is a path without a file.

        Warns:
            RuntimeWarning: If a drawn song has frozen, fallen silent or blown up. It is drawn again, with other
                numbers.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> encoder = gl.TimeBlocks(4)
            >>> stack = gl.recurrent_stack(4, units=(3,), random_seed=0)
            >>> generator = gl.Generator(stack, encoder=encoder, sample_rate=8000)
            >>> seed = np.sin(np.arange(80) / 9).astype("float32")
            >>> generator.extend(seed, seconds=0.01).shape, generator.extend([seed, seed[40:]], steps=3).shape
            ((80,), (2, 12))
        """
        size = length_of("extend", self._parts, seconds, steps)
        check_level(seed, match_level)
        sampling = sampling_of(self._network, temperature, random_seed, leash, take, choices)
        wish = Wish(size, history, include_seed, sampling, None, style)
        coming = begin(self._network, seed, clips, wish, Listening(self._network.conditions, bpm, pad_seed))
        song = sung(coming)
        if match_level:
            song[:, -size:] = leveled(song[:, -size:], coming.seeds, self.sample_rate)
        return song[0] if coming.single else song

    def stream(
        self,
        seed: Seed | Sequence[Seed] | Memory,
        *,
        seconds: float | None = None,
        steps: int | None = None,
        history: str | int = "carry",
        include_seed: bool = False,
        clips: int = 1,
        temperature: Temperature | None = None,
        random_seed: int | None = None,
        take: int = 0,
        style: Styling | None = None,
        leash: float | None = None,
        choices: int | None = None,
        bpm: float | None = None,
        pad_seed: bool = False,
        frames_at_once: int = _FRAMES_AT_ONCE,
    ) -> Iterator[np.ndarray]:
        """Yields the same song as `extend` in pieces; without `seconds` or `steps` it never ends.

        A song that had a fault and was drawn again, which a warning says, is another one in other pieces. Memory is
        constant, except with `history="full"`, which keeps the whole past.

        With a decoder that is better when it sees all frames at once (`LogSpectrum` has one) the frames are the same,
        but phases are rebuilt piece by piece: the pieces join, the samples are others. With several `choices` the
        frames come by moments of 1.5 s.

        Args:
            seed: As for `extend`, like all the others but three.
            temperature, style: As for `extend`, or a function without arguments that is asked before each piece.
            frames_at_once: Frames that are predicted before a piece is yielded: the latency, and the price of it. Each
                number compiles a loop of its own; `benchmarks/stream.py` measures the throughput.

        Yields:
            Float32 samples, (S,) or (clips, S), of any length; put end to end they are the song.

        Raises:
            ValueError: As `extend`.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> stack = gl.recurrent_stack(4, units=(3,), random_seed=0)
            >>> generator = gl.Generator(stack, encoder=gl.TimeBlocks(4), sample_rate=8000)
            >>> song = generator.stream(np.zeros(40, "float32"), frames_at_once=2)
            >>> next(song).shape, next(song).shape
            ((8,), (8,))
        """
        size = size_of(self._parts, seconds, steps)
        frames_at_once = _checks.positive_int("frames_at_once", frames_at_once)
        sampling = sampling_of(self._network, temperature, random_seed, leash, take, choices)
        wish = Wish(size, history, include_seed, sampling, frames_at_once, style)
        coming = begin(self._network, seed, clips, wish, Listening(self._network.conditions, bpm, pad_seed))
        return (piece[0] if coming.single else piece for piece in coming.pieces)

    def listen(
        self,
        seed: Seed | Sequence[Seed],
        *,
        clips: int = 1,
        style: AlongSong | None = None,
        bpm: float | None = None,
        pad_seed: bool = False,
    ) -> Memory:
        """Reads a seed and returns the memory of it, from which `extend` and `stream` go on.

        Args:
            seed: As for `extend`.
            clips: How many songs will follow.
            style: As for `extend`: the seed is read with that of the begin of its song.
            bpm: As for `extend`.
            pad_seed: As for `extend`.

        Returns:
            A `Memory`. Nothing is drawn in reading: it does not depend on temperature or random seed.

        Raises:
            ValueError: As `extend`.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> stack = gl.recurrent_stack(4, units=(3,), random_seed=0)
            >>> generator = gl.Generator(stack, encoder=gl.TimeBlocks(4), sample_rate=8000)
            >>> seed = np.sin(np.arange(80) / 9).astype("float32")
            >>> memory = generator.listen(seed)
            >>> bool((generator.extend(memory, steps=5) == generator.extend(seed, steps=5)).all())
            True
        """
        opening = read_opening(self._parts, seed, clips, Listening(self._network.conditions, bpm, pad_seed))
        return self._network.listen(opening, style)

    def takes(
        self,
        seed: Seed,
        count: int = 8,
        *,
        keep: int | None = None,
        seconds: float | None = None,
        steps: int | None = None,
        temperature: float | None = None,
        random_seed: int | None = None,
        take: int = 0,
        style: AlongSong | None = None,
        leash: float | None = None,
        choices: int | None = None,
        bpm: float | None = None,
        pad_seed: bool = False,
        match_level: bool = False,
    ) -> list[Take]:
        """Draws several songs of one seed, and ranks them: those that stay closest to their seed come first.

        `metrics.rank_takes` says by which measures. Each take is drawn alone, so it can be had again from its number:
        `extend(seed, take=number)` with the same other arguments is the same song to the last bit.

        Args:
            seed: As for `extend`, but a single one.
            count: How many takes to draw.
            keep: How many of them to return, the best ones. `None`: all.
            seconds: As for `extend`; a fifth of a second or longer.
            steps: As for `extend`.
            temperature: As for `extend`, above 0.
            random_seed: As for `extend`.
            take: Number of the first take.
            style: As for `extend`.
            leash: As for `extend`.
            choices: As for `extend`.
            bpm: As for `extend`.
            pad_seed: As for `extend`.
            match_level: As for `extend`. Takes are ranked before.

        Returns:
            A `Take` for each, the closest to the seed first.

        Raises:
            ValueError: As `extend`, or if the network draws nothing, or song or seed are too short to be ranked.
            FileNotFoundError: If the seed is a path without a file.

        Warns:
            RuntimeWarning: As `extend`.

        Example:
            >>> import gruvlike as gl
            >>> seed, encoder, head = gl.tune.compose(2, 4000), gl.TimeBlocks(4), gl.heads.Mixture(components=2)
            >>> normalizer = gl.Standardizer().fit(seed, encoder)
            >>> stack = gl.recurrent_stack(4, units=(3,), head=head, random_seed=0)
            >>> generator = gl.Generator(stack, encoder=encoder, normalizer=normalizer, head=head, sample_rate=4000)
            >>> best, second = generator.takes(seed, 3, keep=2, seconds=0.5)
            >>> best.distance <= second.distance
            True
            >>> bool((generator.extend(seed, take=best.number, seconds=0.5) == best.song).all())
            True
        """
        from gruvlike import metrics  # imported here because it brings scipy.signal

        count = _checks.positive_int("count", count)
        keep = count if keep is None else _checks.positive_int("keep", keep)
        sampling = sampling_of(self._network, temperature, random_seed, leash, take, choices)
        check_takes(self._network, count, keep, sampling)
        length_of("takes", self._parts, seconds, steps)
        opening = read_opening(self._parts, seed, 1, Listening(self._network.conditions, bpm, pad_seed))
        if not opening.single:
            raise ValueError(f"Takes are of one seed. Received: {len(opening.samples)}. Call `takes` for each of them.")
        memory, start = self._network.listen(opening, style), opening.samples[0]
        start = sounding(start) if pad_seed else start
        draws: dict[str, Any] = {
            "temperature": temperature,
            "random_seed": random_seed,
            "leash": leash,
            "style": style,
            "choices": choices,
        }
        songs = [self.extend(memory, seconds=seconds, steps=steps, take=take + k, **draws) for k in range(count)]
        ranked = metrics.rank_takes(songs, start, self.sample_rate, None if bpm is None else 60 / bpm)[:keep]
        if match_level:
            songs = [leveled(song[None], [start], self.sample_rate)[0] for song in songs]
        return [Take(take + one.number, one.distance, one.measures, songs[one.number]) for one in ranked]

    def morph(
        self,
        seeds: Sequence[Seed | Memory],
        *,
        seconds: float | None = None,
        steps: int | None = None,
        weights: Sequence[Sequence[float]] | None = None,
        temperature: float | None = None,
        random_seed: int | None = None,
        take: int = 0,
        style: AlongSong | None = None,
        leash: float | None = None,
    ) -> np.ndarray:
        """Returns a song that begins after the first seed, and moves from one seed to the next as it runs.

        The songs of all seeds run beside it, and lead it in turns of a beat, each as often as its weight says: its
        states and its frame are drawn to those of the one that leads. The frames of the seeds that conditions read
        come in such turns, too; beat and leash are weighted means. Seeds of one tempo morph best (docs/steering.md).

        Args:
            seeds: Seeds, as for `extend`, or memories that `listen` gave (with `bpm`, for instance), in the order in
                which the song passes them.
            seconds: As for `extend`.
            steps: As for `extend`.
            weights: A row of weights, one for each seed, for each of some places that lie evenly along the song.
                `None`: from one seed to the next, at even distances. A single row holds for the whole song; with all
                weight on one seed the song is that of `extend` with `choices=1`, to the last bit.
            temperature: As for `extend`.
            random_seed: As for `extend`.
            take: As for `extend`.
            style: As for `extend`.
            leash: As for `extend`.

        Returns:
            Float32 samples (S,).

        Raises:
            ValueError: As `extend`, or if there is no seed, or weights are negative or sum to 0.
            FileNotFoundError: If a seed is a path without a file.

        Warns:
            RuntimeWarning: As `extend`.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> stack = gl.recurrent_stack(4, units=(3,), random_seed=0)
            >>> generator = gl.Generator(stack, encoder=gl.TimeBlocks(4), sample_rate=8000)
            >>> first, second = (np.full(40, level, "float32") for level in (0.1, 0.3))
            >>> generator.morph([first, second], steps=20).shape
            (80,)
            >>> halfway = generator.morph([first, second], steps=20, weights=[[0.5, 0.5]])
        """
        size = length_of("morph", self._parts, seconds, steps)
        sampling = sampling_of(self._network, temperature, random_seed, leash, take, 1)
        wish = Wish(size, "carry", False, sampling, None, style)
        if isinstance(seeds, str | os.PathLike | np.ndarray | Memory) or not len(seeds):
            raise ValueError(f"`seeds` must be one or more seeds, in a list. Received: {type(seeds).__name__}.")
        path = Path(weights, len(seeds), frames_for(self._parts, size) or 0)
        memories = [one if isinstance(one, Memory) else self.listen(one, style=style) for one in seeds]
        past = self._network.morph(memories, path, wish)
        frames = frames_of(self._network, [past], [0], wish)
        pieces = joined(self._parts, past.memory.frames, past.memory.samples, frames, size, None, True)
        return sung(Coming(1, size, True, pieces, []))[0]

    def fill(
        self,
        before: Seed,
        after: Seed,
        seconds: float,
        *,
        candidates: int = 8,
        fade_seconds: float = 0.05,
        temperature: float | None = None,
        random_seed: int | None = None,
        take: int = 0,
        style: AlongSong | None = None,
        leash: float | None = None,
        bpm: float | None = None,
    ) -> np.ndarray:
        """Makes a passage anew between two sounds: continues the first, and fades into the second.

        Several candidates go on beyond the passage by half a second, and the one is taken whose end is most like the
        begin of the sound after it (the log-mel spectra are compared).

        Args:
            before: The sound before the passage: a seed, as for `extend`.
            after: The sound after it: samples, or a path.
            seconds: Length of the passage.
            candidates: How many songs are drawn; a network that draws nothing has one.
            fade_seconds: Length of the crossfade into `after`, which begins where the passage ends.
            temperature: As for `extend`.
            random_seed: As for `extend`.
            take: Number of the first candidate.
            style: As for `extend`.
            leash: As for `extend`.
            bpm: As for `extend`.

        Returns:
            Float32 samples of all three together: as many as `before` and `after` have, and round(seconds *
            sample_rate). All of `before` and, behind the crossfade, of `after` are unchanged.

        Raises:
            ValueError: As `extend`, or if `after` is shorter than the crossfade, or than 0.064 s.
            FileNotFoundError: If a sound is a path without a file.

        Example:
            >>> import gruvlike as gl
            >>> stack = gl.recurrent_stack(4, units=(3,), random_seed=0)
            >>> generator = gl.Generator(stack, encoder=gl.TimeBlocks(4), sample_rate=8000)
            >>> song = gl.tune.compose(3, 8000)
            >>> varied = generator.fill(song[:8000], song[16_000:], seconds=1)
            >>> varied.shape, bool((varied[:8000] == song[:8000]).all())
            ((24000,), True)
        """
        size = length_of("fill", self._parts, seconds, None)
        opening = read_opening(self._parts, before, 1, Listening(self._network.conditions, bpm))
        ending = read_samples(self._parts, "after", after)
        fade = round(_checks.number("fade_seconds", fade_seconds, 0) * self.sample_rate)
        beyond = beyond_passage(ending, fade, self.sample_rate)
        count = _checks.positive_int("candidates", candidates) if self._network.draws else 1
        memory, length = self._network.listen(opening, style), (size + beyond) / self.sample_rate
        draws: dict[str, Any] = {"temperature": temperature, "random_seed": random_seed, "leash": leash, "style": style}
        songs = [self.extend(memory, seconds=length, take=take + k, **draws) for k in range(count)]
        best = songs[closest_end(songs, ending[:beyond], self.sample_rate)]
        return np.concatenate([opening.samples[0], crossfade(best[: size + fade], ending, fade)])
