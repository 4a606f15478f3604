"""The pipeline that GRUV published in 2015, reproduced to the digit: the baseline for every comparison.

    WAV -> prepare -> (x, y, mean, std) -> network.fit -> generate -> to_samples

In 2015 the *frame* of a block of N samples was its unnormalized DFT, first all real parts, then all imaginary parts
(F = 2N), or the samples themselves (`time_domain=True`, F = N). PCM is divided by 32767 here, as it was then, and by
32768 in the rest of the package; `to_audio_model` corrects for the difference. docs/gruv2015.md lists the defects of
2015, and for each the part of the package that prevents it now.
"""

from gruvlike.gruv2015._data import Prepared, prepare, to_frames, to_samples
from gruvlike.gruv2015._network import load_network, network, save_weights
from gruvlike.gruv2015._song import generate, to_audio_model
from gruvlike.models._activations import hard_sigmoid_2015

__all__ = [
    "Prepared",
    "generate",
    "hard_sigmoid_2015",
    "load_network",
    "network",
    "prepare",
    "save_weights",
    "to_audio_model",
    "to_frames",
    "to_samples",
]
