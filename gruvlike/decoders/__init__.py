"""The way back of a song: frames, that arrive in pieces, to one sound that goes on from its seed without a seam.

Shapes: frames (B, T, F) in the encoder's units, samples (B, S), all numpy float32. `Decoder` states the contract;
`encoder.decoder()` gives the one that fits an encoder, and `Generator(model, decoder=...)` takes any other.
"""

from typing import Any

from gruvlike._checks import by_name
from gruvlike.decoders._decoder import Decoder
from gruvlike.decoders._griffin_lim import GriffinLim
from gruvlike.decoders._overlap_add import OverlapAdd
from gruvlike.decoders._unit_selection import UnitSelection

__all__ = ["Decoder", "GriffinLim", "OverlapAdd", "UnitSelection", "get"]

_NAMES: dict[str, type[Decoder]] = {
    "overlap_add": OverlapAdd,
    "griffin_lim": GriffinLim,
    "unit_selection": UnitSelection,
}


def get(decoder: str | Decoder, **options: Any) -> Decoder:
    """Returns the decoder of a name, for configuration files; a decoder is returned as it is.

    Args:
        decoder: "overlap_add", "griffin_lim", "unit_selection", or a `Decoder`.
        **options: Arguments of that decoder's class, `encoder` among them.

    Raises:
        ValueError: If the name is unknown, or options come with a decoder that is already made.
        TypeError: If the decoder does not know an option.

    Example:
        >>> import gruvlike as gl
        >>> gl.decoders.get("overlap_add", encoder=gl.MDCT(16)).context
        1
    """
    return by_name("decoder", decoder, Decoder, _NAMES, options)
