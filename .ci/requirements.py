"""Prints what the installed gruvlike needs, with the extras named as arguments and without TensorFlow, one a line.

The environments of the other backends get everything that setup.py lists but TensorFlow: this reads it from there.
"""

import sys
from importlib.metadata import requires

for requirement in requires("gruvlike"):
    specifier, _, marker = (part.strip() for part in requirement.partition(";"))
    asked_for = not marker or any(marker.replace("'", '"') == f'extra == "{extra}"' for extra in sys.argv[1:])
    if asked_for and not specifier.startswith("tensorflow"):
        print(specifier)
