"""`gruvlike generate`: a seed is continued into a song."""

import argparse
from pathlib import Path

import gruvlike as gl
from gruvlike import _checks
from gruvlike.cli._console import say
from gruvlike.cli._parser import Commands, add_command, add_overwrite
from gruvlike.cli._paths import model_file, source, target


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        generate,
        help="continue a seed, the opening bars, into a song",
        example="generate runs/a seed.wav song.wav --seconds 30 --include-seed",
    )
    add_argument = parser.add_argument
    add_argument("model", help="run that `gruvlike train` made (its best model), or one of its files")
    add_argument("seed", help="audio file to continue, any format and sample rate")
    add_argument("song", help="audio file to write, such as song.wav")
    add_argument("--seconds", type=float, default=30.0, help="length of the song")
    add_argument("--include-seed", action="store_true", help="put the seed before the song")
    add_argument(
        "--history",
        type=_history,
        default="carry",
        metavar="carry|full|K",
        help="what a frame is predicted from: the carried state, the whole past again (as in 2015: the same song, "
        "slowly), or the last K frames",
    )
    add_argument("--clips", type=int, default=1, metavar="K", help="songs to make at once: song-1.wav, song-2.wav, ...")
    add_overwrite(parser, "replace an existing song")


def generate(options: argparse.Namespace) -> None:
    """Writes the songs."""
    _checks.number("seconds", options.seconds, 0, open_low=True)
    _checks.positive_int("clips", options.clips)
    file = Path(options.song)
    names = [file] if options.clips == 1 else [file.with_stem(f"{file.stem}-{k + 1}") for k in range(options.clips)]
    names = [target(name, options.overwrite) for name in names]
    gl.audio._format(file, None)  # refuses a suffix that cannot be written
    model = source(model_file(options.model))
    source(options.seed)
    generator = gl.Generator(gl.load(model))
    songs = generator.extend(
        options.seed,
        seconds=options.seconds,
        history=options.history,
        include_seed=options.include_seed,
        clips=options.clips,
    )
    for name, song in zip(names, songs.reshape(len(names), -1), strict=True):
        gl.audio.write(name, song, generator.sample_rate)
        say(f"{name}: {song.size / generator.sample_rate:.1f} s at {generator.sample_rate} Hz")


def _history(text: str) -> str | int:
    if text in ("carry", "full"):
        return text
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"carry, full or a number of frames, not {text!r}")
