"""Samples to frames and back: the representations that a network can learn.

Shapes: samples `(S,)` or `(B, S)`, frames `(T, F)` or `(B, T, F)`, all float32. `Encoder` states the contract.
"""

from typing import Any

from gruvlike._checks import by_name
from gruvlike.encoders._base import Encoder
from gruvlike.encoders._blocks import BlockDFT, TimeBlocks
from gruvlike.encoders._fourier import STFT, HalfDFT
from gruvlike.encoders._log_spectrum import LogSpectrum
from gruvlike.encoders._mdct import MDCT

__all__ = ["MDCT", "STFT", "BlockDFT", "Encoder", "HalfDFT", "LogSpectrum", "TimeBlocks", "get"]

_NAMES: dict[str, type[Encoder]] = {
    "time_blocks": TimeBlocks,
    "block_dft": BlockDFT,
    "half_dft": HalfDFT,
    "stft": STFT,
    "mdct": MDCT,
    "log_spectrum": LogSpectrum,
}


def get(encoder: str | Encoder, **options: Any) -> Encoder:
    """Returns the encoder of a name, for configuration files; an encoder is returned as it is.

    Args:
        encoder: "time_blocks", "block_dft", "half_dft", "stft", "mdct" or "log_spectrum"; or an `Encoder`.
        **options: Arguments of that encoder's class.

    Raises:
        ValueError: If the name is unknown, or options come with an encoder that is already made.
        TypeError: If the encoder does not know an option.

    Example:
        >>> from gruvlike import encoders
        >>> encoders.get("block_dft", block_size=4000).features
        8000
    """
    return by_name("encoder", encoder, Encoder, _NAMES, options)
