"""All metadata of the package. The version is read from gruvlike/__init__.py without importing it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "gruvlike/__init__.py").read_text("utf-8"), re.MULTILINE)[1]

NOTEBOOKS = ["nbformat>=5", "nbclient>=0.10", "ipykernel>=6"]

setup(
    name="gruvlike",
    version=VERSION,
    description="Music with recurrent neural networks, block by block: a re-imagined GRUV for Keras 3",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    author="The gruvlike developers",
    keywords=["music", "audio", "generation", "recurrent neural network", "LSTM", "Keras"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Sound Synthesis",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["gruvlike", "gruvlike.*"]),
    package_data={"gruvlike": ["py.typed", "__init__.pyi", "listening/page/*"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "tensorflow>=2.21",
        "keras>=3.15",
        "numpy>=2.0",
        "scipy>=1.14",
        "librosa>=0.11",
        "h5py>=3.12",
        "soundfile>=0.13",
        "soxr>=0.5",
        "pyloudnorm>=0.2",
        "tqdm>=4.66",
        "matplotlib>=3.9",
        "filelock>=3.16",
        "jinja2>=3.1",
    ],
    extras_require={
        "av": ["av>=14"],
        "play": ["sounddevice>=0.5"],
        "jax": ["jax>=0.6"],
        "torch": ["torch>=2.6"],
        "tensorboard": ["tensorboard>=2.18"],
        "docs": NOTEBOOKS,
        "test": [
            "pytest>=8",
            "tensorboard>=2.18",
            "pytest-cov>=6",
            "pytest-xdist>=3.6",
            "build>=1.2",
            "hypothesis>=6",
            "psutil>=6",
            "ruff==0.17.*",
            "mypy==2.4.*",
            "selenium>=4.20",
            *NOTEBOOKS,
        ],
    },
    entry_points={"console_scripts": ["gruvlike=gruvlike.cli:main"]},
)
