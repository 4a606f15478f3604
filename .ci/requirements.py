"""Prints what setup.py lists, with the extras named as arguments and without TensorFlow, one a line.

The environments of the other backends get the same as everybody else but TensorFlow, without a second list.
"""

import runpy
import sys
import types
from pathlib import Path

metadata = {}
# A new environment has no setuptools, and nothing is to be built here: only the arguments count.
sys.modules["setuptools"] = types.SimpleNamespace(setup=metadata.update, find_packages=lambda **_: [])
runpy.run_path(str(Path(__file__).resolve().parents[1] / "setup.py"))

requirements = [*metadata["install_requires"]]
for extra in sys.argv[1:]:
    requirements += metadata["extras_require"][extra]
for requirement in requirements:
    if not requirement.startswith("tensorflow"):
        print(requirement)
