"""Fitting principal components and their bounds, against reading the corpus twice, and against `measure`.

python benchmarks/fitting.py
"""

import logging
import tempfile
from pathlib import Path

from _measure import FULL, Row, in_turn, peak_memory, publish

import gruvlike as gl

SAMPLE_RATE = 16_000


def read(corpus: gl.Corpus, encoder: gl.Encoder) -> None:
    """Encodes all music, and keeps nothing."""
    for track in corpus:
        for _ in encoder.encode_stream([track.pcm], padded=False):
            pass


def measure(
    minutes: tuple[float, ...] = (5.0, 30.0), frame_size: int = 1024, components: int = 128, rounds: int = 3
) -> tuple[list[Row], str]:
    """Measures a fit, two readings and a pass of `measure` in turn, for so many minutes of music each."""
    rows, encoder = [], gl.LogSpectrum(frame_size, hop=frame_size // 4)
    with tempfile.TemporaryDirectory() as folder:
        tune = Path(folder) / "tune.wav"
        for length in minutes:
            gl.audio.write(tune, gl.tune.compose(60 * length, SAMPLE_RATE), SAMPLE_RATE)
            corpus = gl.Corpus.build(tune, Path(folder) / "music.h5", sample_rate=SAMPLE_RATE)
            actions = {
                "fit": lambda corpus=corpus: gl.PrincipalComponents(components).fit(corpus, encoder),
                "read": lambda corpus=corpus: read(corpus, encoder),
                "measure": lambda corpus=corpus: gl.normalizers.measure(corpus, encoder),
            }
            with peak_memory() as peak:
                actions["fit"]()
            actions["read"]()
            taken = in_turn(actions, rounds)
            name = f"{components} components of {encoder.features} features, {length:.3g} min"
            rows += [
                Row(f"{name}; rival: reading twice", taken["fit"], 2 * taken["read"], taken["read"], "s"),
                Row(f"{name}; rival: one pass of `measure`", taken["fit"], taken["measure"], taken["read"], "s"),
                Row(f"{name}, peak memory", peak(), None, None, "MB"),
            ]
    return rows, "Reading is encoding all frames, once, and keeping nothing: that is the limit. Memory is anonymous."


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    publish("fitting", *measure(rounds=5 if FULL else 3))


if __name__ == "__main__":
    main()
