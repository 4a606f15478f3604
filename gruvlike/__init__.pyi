"""The public names for type checkers and editors, which do not see the lazy table of `__init__.py`.

`tests/test_public_surface.py` compares the two name by name.
"""

from gruvlike import audio as audio
from gruvlike import callbacks as callbacks
from gruvlike import conditions as conditions
from gruvlike import corpus as corpus
from gruvlike import decoders as decoders
from gruvlike import encoders as encoders
from gruvlike import generation as generation
from gruvlike import gruv2015 as gruv2015
from gruvlike import heads as heads
from gruvlike import listening as listening
from gruvlike import live as live
from gruvlike import metrics as metrics
from gruvlike import models as models
from gruvlike import normalizers as normalizers
from gruvlike import plots as plots
from gruvlike import recipes as recipes
from gruvlike import rhythm as rhythm
from gruvlike import seeds as seeds
from gruvlike import tune as tune
from gruvlike import windows as windows
from gruvlike.conditions import Anchor as Anchor
from gruvlike.conditions import Clock as Clock
from gruvlike.conditions import Lags as Lags
from gruvlike.conditions import Style as Style
from gruvlike.corpus import Corpus as Corpus
from gruvlike.encoders import MDCT as MDCT
from gruvlike.encoders import STFT as STFT
from gruvlike.encoders import BlockDFT as BlockDFT
from gruvlike.encoders import Encoder as Encoder
from gruvlike.encoders import HalfDFT as HalfDFT
from gruvlike.encoders import LogSpectrum as LogSpectrum
from gruvlike.encoders import TimeBlocks as TimeBlocks
from gruvlike.generation import Generator as Generator
from gruvlike.models import AudioModel as AudioModel
from gruvlike.models import load as load
from gruvlike.models import recurrent_stack as recurrent_stack
from gruvlike.normalizers import GlobalScale as GlobalScale
from gruvlike.normalizers import Identity as Identity
from gruvlike.normalizers import MinMax as MinMax
from gruvlike.normalizers import Normalizer as Normalizer
from gruvlike.normalizers import PrincipalComponents as PrincipalComponents
from gruvlike.normalizers import Standardizer as Standardizer
from gruvlike.windows import Windows as Windows

__version__: str
