"""The recurrent stack, and the model that owns its encoder and normalizer.

A *stack* is any Keras model (B, T, F) -> (B, T, F') that predicts the next frame at every step. An `AudioModel` puts
it behind an encoder and a normalizer: PCM goes in, and one `.keras` file holds everything that is needed to make sound.
"""

from gruvlike.models._audio_model import AudioModel
from gruvlike.models._estimates import Description, Width, describe
from gruvlike.models._free_running import FreeRun, free_running_loss
from gruvlike.models._load import load
from gruvlike.models._relative_loss import RelativeLoss
from gruvlike.models._stack import recurrent_stack

__all__ = [
    "AudioModel",
    "Description",
    "FreeRun",
    "RelativeLoss",
    "Width",
    "describe",
    "free_running_loss",
    "load",
    "recurrent_stack",
]
