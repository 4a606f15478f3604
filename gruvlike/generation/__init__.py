"""Continue a seed into a song, with a network that predicts the next frame.

The network reads the seed, then its own output. One compiled loop serves every stack of stock recurrent layers, on
TensorFlow, JAX and torch, at a cost a step that does not grow with the song.
"""

from gruvlike.generation._generator import Generator, Take
from gruvlike.generation._memory import Memory

__all__ = ["Generator", "Memory", "Take"]
