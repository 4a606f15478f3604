"""The pipeline that GRUV published in 2015, to the digit: the baseline that everything else is compared with.

    WAV -> prepare -> (x, y, mean, std) -> network.fit -> generate -> to_samples

A 2015 *frame* of N samples is the real parts, then the imaginary parts of the unnormalised DFT of the block (F = 2N),
or the samples themselves (`time_domain=True`, F = N). PCM is divided by 32767 here, as it was then, and by 32768 in the
rest of the package; `to_audio_model` takes care of the difference. What was a defect in 2015 and what prevents it now
stands in docs/gruv2015.md.
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
