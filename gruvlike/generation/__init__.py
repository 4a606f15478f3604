"""Continue a seed into a song, with a network that predicts the next frame.

The seed warms the network's state up; then the network hears its own output. One compiled loop serves every stack of
stock recurrent layers, on TensorFlow, JAX and torch, at a cost a step that does not grow with the song.
"""

from gruvlike.generation._generator import Generator

__all__ = ["Generator"]
