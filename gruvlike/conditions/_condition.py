"""The contract of a condition: an input of the stack besides the last frame."""

from typing import Any

import keras
import numpy as np

from gruvlike._arrays import PlainLayer
from gruvlike._contracts import Tensor
from gruvlike.conditions._meter import Meter


class Condition(PlainLayer):
    """Something besides the last frame that a stack reads for the frame to come; the base class of all conditions.

    A condition is a layer: it turns the numbers of its input into those that the network reads. A subclass is a
    `Schedule`, whose numbers are known beforehand, or an `OwnPast`, whose numbers are frames of the sound itself.

    Args:
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        frames_alone: Says that each frame is treated alone: a song needs no more of the past for this layer.
        needs_beat: Whether the music must have a beat found (`Corpus.add_beats`, `rhythm.tempo`).

    Example:
        >>> from gruvlike.conditions import Clock
        >>> isinstance(Clock(), Condition), Clock().input_name
        (True, 'clock_input')
    """

    frames_alone = True
    needs_beat = False

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.built = True

    def numbers(self, width: int) -> int:
        """Returns how many numbers a frame of its input has, for frames of `width` numbers.

        Example:
            >>> from gruvlike.conditions import Clock, Lags
            >>> Clock().numbers(16), Lags(beats=(1, 4)).numbers(16)
            (1, 32)
        """
        raise NotImplementedError(f"{type(self).__name__} must define `numbers(width)`.")

    def input(self, width: int) -> keras.KerasTensor:
        """Returns the input of a stack that this condition reads, (B, T, numbers(width)).

        Example:
            >>> from gruvlike.conditions import Lags
            >>> Lags(beats=(4, 8)).input(width=16).shape
            (None, None, 32)
        """
        return keras.Input((None, self.numbers(width)), name=self.input_name)

    @property
    def input_name(self) -> str:
        """Name of the input: layers of a model have names of their own."""
        return f"{self.name}_input"

    def call(self, numbers: Tensor) -> Tensor:
        """Returns the numbers that the network reads, (B, T, N), of those of the input; here the same."""
        return numbers

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape that `call` gives."""
        return input_shape


class Schedule(Condition):
    """A condition whose numbers are known beforehand: a function of the frame to come, and of the beat.

    Example:
        >>> class Bars(Schedule):  # the number of the bar
        ...     needs_beat = True
        ...     def numbers(self, width):
        ...         return 1
        ...     def at(self, frames, meter):
        ...         return np.floor(meter.at(frames) / 4)[:, None]
        >>> Bars(name="bars").at(np.array([0, 100, 200]), Meter(period=25.0, first=0.0)).tolist()
        [[0.0], [1.0], [2.0]]
    """

    def at(self, frames: np.ndarray, meter: Meter) -> np.ndarray:
        """Returns the numbers (T, numbers) that belong to the frames to come.

        Args:
            frames: Numbers of these frames, integers (T,).
            meter: The beat of the sound that they are of.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `at(frames, meter)`.")


class OwnPast(Condition):
    """A condition whose numbers are earlier frames of the same sound.

    Example:
        >>> class Before(OwnPast):  # the frame 50 frames before the one to come
        ...     def lags(self, meter, room, random):
        ...         return np.array([50])
        ...     def sources(self, frames, meter):
        ...         return frames[:, None] - 50
        ...     def reach(self, meter):
        ...         return 50
        >>> Before(name="before").numbers(16)
        16
    """

    count: int = 1
    """How many frames are read together."""

    def numbers(self, width: int) -> int:
        """Returns `count * width`.

        Example:
            >>> from gruvlike.conditions import Anchor
            >>> Anchor(beats=8).numbers(16)
            16
        """
        return self.count * width

    def lags(self, meter: Meter, room: int, random: np.random.Generator) -> np.ndarray:
        """Returns how many frames before the frame to come each source lies, for a window of training: integers (n,).

        Args:
            meter: The beat of the track.
            room: Frames of the track before the first that the window predicts.
            random: A random generator for all that is drawn.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `lags(meter, room, random)`.")

    def sources(self, frames: np.ndarray, meter: Meter) -> np.ndarray:
        """Returns the numbers (T, n) of the frames that are read for frames to come, (T,), in a song.

        Frames of the seed have negative numbers: -1 is its last one, and the song begins with 0.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `sources(frames, meter)`.")

    def reach(self, meter: Meter) -> int:
        """Returns how many frames a song must have before it: the greatest lag."""
        raise NotImplementedError(f"{type(self).__name__} must define `reach(meter)`.")


def conditions_of(stack: keras.Model) -> list[Condition]:
    """Returns the conditions that a stack reads, in the order of its inputs.

    Example:
        >>> import gruvlike as gl
        >>> stack = gl.recurrent_stack(8, units=(4,), clock=gl.Clock(), lags=gl.Lags(beats=(1, 4)))
        >>> [condition.name for condition in conditions_of(stack)]
        ['clock', 'lags']
    """
    found = [layer for layer in stack.layers if isinstance(layer, Condition)]
    names = [one.name for one in stack.inputs] if found else []  # a subclassed model has no inputs
    return sorted(found, key=lambda condition: names.index(condition.input_name))
