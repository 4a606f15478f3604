"""Sounds for a page: MP3 and pictures inside it, and all of them within a number of bytes."""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from matplotlib.figure import Figure

from gruvlike import plots
from gruvlike.listening._measuring import title_of
from gruvlike.listening._openings import Opening, Take
from gruvlike.metrics._levels import rms

LEAST_SECONDS = 4.0  # songs are not made shorter than this to save room
_LEAD_SECONDS = 2.0  # of the seed, before the music that follows it, so that the join is audible
# MP3 plays in every browser; Opus in a file of Ogg does not. It knows these sample rates alone.
_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_COMPRESSION = 0.4  # of libsndfile, from 0 (best) to 1
_PICTURE_INCHES, _DPI = (8.0, 2.2), 100
_QUALITY = 60  # of a picture, in percent
_ROOM = 0.97  # a little of the bytes is left for the rest of the page


class Clip(NamedTuple):
    """A sound as the page has it.

    Attributes:
        kind: "seed", "real" or "take".
        title: The title.
        run: Number of its run; -1 for music.
        sample_rate: Samples per second.
        start, stop: Its place on the time axis, in seconds after the end of the seed.
        sound, picture: Data URIs.
        words: The picture in words.
    """

    kind: str
    title: str
    run: int
    sample_rate: int
    start: float
    stop: float
    sound: str
    picture: str
    words: str

    @property
    def size(self) -> int:
        return len(self.sound) + len(self.picture)


class Group(NamedTuple):
    """An opening as the page has it.

    Attributes:
        title: The name of the track.
        at: Place in the track, as m:ss.
        clips: The seed, the music that really follows, and the takes.
    """

    title: str
    at: str
    clips: list[Clip]

    @property
    def size(self) -> int:
        return sum(clip.size for clip in self.clips)


def groups_of(openings: Sequence[Opening], most_bytes: int) -> tuple[list[Group], list[str]]:
    """Returns the openings as the page has them, and sentences about all that was left out.

    Songs are made shorter, down to four seconds; then there are fewer openings, then fewer takes.

    Raises:
        ValueError: If not even one opening with one take fits.
    """
    groups, notes = [_group(opening) for opening in openings], []
    room = int(most_bytes * _ROOM)
    longest = seconds_of(openings)
    while _size(groups) > room and seconds_of(openings) > LEAST_SECONDS:
        seconds = max(LEAST_SECONDS, 0.9 * seconds_of(openings) * room / _size(groups))
        openings = [_shortened(opening, seconds) for opening in openings]
        groups = [_group(opening) for opening in openings]
    if seconds_of(openings) < longest:
        notes.append(f"Songs were cut from {longest:.1f} to {seconds_of(openings):.1f} s")
    count = len(groups)
    while _size(groups) > room and len(groups) > 1:
        groups = groups[:-1]
    if len(groups) < count:
        notes.append(f"{len(groups)} of {count} seeds are shown")
    takes = _takes(groups[0])
    while _size(groups) > room and _takes(groups[0]) > 1:
        groups = [_without_a_take(group) for group in groups]
    if _takes(groups[0]) < takes:
        notes.append(f"{_takes(groups[0])} of {takes} takes are shown")
    if _size(groups) > room:
        raise ValueError(
            f"A page holds at most {most_bytes:,} bytes. Received: {_size(groups):,} bytes for one seed and one take. "
            "Use shorter seeds."
        )
    return groups, [f"{note}: the sounds of a page take at most {most_bytes / 1e6:g} MB." for note in notes]


def seconds_of(openings: Sequence[Opening]) -> float:
    """Returns the length of the songs."""
    return len(openings[0].takes[0].samples) / openings[0].takes[0].sample_rate


def _size(groups: Sequence[Group]) -> int:
    return sum(group.size for group in groups)


def _takes(group: Group) -> int:
    return sum(clip.kind == "take" for clip in group.clips)


def _without_a_take(group: Group) -> Group:
    """Returns a group without the last take of the run that has most; of two such runs, the later one."""
    runs = [clip.run for clip in group.clips if clip.kind == "take"]
    most = max(reversed(runs), key=runs.count)
    last = max(index for index, clip in enumerate(group.clips) if clip.run == most)
    return group._replace(clips=[*group.clips[:last], *group.clips[last + 1 :]])


def _shortened(opening: Opening, seconds: float) -> Opening:
    real = {rate: samples[: round(seconds * rate)] for rate, samples in opening.real.items()}
    takes = [take._replace(samples=take.samples[: round(seconds * take.sample_rate)]) for take in opening.takes]
    return opening._replace(real=real, takes=takes)


def _group(opening: Opening) -> Group:
    rate, seed = next(iter(opening.seeds.items()))
    clips = [_clip("seed", "Seed", -1, rate, seed, np.zeros(0, np.float32))]
    several = len(opening.real) > 1
    for rate, real in opening.real.items():
        title = f"Real continuation, {rate} Hz" if several else "Real continuation"
        clips.append(_clip("real", title, -1, rate, _lead(opening, rate), real))
    clips += [_take(opening, take) for take in opening.takes]
    minutes, seconds = divmod(int(opening.place.seconds), 60)
    return Group(opening.place.name, f"{minutes}:{seconds:02d}", clips)


def _take(opening: Opening, take: Take) -> Clip:
    rate = take.sample_rate
    return _clip("take", title_of(take.temperature), take.run, rate, _lead(opening, rate), take.samples)


def _lead(opening: Opening, rate: int) -> np.ndarray:
    return opening.seeds[rate][-round(_LEAD_SECONDS * rate) :]


def _clip(kind: str, title: str, run: int, rate: int, before: np.ndarray, after: np.ndarray) -> Clip:
    samples = np.concatenate([before, after])
    start, stop = -len(before) / rate, len(after) / rate
    return Clip(kind, title, run, rate, start, stop, sound_uri(samples, rate), picture_uri(samples, rate), _words(
        samples, rate, start, stop
    ))  # fmt: skip


def _words(samples: np.ndarray, rate: int, start: float, stop: float) -> str:
    """Returns the picture of a sound in words."""
    parts = np.array_split(samples, 4)
    levels = ", ".join(f"{20 * np.log10(max(rms(part), 1e-6)):.0f}" for part in parts)
    where = f"the last {-start:.1f} s of the seed, then {stop:.1f} s" if start and stop else f"{stop - start:.1f} s"
    return f"Waveform and mel spectrogram of {where}. Level in dB, by quarters: {levels}."


def sound_uri(samples: np.ndarray, sample_rate: int) -> str:
    """Returns samples (S,) as a data URI of MP3, at their own rate or at the next one that MP3 has."""
    rate = next((rate for rate in _RATES if rate >= sample_rate), _RATES[-1])
    if rate != sample_rate:
        samples = np.clip(soxr.resample(samples, sample_rate, rate), -1, 1)
    file = io.BytesIO()
    soundfile.write(
        file, samples, rate, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE",
        compression_level=_COMPRESSION,
    )  # fmt: skip
    return _uri("audio/mpeg", file)


def picture_uri(samples: np.ndarray, sample_rate: int) -> str:
    """Returns the waveform above the spectrogram of samples (S,), from edge to edge, as a data URI of WebP."""
    figure = Figure(figsize=_PICTURE_INCHES, dpi=_DPI)
    for box, draw in (((0, 0.62, 1, 0.38), plots.waveform), ((0, 0, 1, 0.6), plots.spectrogram)):
        draw(samples, sample_rate, figure.add_axes(box)).set_axis_off()
    return figure_uri(figure, "webp")


def figure_uri(figure: Figure, kind: str) -> str:
    """Returns a picture as a data URI of "webp" or "png", without a background."""
    file = io.BytesIO()
    options = {"pil_kwargs": {"quality": _QUALITY}} if kind == "webp" else {}
    figure.savefig(file, format=kind, transparent=True, **options)
    return _uri(f"image/{kind}", file)


def _uri(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
