"""The contracts between the parts, as types: a part of the user's own fits in if it has these names.

A protocol is checked by its names alone: nothing has to be imported or inherited. Shapes use the letters of the
glossary: S samples, F features, W width, T steps, B windows in a batch.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NotRequired, Protocol, TypeAlias, TypedDict, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

Result = TypeVar("Result", covariant=True)

Shape = tuple[int | None, ...]  # Keras gives the shape of a tensor so: unknown sizes are None


class Tensor(Protocol):
    """A numpy array, or a tensor of any backend, eager or symbolic."""

    @property
    def shape(self) -> Any: ...
    @property
    def dtype(self) -> Any: ...
    def __getitem__(self, key: Any, /) -> Any: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __matmul__(self, other: Any, /) -> Any: ...
    def __pow__(self, other: Any, /) -> Any: ...
    def __neg__(self) -> Any: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __le__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __ge__(self, other: Any, /) -> Any: ...


ArrayOrTensor: TypeAlias = ArrayLike | Tensor
"""A tensor, or anything that numpy makes an array of: an array, a list, a number."""

Temperature: TypeAlias = float | Callable[[], float]
"""The width of the draws of a head, or a function that is asked for it before each piece of a song."""


class ArrayFunctions(Protocol):
    """Functions of arrays in the style of numpy: `gruvlike._arrays.HOST` or `keras.ops`."""

    def __getattr__(self, name: str, /) -> Any: ...


@runtime_checkable
class Track(Protocol):
    """One piece of music, or a part of one."""

    @property
    def name(self) -> str: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def pcm(self) -> np.ndarray:
        """The samples, int16 (S,), mapped or in memory."""

    def __len__(self) -> int: ...


@runtime_checkable
class Announces(Protocol):
    """A track that prepares samples which are read next. Only speed depends on it: a track need not have it."""

    def announce(self, start: int, stop: int) -> None:
        """Says that samples [start, stop) are about to be read."""


class BeatLike(Protocol):
    """The beat of a piece of music: `gruvlike.rhythm.Beat`."""

    @property
    def beat_seconds(self) -> float: ...
    @property
    def phase_seconds(self) -> float:
        """The time of a downbeat, counted from the first sample."""

    @property
    def confidence(self) -> float: ...
    @property
    def clear(self) -> bool: ...


@runtime_checkable
class HasBeat(Protocol):
    """A track that knows its beat: parts that follow the beat need one."""

    @property
    def beat(self) -> BeatLike | None:
        """The beat, counted from the first sample of the track; `None` if nobody has looked for it."""


@runtime_checkable
class HasSource(Protocol):
    """A track that knows its file: a style can be the folder that it lies in."""

    @property
    def source(self) -> str:
        """Path of the file."""


TrackType = TypeVar("TrackType", bound=Track, covariant=True)


@runtime_checkable
class Music(Protocol[TrackType]):
    """Tracks at one sample rate: a `Corpus`, or a part of one."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def high_pass_hz(self) -> float | None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> TrackType: ...
    def __iter__(self) -> Iterator[TrackType]: ...


# Whatever holds music; `gruvlike._music.tracks` reads it.
AnyMusic = Music | Track | np.ndarray | Iterable[Track | np.ndarray | tuple[str, np.ndarray]]


class Batch(TypedDict):
    """One batch of windows, as every part of the package hands it on."""

    pcm: Tensor
    """int16 or float32 (B, S)."""
    conditions: NotRequired[dict[str, Tensor]]
    """Numbers of the model's conditions, by their names: float32 (B, T, n), or PCM (B, n, S) of earlier windows."""
    reset: NotRequired[Tensor]
    """bool (B,): where the states of a stateful batch start from zero. Its absence says that windows stand alone."""
    sample_weight: NotRequired[Tensor]
    """float32 (B,) or (B, T): how much each window, or each frame that it predicts, counts in the loss."""


@runtime_checkable
class Batches(Protocol):
    """Batches that can be read in any order: `WindowsLike`, a `keras.utils.PyDataset`, or a list."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> "tuple[Batch | Tensor, ...]": ...


class ConditionSupply(Protocol):
    """Gives the numbers of a model's conditions for a window: `gruvlike.conditions.Supply`."""

    def __call__(self, track: Track, start: int, span: int, key: tuple[int, ...]) -> dict[str, np.ndarray]: ...


@runtime_checkable
class WindowsLike(Protocol):
    """Batches of windows of music that can be read again, from any batch of any epoch: `gruvlike.Windows`."""

    epoch: int
    first_batch: int

    @property
    def corpus(self) -> Music: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def high_pass_hz(self) -> float | None: ...
    @property
    def span(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def stateful(self) -> bool: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> tuple[Batch]: ...
    def position(self, batch_index: int, row: int) -> tuple[Track, int]: ...
    def go_to(self, epoch: int, first_batch: int = 0) -> None:
        """Makes index 0 that batch of that epoch."""


@runtime_checkable
class TakesSupply(Protocol):
    """Windows that can hold the numbers of a model's conditions, too: `gruvlike.Windows`."""

    supply: ConditionSupply | None
    """Adds the numbers to each window; `AudioModel` sets it."""


class FramesOfSound(Protocol):
    """The sizes of an encoder's frames, and the way there: as much as windows and statistics need of an `Encoder`."""

    @property
    def features(self) -> int: ...
    @property
    def hop(self) -> int: ...
    @property
    def lap(self) -> int: ...
    def span(self, steps: int) -> int: ...
    def encode(self, samples: Tensor, padded: bool = True) -> Tensor: ...
    def encode_stream(self, pieces: Iterable[np.ndarray], padded: bool = True) -> Iterator[np.ndarray]: ...


@runtime_checkable
class FitHook(Protocol):
    """A callback that runs `fit` itself, for instance from where an earlier run was: `AudioModel.fit` calls it."""

    def wrap_fit(self, model: Any, fit: Callable[..., Result], x: Any, **options: Any) -> Result:
        """Runs `fit(x, **options)` of `model`, once, several times or not at all, and returns its result."""


@runtime_checkable
class HoldsWindows(Protocol):
    """A model that keeps the windows (or arrays) of `fit` while `fit` runs, for callbacks: `AudioModel`."""

    training_windows: Any
    validation_windows: Any


@runtime_checkable
class StopsForAReason(Protocol):
    """A callback that ends a run: once it has a `reason`, a run folder saves nothing any more."""

    reason: str | None


@runtime_checkable
class KeepsState(Protocol):
    """A callback whose state a run folder saves in each checkpoint and gives back when the run is resumed."""

    def get_state(self) -> dict[str, Any]:
        """Returns numbers, strings, arrays, and lists and dictionaries of these."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back a state that `get_state` returned."""


def as_batch(data: Batch | Tensor) -> Batch:
    """Returns a batch as a dictionary; bare PCM (B, S) becomes `{"pcm": PCM}`.

    Example:
        >>> as_batch(np.zeros((2, 8), "int16"))["pcm"].shape
        (2, 8)
    """
    return data if isinstance(data, dict) else {"pcm": data}
