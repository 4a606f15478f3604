"""The contracts between the parts, as types: a part of the user's own fits in if it has these names.

A protocol is checked by its names alone: nothing has to be imported or inherited. Shapes use the letters of the
glossary: S samples, F features, W width, T steps, B windows in a batch.
"""

from collections.abc import Callable, Iterator
from typing import Any, NotRequired, Protocol, TypedDict, TypeVar, runtime_checkable

import numpy as np

Result = TypeVar("Result", covariant=True)

Shape = tuple[int | None, ...]  # of a tensor, as Keras gives it: unknown sizes are None


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


class ArrayFunctions(Protocol):
    """Functions of arrays in the style of numpy: `gruvlike._arrays.HOST` or `keras.ops`."""

    def __getattr__(self, name: str, /) -> Any: ...


@runtime_checkable
class Track(Protocol):
    """One piece of music, or a part of one."""

    name: str
    sample_rate: int

    @property
    def pcm(self) -> np.ndarray:
        """The samples, int16 (S,), mapped or in memory."""

    def __len__(self) -> int: ...


TrackType = TypeVar("TrackType", bound=Track, covariant=True)


@runtime_checkable
class Music(Protocol[TrackType]):
    """Tracks at one sample rate: a `Corpus`, or a part of one."""

    sample_rate: int
    high_pass_hz: float | None

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> TrackType: ...
    def __iter__(self) -> Iterator[TrackType]: ...


class Batch(TypedDict):
    """One batch of windows, as every part of the package hands it on."""

    pcm: Tensor
    """int16 or float32 (B, S)."""
    reset: NotRequired[Tensor]
    """bool (B,): where the states of a stateful batch start from zero. Its absence says that windows stand alone."""


@runtime_checkable
class WindowsLike(Protocol):
    """Batches of windows of music that can be read again, from any batch of any epoch: `gruvlike.Windows`."""

    corpus: Music
    sample_rate: int
    high_pass_hz: float | None
    span: int
    batch_size: int
    stateful: bool
    epoch: int
    first_batch: int

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> tuple[Batch]: ...
    def position(self, batch_index: int, row: int) -> tuple[Track, int]: ...


class FramesOfSound(Protocol):
    """The sizes of an encoder's frames, and the way there: as much as windows and statistics need of an `Encoder`."""

    features: int
    hop: int
    lap: int

    def span(self, steps: int) -> int: ...
    def encode(self, samples: Any, padded: bool = True) -> Any: ...
    def encode_stream(self, pieces: Any, padded: bool = True) -> Iterator[np.ndarray]: ...


@runtime_checkable
class FitHook(Protocol):
    """A callback that runs `fit` itself, for instance from where an earlier run was: `AudioModel.fit` calls it."""

    def wrap_fit(self, model: Any, fit: Callable[..., Result], x: Any, **options: Any) -> Result:
        """Runs `fit(x, **options)` of `model`, once, several times or not at all, and returns its result."""


def as_batch(data: Batch | Tensor) -> Batch:
    """Returns a batch as a dictionary; bare PCM (B, S) becomes `{"pcm": PCM}`.

    Example:
        >>> as_batch(np.zeros((2, 8), "int16"))["pcm"].shape
        (2, 8)
    """
    return data if isinstance(data, dict) else {"pcm": data}
