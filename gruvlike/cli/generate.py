"""`gruvlike generate`: a seed is continued into a song."""

import argparse
from pathlib import Path

import gruvlike as gl
from gruvlike import _checks
from gruvlike.cli._console import say
from gruvlike.cli._parser import Commands, Parser, add_command, add_overwrite
from gruvlike.cli._paths import model_file, source, target
from gruvlike.rhythm._beat import check_bpm

_BYTES = {".wav": 2.0, ".aiff": 2.0, ".aif": 2.0, ".flac": 1.0}  # of a sample
_COMPRESSED = 0.1


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
    _add_drawing(parser)
    add_argument("--clips", type=int, default=1, metavar="K", help="songs to make at once: song-1.wav, song-2.wav, ...")
    add_overwrite(parser, "replace an existing song")


def _add_drawing(parser: Parser) -> None:
    """Adds the options of a network that draws its frames or reads the beat."""
    group = parser.add_argument_group("a network that draws, or reads the beat")
    group.add_argument(
        "--temperature",
        type=float,
        metavar="X",
        help="1 draws as it was learned; less is more likely and less varied (default: that of the model)",
    )
    group.add_argument(
        "--leash",
        type=float,
        metavar="X",
        help="draws the sound to that of the seed, by this share of the distance at each frame; 0 leaves it free "
        "(default: 0.6 for a network that reads the beat or its own past, else 0)",
    )
    group.add_argument("--random-seed", type=int, metavar="N", help="another song of the same seed (default: 0)")
    group.add_argument("--bpm", type=float, metavar="X", help="beats a minute of the seed; without it they are found")
    group.add_argument("--pad-seed", action="store_true", help="put silence before a seed that is too short")


def generate(options: argparse.Namespace) -> None:
    """Writes the songs."""
    _checks.number("seconds", options.seconds, 0, open_low=True)
    _checks.positive_int("clips", options.clips)
    _check_drawing(options)
    file = Path(options.song)
    names = [file] if options.clips == 1 else [file.with_stem(f"{file.stem}-{k + 1}") for k in range(options.clips)]
    names = [target(name, options.overwrite) for name in names]
    gl.audio._format(file, None)  # `_format` refuses a suffix that cannot be written
    model = source(model_file(options.model))
    source(options.seed)
    generator = gl.Generator(gl.load(model))
    size = options.seconds * generator.sample_rate * len(names) * _BYTES.get(file.suffix.lower(), _COMPRESSED)
    _checks.room(file.parent, size, f"{len(names)} song{'s' * (len(names) > 1)} of {options.seconds:g} s")
    songs = generator.extend(
        options.seed,
        seconds=options.seconds,
        history=options.history,
        include_seed=options.include_seed,
        clips=options.clips,
        temperature=options.temperature,
        leash=options.leash,
        random_seed=options.random_seed,
        bpm=options.bpm,
        pad_seed=options.pad_seed,
    )
    for name, song in zip(names, songs.reshape(len(names), -1), strict=True):
        gl.audio.write(name, song, generator.sample_rate)
        say(f"{name}: {song.size / generator.sample_rate:.1f} s at {generator.sample_rate} Hz")


def _check_drawing(options: argparse.Namespace) -> None:
    """Checks the values before seconds are spent on loading Keras."""
    if options.temperature is not None:
        _checks.number("temperature", options.temperature, 0)
    if options.leash is not None:
        _checks.number("leash", options.leash, 0, 1)
    if options.random_seed is not None:
        _checks.positive_int("random_seed", options.random_seed, minimum=0)
    if options.bpm is not None:
        check_bpm("bpm", options.bpm)


def _history(text: str) -> str | int:
    if text in ("carry", "full"):
        return text
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"carry, full or a number of frames, not {text!r}")
