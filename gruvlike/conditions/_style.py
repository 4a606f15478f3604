"""The label of a piece of music, such as its folder, as something that a network reads."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from gruvlike import _checks
from gruvlike._contracts import HasSource, Shape, Tensor, Track
from gruvlike.conditions._condition import Schedule
from gruvlike.conditions._meter import Meter

Blend = str | Mapping[str, float]
"""A label, or weights of several."""
AlongSong = Blend | Sequence[tuple[float, Blend]]
"""The same for a whole song, or at some seconds of it: between them it changes evenly."""
Styling = AlongSong | Callable[[], Blend | None]
"""The same, or a function that is asked for the style before each piece of a song."""


class StylePath(NamedTuple):
    """The style of a sound along its frames.

    Attributes:
        name: Name of the condition.
        input_name: Name of its input.
        weights: A function from numbers of frames (T,) to the weights of the labels at these frames, (T, L).
    """

    name: str
    input_name: str
    weights: Callable[[np.ndarray], np.ndarray]

    def at(self, frames: np.ndarray, meter: Meter) -> np.ndarray:
        """Returns the weights of the labels for frames to come, float32 (T, L)."""
        return self.weights(frames).astype("float32")


@keras.saving.register_keras_serializable(package="gruvlike")
class Style(Schedule):
    """Tells a network which kind of music to make: a label with a learned vector, or a mix of several labels.

    In training each window has the label of its track: the folder that its file lies in, its name, or any label of the
    user's own. A song gets the labels that are asked for (`Generator.extend(style=...)`), and equal parts of all if
    none are. `recurrent_stack(style=...)` lets every recurrent layer read it.

    Args:
        labels: All labels.
        by: Where a track has its label from: `"folder"`, the last folder of `track.source`; `"track"`, `track.name`;
            or a dictionary from names of tracks to labels.
        size: Numbers of the vector of a label.
        random_seed: Decides their first values. `None` follows `keras.utils.set_random_seed`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Raises:
        ValueError: If there is no label, one is there twice, or `by` is unknown.

    Example:
        >>> style = Style(labels=("jazz", "rock"), size=3)
        >>> style.blend({"jazz": 3, "rock": 1}).tolist()
        [0.75, 0.25]
        >>> style(style.blend("rock")[None, None]).shape == (1, 1, 3)
        True

    References:
        Bengio et al., "A Neural Probabilistic Language Model", 2003 (a learned vector for each label).
    """

    def __init__(
        self,
        labels: Sequence[str],
        by: str | Mapping[str, str] = "folder",
        size: int = 16,
        random_seed: int | None = None,
        name: str = "style",
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        self.labels = tuple(labels)
        if isinstance(labels, str) or not labels or len(set(labels)) < len(self.labels):
            raise ValueError(f"`labels` must hold one or more labels, each once. Received: labels={labels!r}.")
        self.by = by if isinstance(by, str) else dict(by)
        if isinstance(self.by, str):
            _checks.choice("by", self.by, ("folder", "track"))
        self.size = _checks.positive_int("size", size)
        if random_seed is not None:
            _checks.positive_int("random_seed", random_seed, minimum=0)
        self.random_seed = random_seed
        first = keras.initializers.RandomNormal(stddev=1.0, seed=random_seed)
        self.vectors = self.add_weight(shape=(len(self.labels), self.size), initializer=first, name="vectors")

    @classmethod
    def of(cls, music: Iterable[Track], by: str | Mapping[str, str] = "folder", **options: Any) -> "Style":
        """Returns a style that knows the labels of all tracks, in the order of the alphabet.

        Args:
            music: Tracks, such as a `Corpus`.
            by: As for the class.
            **options: Other arguments of the class.

        Raises:
            ValueError: If a track has no label, or as the class.

        Example:
            >>> import gruvlike as gl, tempfile
            >>> from pathlib import Path
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     for number, label in enumerate(("rock", "jazz")):
            ...         Path(folder, label).mkdir()
            ...         gl.audio.write(f"{folder}/{label}/tune.wav", gl.tune.compose(2, 4000, random_seed=number), 4000)
            ...     corpus = gl.Corpus.build(folder, f"{folder}/music.h5", sample_rate=4000)
            ...     Style.of(corpus).labels
            ('jazz', 'rock')
        """
        return cls(sorted({_label(track, by) for track in music}), by, **options)

    def numbers(self, width: int) -> int:
        """Returns the number of labels."""
        return len(self.labels)

    def of_track(self, track: Track) -> StylePath:
        """Returns the style of a track.

        Raises:
            ValueError: If its label is not known.

        Example:
            >>> from dataclasses import make_dataclass
            >>> track = make_dataclass("Track", ["name", "sample_rate", "pcm"])("a.wav", 8000, None)
            >>> Style(labels=("a.wav", "b.wav"), by="track").of_track(track).weights(np.arange(2)).tolist()
            [[1.0, 0.0], [1.0, 0.0]]
        """
        return self._path_of(np.zeros(1), [self.blend(_label(track, self.by))])

    def along(self, style: Styling | None, frame_rate: float) -> StylePath:
        """Returns the style of a song.

        Args:
            style: A label, weights by label, or several of them with the second at which each is reached; `None`: equal
                parts of all labels. Or a function that returns the style of the moment: a label, weights or `None`.
            frame_rate: Frames a second.

        Raises:
            ValueError: If a label is unknown, weights are negative or sum to 0, or seconds do not rise.

        Example:
            >>> style = Style(labels=("jazz", "rock"))
            >>> path = style.along([(0, "jazz"), (10, "rock")], frame_rate=50.0)
            >>> path.at(np.array([-1, 0, 250, 900]), Meter(period=25.0, first=0.0)).tolist()
            [[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
        """
        if callable(style):
            return self._asked(style)
        points = [(0.0, style)] if style is None or isinstance(style, str | Mapping) else _pairs(style)
        seconds = np.array([_checks.number("style", second, 0) for second, _ in points])
        if not len(points) or (np.diff(seconds) <= 0).any():
            raise ValueError(f"The seconds of `style` must rise. Received: style={style!r}.")
        return self._path_of(seconds * frame_rate, [self.blend(blend) for _, blend in points])

    def blend(self, style: Blend | None) -> np.ndarray:
        """Returns the weight of each label, (L,), which sum to 1; equal ones for `None`.

        Raises:
            ValueError: If a label is unknown, or weights are negative or sum to 0.

        Example:
            >>> Style(labels=("jazz", "rock")).blend("jaz")
            Traceback (most recent call last):
            ValueError: `style` must be one of 'jazz', 'rock'. Received: style='jaz'. Did you mean 'jazz'?
        """
        if style is None:
            return np.full(len(self.labels), 1 / len(self.labels))
        if not isinstance(style, str | Mapping) or not style:
            raise _no_style(style)
        given = {style: 1.0} if isinstance(style, str) else dict(style)
        found = np.zeros(len(self.labels))
        for label, weight in zip(given, _checks.shares("style", list(given.values()), len(given)), strict=True):
            found[self.labels.index(_checks.choice("style", label, self.labels))] = weight
        return found

    def at(self, frames: np.ndarray, meter: Meter) -> np.ndarray:
        """Returns equal parts of all labels, (T, L)."""
        return self._path_of(np.zeros(1), [self.blend(None)]).at(frames, meter)

    def _path_of(self, places: np.ndarray, weights: list[np.ndarray]) -> StylePath:
        columns = np.stack(weights, axis=1)  # (L, P)
        return self._made_of(lambda frames: np.stack([np.interp(frames, places, one) for one in columns], axis=1))

    def _asked(self, style: Callable[[], Blend | None]) -> StylePath:
        """Returns the style that a function gives; it is asked at once, so that a mistake shows before the song."""
        self.blend(style())
        return self._made_of(lambda frames: np.tile(self.blend(style()), (len(frames), 1)))

    def _made_of(self, weights: Callable[[np.ndarray], np.ndarray]) -> StylePath:
        return StylePath(self.name, self.input_name, weights)

    def call(self, numbers: Tensor) -> Tensor:
        """Returns the vectors (B, T, size) of weights (B, T, L)."""
        return ops.matmul(ops.cast(numbers, "float32"), ops.convert_to_tensor(self.vectors))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns (B, T, size)."""
        return (*input_shape[:-1], self.size)


def _pairs(style: Any) -> list[tuple[float, Blend]]:
    """Returns pairs of a second and a style, or raises if there are others among them."""
    pairs = list(style) if isinstance(style, Iterable) else [style]
    if any(not isinstance(pair, tuple | list) or len(pair) != 2 for pair in pairs):
        raise _no_style(style)
    return pairs


def _no_style(style: object) -> ValueError:
    return ValueError(
        f"`style` must be a label, weights by label, or pairs of a second and one of these. Received: style={style!r}."
    )


def _label(track: Track, by: str | Mapping[str, str]) -> str:
    """Returns the label of a track."""
    if by == "track":
        return track.name
    if by == "folder":
        if not isinstance(track, HasSource):
            raise ValueError(
                f"A style by folder needs tracks of a corpus. Received: {track.name!r}, whose file is not known. "
                'Use by="track", or a dictionary from names of tracks to labels.'
            )
        return PurePath(track.source).parent.name
    if not isinstance(by, Mapping) or track.name not in by:
        raise ValueError(f"Each track needs a label. Received: {track.name!r}, without one in `by`. Add it.")
    return by[track.name]
