"""`gruvlike doctor`: can this machine, this installation and this music learn at all? The first thing to run."""

import argparse
import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import gruvlike as gl
from gruvlike import _checks
from gruvlike.cli._console import say
from gruvlike.cli._parser import Commands, add_command

_SAMPLE_RATE = 16_000
_SECONDS = 3  # seconds of music to learn by heart
# A network that reads the same three seconds again and again can learn them by heart. If it does not explain nine
# tenths of their variance, the fault lies in the files or in the installation, not in the network.
_MUST_REACH = 0.1


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        doctor,
        help="check the installation, and whether a small model can learn one clip; do so when only noise comes out",
        example="doctor music/",
    )
    parser.add_argument("music", nargs="?", help="folder of music, or one file; without it, a tune is composed")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for learning, at most")


def doctor(options: argparse.Namespace) -> None:
    """Examines the installation."""
    examine(options.music, options.seconds)


def examine(music: str | None, seconds: float) -> None:
    """Prints the versions and the codecs that are installed, and trains a small model on one clip.

    Args:
        music: A folder or a file; `None` composes a tune.
        seconds: Time for learning.

    Raises:
        FileNotFoundError: If there is no such music.
        ValueError: If the music cannot be used, or the model cannot learn it.
    """
    _checks.number("seconds", seconds, 0, open_low=True)
    if music is not None and not Path(music).exists():
        raise FileNotFoundError(f"There is no music {music!r}.")
    for name, value in [*_installation(), *_codecs()]:
        _report(name, value)
    with tempfile.TemporaryDirectory() as folder:
        clip = _clip(music, Path(folder))
        _report("the way there and back", _round_trip(clip))
        loss, song_level = _overfit(clip, seconds)
    if loss > _MUST_REACH:
        raise ValueError(
            f"A model that trains on one clip of {_SECONDS} s must get its loss below {_MUST_REACH} (1 = predicting "
            f"the mean). Received: {loss:.3f}. If it still falls, give more --seconds; if not, try other music: with "
            "the tune that `gruvlike doctor` composes without music, it should work everywhere."
        )
    _report("its song", f"{100 * song_level:.0f} % of the level of the music")
    say("All is well: the network can learn the music. If only noise comes out, train longer or on less music.")


def _report(name: str, value: str) -> None:
    say(f"{name:<24}{value}")


def _installation() -> list[tuple[str, str]]:
    from gruvlike._backend import describe_gpus
    from gruvlike.callbacks import _identity

    versions = _identity.versions()
    backend = versions.pop("backend")
    rows = [("versions", ", ".join(f"{name} {version}" for name, version in versions.items())), ("backend", backend)]
    return [*rows, ("GPU", describe_gpus())]


def _codecs() -> list[tuple[str, str]]:
    import soundfile

    formats = set(soundfile.available_formats())
    usual = [name for name in ("WAV", "FLAC", "OGG", "MP3", "AIFF") if name in formats]
    has_av = importlib.util.find_spec("av") is not None
    more = "m4a, wma, video and the rest by PyAV" if has_av else "for m4a and others: pip install 'gruvlike[av]'"
    return [("audio files", f"{', '.join(usual)} (libsndfile {soundfile.__libsndfile_version__}); {more}")]


def _clip(music: str | None, folder: Path) -> np.ndarray:
    """Returns the loudest seconds of the first piece of music that can be read."""
    from gruvlike.metrics._levels import rms

    if music is None:
        samples, name = gl.tune.compose(2 * _SECONDS, _SAMPLE_RATE), "a tune composed for this"
    else:
        samples, name = _read(music, folder)
    size = _SECONDS * _SAMPLE_RATE
    if len(samples) < size:
        raise ValueError(
            f"The check needs {_SECONDS} s of music. Received: {name}, {len(samples) / _SAMPLE_RATE:.1f} s."
        )
    power = np.cumsum(np.concatenate([[0], np.square(samples, dtype="float64")]))
    start = int(np.argmax(power[size:] - power[:-size]))
    _report("music", f"{name}, {_SECONDS} s from {start / _SAMPLE_RATE:.1f} s, RMS {rms(samples[start:][:size]):.3f}")
    return samples[start : start + size]


def _read(music: str, folder: Path) -> tuple[np.ndarray, str]:
    from gruvlike.callbacks import corpus_warnings

    files = gl.audio.find(music) if Path(music).is_dir() else [Path(music)]
    _report("files", f"{len(files)} with the name of an audio file")
    for path in files[:20]:
        try:
            corpus = gl.Corpus.build(path, folder / "clip.h5", sample_rate=_SAMPLE_RATE)
        except ValueError as error:
            _report("cannot be used", str(error))
            continue
        for warning in corpus_warnings(corpus):
            _report("look at the music", warning)
        return corpus[0].samples(), str(path)
    raise ValueError(f"The check needs music that can be read. Received: {music!r}, with none among 20 files.")


def _round_trip(clip: np.ndarray) -> str:
    encoder = gl.BlockDFT(250)
    normalizer = gl.GlobalScale().fit(clip, encoder)
    back = encoder.decode(normalizer.inverse(normalizer(encoder.encode(clip))))[: len(clip)]
    error = float(np.abs(back - clip).max())
    if not error <= 1e-4:
        raise ValueError(
            f"Samples must survive encoding, scaling and the way back. Received: an error of {error:.2g}. "
            "Install gruvlike and its requirements anew."
        )
    return f"exact to {error:.0e}"


def _overfit(clip: np.ndarray, seconds: float) -> tuple[float, float]:
    """Trains on the clip; returns the loss, and the level of a song from its start over that of the clip."""
    import keras

    from gruvlike.metrics._levels import rms

    encoder = gl.BlockDFT(250)
    normalizer = gl.GlobalScale().fit(clip, encoder)
    stack = gl.recurrent_stack(encoder.features, units=256, random_seed=0)
    model = gl.AudioModel(encoder, normalizer, stack, _SAMPLE_RATE)
    model.compile(keras.optimizers.Adam(3e-3, global_clipnorm=1.0))
    size = encoder.span(41)
    windows = np.stack([clip[start : start + size] for start in range(0, len(clip) - size + 1, size // 4)])
    loss, start, said = np.inf, time.monotonic(), 0.0

    def watch(epoch: int, logs: dict[str, Any]) -> None:
        nonlocal loss, said
        loss, past = logs["relative_loss"], time.monotonic() - start
        model.stop_training = loss < _MUST_REACH or past > seconds
        if model.stop_training or past > said + 5:
            said = past
            _report("learning", f"{past:3.0f} s, epoch {epoch + 1}: loss {loss:.3f} (must fall below {_MUST_REACH})")

    callback = keras.callbacks.LambdaCallback(on_epoch_end=watch)
    model.fit(windows, batch_size=8, epochs=10**6, verbose=0, callbacks=[callback])
    song = gl.Generator(model).extend(clip[:size], seconds=1)
    return loss, rms(song) / max(rms(clip[size : size + _SAMPLE_RATE]), 1e-9)
