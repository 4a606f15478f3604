"""Samples to frames and back: the representations that a network can learn.

Shapes: samples `(S,)` or `(B, S)`, frames `(T, F)` or `(B, T, F)`, all float32. `Encoder` states the contract.
"""

from gruvlike.encoders._base import Encoder
from gruvlike.encoders._blocks import BlockDFT, TimeBlocks

__all__ = ["BlockDFT", "Encoder", "TimeBlocks"]
