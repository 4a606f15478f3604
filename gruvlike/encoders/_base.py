"""The contract between samples and frames, kept in one place: subclasses only transform single frames."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

import keras
import numpy as np
from numpy.typing import ArrayLike

from gruvlike import _checks
from gruvlike._arrays import HOST, TwoWayLayer, count_frames, cut, finite, on_host, overlap_add
from gruvlike._contracts import ArrayFunctions, ArrayOrTensor, Tensor
from gruvlike.decoders import Decoder, OverlapAdd

SameKind = TypeVar("SameKind", bound=Tensor)  # arrays of numpy give arrays of numpy, tensors give tensors
PIECE_SIZE = 2**19  # samples that a stream encodes at once: tens of megabytes at most, whatever the representation


class Encoder(TwoWayLayer):
    """Turns samples into frames and frames into samples; the base class of all representations.

    Frame t covers the samples from `t * hop` to `t * hop + frame_size`. A subclass passes the three sizes to this
    constructor and writes two functions of single frames, in numpy style, with `xp` for either numpy or `keras.ops`
    (both with `rfft`, `irfft` and `fft` as Keras has them, on pairs of real and imaginary parts):

    - `analyze(pieces, xp)`: pieces of sound `(B, T, frame_size)` to frames `(B, T, features)`;
    - `synthesize(frames, xp)`: frames to the sound that each of them adds, `(B, T, frame_size)`.

    Everything else is done here: cutting and overlap-add, numpy or tensors, batches, streams, checks, float32.
    Numpy arrays give numpy arrays; tensors of the backend give tensors, in eager mode, compiled, or symbolically.

    Args:
        features: F, numbers in a frame.
        frame_size: Samples under one frame.
        hop: Samples from the start of a frame to the start of the next.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        lap: The overlap: samples that a frame shares with its successor, `frame_size - hop`: 0 for block encoders.
        invertible: Whether `decode(encode(x))` gives x back. If not, `decode` runs on the host only.

    Example:
        >>> import gruvlike as gl
        >>> class Sides(gl.Encoder):
        ...     def __init__(self, block_size, **kwargs):
        ...         super().__init__(features=block_size, frame_size=block_size, hop=block_size, **kwargs)
        ...         self.block_size = block_size
        ...     def analyze(self, pieces, xp):
        ...         return xp.flip(pieces, axis=-1)
        ...     def synthesize(self, frames, xp):
        ...         return xp.flip(frames, axis=-1)
        >>> Sides(2).encode([1.0, 2.0, 3.0])
        array([[2., 1.], [0., 3.]], dtype=float32)
    """

    invertible: bool = True

    def __init__(self, *, features: int, frame_size: int, hop: int, **kwargs: object):
        super().__init__(**kwargs)
        self.features = _checks.positive_int("features", features)
        self.frame_size = _checks.positive_int("frame_size", frame_size)
        self.hop = _checks.positive_int("hop", hop)
        if hop > frame_size:
            raise ValueError(
                f"`hop` must not exceed `frame_size`: samples between frames would be lost. "
                f"Received: hop={hop}, frame_size={frame_size}."
            )
        self.lap = self.frame_size - self.hop
        self.built = True

    def analyze(self, pieces: Tensor, xp: ArrayFunctions) -> Tensor:
        """Returns the frames (B, T, features) of pieces of sound (B, T, frame_size)."""
        raise NotImplementedError(f"{type(self).__name__} must define `analyze(pieces, xp)`.")

    def synthesize(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        """Returns the pieces (B, T, frame_size) that frames (B, T, features) add to the sound."""
        raise NotImplementedError(f"{type(self).__name__} must define `synthesize(frames, xp)`.")

    def span(self, steps: int) -> int:
        """Returns the number of samples under `steps` consecutive frames.

        Example:
            >>> import gruvlike as gl
            >>> gl.MDCT(block_size=16).span(10)
            176
        """
        return self.lap + steps * self.hop

    @overload
    def encode(self, samples: SameKind, padded: bool = True) -> SameKind: ...
    @overload
    def encode(self, samples: Sequence[float], padded: bool = True) -> np.ndarray: ...
    def encode(self, samples: ArrayOrTensor, padded: bool = True) -> Tensor:
        """Returns the frames of a sound.

        Args:
            samples: `(S,)` or `(B, S)`, float in [-1, 1], or int16 PCM (which is divided by 32768). S > 0.
            padded: True adds silence so that every sample survives: `lap` zeros in front, and zeros behind to
                fill the last frame. False gives only the frames that lie wholly inside.

        Returns:
            Float32 frames `(T, F)` or `(B, T, F)`. Padded, T = ceil((S + lap) / hop); else the largest T with
            `span(T) <= S`, which may be 0.

        Raises:
            ValueError: If the samples are empty, of another rank or dtype, or (numpy only) not finite.

        Example:
            >>> import gruvlike as gl
            >>> gl.BlockDFT(block_size=2).encode([1.0, 2.0, 3.0])
            array([[ 3., -1.,  0.,  0.],
                   [ 3.,  3.,  0.,  0.]], dtype=float32)
        """
        if isinstance(samples, keras.KerasTensor):
            return self(samples, padded=padded)
        xp = HOST if on_host(samples) else keras.ops
        checked = _as_samples(samples, xp)
        single = len(checked.shape) == 1
        pieces = cut(checked[None] if single else checked, self.frame_size, self.hop, padded, xp)
        if pieces.shape[1] == 0:  # torch transforms nothing that is empty
            frames = xp.zeros((xp.shape(pieces)[0], 0, self.features), "float32")
        else:
            frames = self.analyze(pieces, xp)
        return frames[0] if single else frames

    @overload
    def decode(self, frames: SameKind) -> SameKind: ...
    @overload
    def decode(self, frames: Sequence[Sequence[float]]) -> np.ndarray: ...
    def decode(self, frames: ArrayOrTensor) -> Tensor:
        """Returns the samples that are fully covered by a run of consecutive frames.

        Args:
            frames: `(T, F)` or `(B, T, F)`, T > 0.

        Returns:
            Float32 samples, `(T * hop - lap,)` or with a batch in front (none if that is negative). The first of
            them lies `lap` samples after the start of the first frame. So `decode(encode(x))` starts with x, and
            `decode(encode(x, padded=False))` starts with `x[lap:]`.

        Raises:
            ValueError: If there are no frames, their rank or number of features is wrong, or (numpy only) they are
                not finite.

        Example:
            >>> import gruvlike as gl
            >>> encoder = gl.BlockDFT(block_size=2)
            >>> encoder.decode(encoder.encode([1.0, 2.0, 3.0]))
            array([1., 2., 3., 0.], dtype=float32)
        """
        if isinstance(frames, keras.KerasTensor):
            return self(frames, reverse=True)
        xp = HOST if on_host(frames) else keras.ops
        checked = self._as_frames(frames, xp)
        single = len(checked.shape) == 2
        samples = self._rebuild(checked[None] if single else checked, xp)
        return samples[0] if single else samples

    def encode_stream(self, pieces: Iterable[ArrayLike], padded: bool = True) -> Iterator[np.ndarray]:
        """Yields the frames of a sound that arrives in pieces, in constant memory.

        Args:
            pieces: Numpy arrays `(S,)` or `(B, S)` of any lengths, that together are the sound.
            padded: As in `encode`.

        Yields:
            Numpy frames `(T, F)` or `(B, T, F)`; joined, they are the frames of the whole sound.

        Example:
            >>> import gruvlike as gl
            >>> pieces = [[0.1, 0.2, 0.3], [0.4], [0.5]]
            >>> [frames.shape for frames in gl.TimeBlocks(2).encode_stream(pieces)]
            [(1, 2), (1, 2), (1, 2)]
        """
        held, total, steps = None, 0, 0
        for piece in _bounded(pieces):
            if held is None:
                held = np.zeros((*piece.shape[:-1], self.lap if padded else 0), "float32")
            held = np.concatenate([held, piece], axis=-1)
            total += piece.shape[-1]
            count = max(0, (held.shape[-1] - self.lap) // self.hop)
            if count:
                yield self.encode(held[..., : self.span(count)], padded=False)
                held = held[..., count * self.hop :]
                steps += count
        if held is None:
            raise ValueError("A stream must hold samples. Received: no sample at all.")
        missing = -(-(total + self.lap) // self.hop) - steps
        if padded and missing:
            behind = self.span(missing) - held.shape[-1]
            yield self.encode(np.pad(held, [(0, 0)] * (held.ndim - 1) + [(0, behind)]), padded=False)

    def decode_stream(self, pieces: Iterable[ArrayLike], seed: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Yields the samples of frames that arrive in pieces, joined without a seam, in constant memory.

        Args:
            pieces: Numpy frames `(T, F)` or `(B, T, F)`, that together are consecutive frames.
            seed: Samples `(S,)` or `(B, S)` under the first frames, where they are known, for encoders that guess
                the phase: see `decoders.Decoder`.

        Yields:
            Numpy samples; joined, they are `decode` of all the frames, if the encoder is `invertible`.

        Example:
            >>> import gruvlike as gl
            >>> frames = gl.TimeBlocks(2).encode([0.5, 0.25, 0.125])
            >>> list(gl.TimeBlocks(2).decode_stream([frames[:1], frames[1:]]))
            [array([0.5 , 0.25], dtype=float32), array([0.125, 0.   ], dtype=float32)]
        """
        return self.decoder().stream((self._as_frames(piece, HOST) for piece in pieces), seed)

    def decoder(self) -> Decoder:
        """Returns the way back that a song takes: frames in pieces to one sound.

        An encoder whose frames do not determine the sound may return another one here.

        Example:
            >>> import gruvlike as gl
            >>> type(gl.MDCT(16).decoder()).__name__, gl.MDCT(16).decoder().context
            ('OverlapAdd', 1)
        """
        return OverlapAdd(self)

    def call(self, inputs: Tensor, padded: bool = False, reverse: bool = False) -> Tensor:
        """Returns `encode(inputs, padded)`, unpadded by default, or `decode(inputs)` if `reverse`."""
        return self.decode(inputs) if reverse else self.encode(inputs, padded=padded)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], padded: bool = False, reverse: bool = False
    ) -> tuple[int | None, ...]:
        """Returns the shape that `call` gives; unknown sizes stay None."""
        if reverse:
            *batch, steps, _ = self._check_frames(input_shape)
            return (*batch, None if steps is None else max(0, steps * self.hop - self.lap))
        *batch, size = _check_samples(input_shape)
        return (*batch, None if size is None else count_frames(size, self.frame_size, self.hop, padded), self.features)

    def compute_output_spec(self, inputs: Tensor, padded: bool = False, reverse: bool = False) -> keras.KerasTensor:
        """Returns the symbolic result of `call`."""
        return keras.KerasTensor(self.compute_output_shape(inputs.shape, padded, reverse), dtype="float32")

    def _rebuild(self, frames: Tensor, xp: ArrayFunctions) -> Tensor:
        """Returns the sound that the frames (B, T, F) cover fully, (B, T * hop - lap)."""
        steps = xp.shape(frames)[1]
        return overlap_add(self.synthesize(frames, xp), self.hop, xp)[:, self.lap : steps * self.hop]

    def _as_frames(self, frames: ArrayOrTensor, xp: ArrayFunctions) -> Any:
        """Returns frames as float32, numpy or tensor, or raises."""
        array: Any = np.asarray(frames) if xp is HOST else frames
        if xp is HOST and array.dtype.kind not in "fiu":
            raise ValueError(f"`frames` must be real numbers. Received: dtype={array.dtype}.")
        self._check_frames(array.shape)
        if xp is HOST:
            return finite("frames", array.astype("float32", copy=False))
        return keras.ops.cast(array, "float32")

    def _check_frames(self, shape: Iterable[int | None]) -> tuple[int | None, ...]:
        shape = tuple(shape)
        if len(shape) not in (2, 3) or shape[-2] == 0:
            raise ValueError(f"`frames` must have shape (T, F) or (B, T, F), T > 0. Received: shape={shape}.")
        if shape[-1] != self.features:
            raise ValueError(
                f"{type(self).__name__} makes frames of {self.features} features. "
                f"Received: frames with {shape[-1]} features, shape={shape}. Decode with the encoder that made them."
            )
        return shape


def _check_samples(shape: Iterable[int | None]) -> tuple[int | None, ...]:
    shape = tuple(shape)
    if len(shape) not in (1, 2) or math.prod(n for n in shape if n is not None) == 0:
        raise ValueError(f"`samples` must have shape (S,) or (B, S), S > 0. Received: shape={shape}.")
    return shape


def _as_samples(samples: ArrayOrTensor, xp: ArrayFunctions) -> Any:
    """Returns samples as float32, numpy or tensor, or raises."""
    array: Any = np.asarray(samples) if xp is HOST else samples
    _check_samples(array.shape)
    dtype = keras.backend.standardize_dtype(array.dtype)
    if dtype != "int16" and "float" not in dtype:
        raise ValueError(f"`samples` must be floats in [-1, 1] or int16 PCM. Received: dtype={dtype}.")
    if xp is not HOST:
        array = keras.ops.cast(array, "float32")
    elif dtype != "int16":
        return finite("samples", array.astype("float32", copy=False))
    else:
        array = array.astype("float32")
    return array / 32768.0 if dtype == "int16" else array


def _bounded(pieces: Iterable[ArrayLike]) -> Iterator[np.ndarray]:
    """Yields non-empty float32 pieces of at most PIECE_SIZE samples."""
    for piece in pieces:
        piece = np.asarray(piece)
        for start in range(0, piece.shape[-1] if piece.ndim else 0, PIECE_SIZE):
            yield _as_samples(piece[..., start : start + PIECE_SIZE], HOST)
