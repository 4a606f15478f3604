"""`gruvlike generate`: a seed is continued into a song."""

import argparse
import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gruvlike as gl
from gruvlike import _checks, _files
from gruvlike.cli._console import say
from gruvlike.cli._parser import Commands, Parser, add_command, add_overwrite
from gruvlike.cli._paths import model_file, source, target
from gruvlike.rhythm._beat import check_bpm

if TYPE_CHECKING:
    from gruvlike.generation import Take

_BYTES = {".wav": 2.0, ".aiff": 2.0, ".aif": 2.0, ".flac": 1.0}  # of a sample
_COMPRESSED = 0.1
_SECOND = re.compile(r"(\d+(?:\.\d*)?)=")
# Options that `Generator.extend` and `Generator.takes` take alike.
_GIVEN = ("seconds", "temperature", "random_seed", "take", "leash", "choices", "bpm", "pad_seed", "match_level")


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
    add_argument("--match-level", action="store_true", help="bring each song to the loudness of the seed (EBU R 128)")
    add_argument(
        "--grains",
        metavar="CORPUS",
        help="make the song of short grains of this music, in place of rebuilt phases (for log-magnitude frames)",
    )
    add_argument("--clips", type=int, default=1, metavar="K", help="songs to make at once: song-1.wav, song-2.wav, ...")
    _add_takes(parser)
    add_overwrite(parser, "replace an existing song")


def _add_takes(parser: Parser) -> None:
    """Adds the options that draw several songs and keep the best ones."""
    group = parser.add_argument_group("takes of one seed, ranked by how close they stay to it (docs/metrics.md)")
    group.add_argument(
        "--takes",
        type=int,
        metavar="N",
        help="songs to draw, one after the other: song-take-0.wav, ..., and a row for each in song-takes.csv",
    )
    group.add_argument("--keep", type=int, metavar="K", help="songs to write, the best ones (default: all takes)")
    group.add_argument(
        "--take",
        type=int,
        default=0,
        metavar="NUMBER",
        help="number of the take to make, or of the first one: makes a song of an earlier `--takes` again",
    )


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
    group.add_argument(
        "--choices",
        type=int,
        metavar="N",
        help="draws each 1.5 s so many times and goes on with the draw most like the seed (default: 4 for a network "
        "that reads the beat or its own past, else 1)",
    )
    group.add_argument(
        "--style",
        action="append",
        metavar="LABEL|LABEL:X,LABEL:X",
        help="kind of music of a run that was trained with --style: one label, or weights of several; given more than "
        "once with a second in front, --style 0=jazz --style 20=rock, it changes along the song (default: equal parts)",
    )
    group.add_argument("--random-seed", type=int, metavar="N", help="another song of the same seed (default: 0)")
    group.add_argument("--bpm", type=float, metavar="X", help="beats a minute of the seed; without it they are found")
    group.add_argument("--pad-seed", action="store_true", help="put silence before a seed that is too short")


def generate(options: argparse.Namespace) -> None:
    """Writes the songs."""
    _checks.number("seconds", options.seconds, 0, open_low=True)
    _checks.positive_int("clips", options.clips)
    _check_drawing(options)
    _check_takes(options)
    file = Path(options.song)
    names = [target(name, options.overwrite) for name in _names(options)]
    gl.audio._format(file, None)  # `_format` refuses a suffix that cannot be written
    model = source(model_file(options.model))
    source(options.seed)
    generator = _generator(gl.load(model), options.grains)
    gl.audio._format(file, None, generator.sample_rate)  # not each format holds each rate
    size = options.seconds * generator.sample_rate * len(names) * _BYTES.get(file.suffix.lower(), _COMPRESSED)
    _checks.room(file.parent, size, f"{len(names)} song{'s' * (len(names) > 1)} of {options.seconds:g} s")
    given = _given(options)
    if options.takes is not None:
        takes = generator.takes(options.seed, options.takes, keep=options.takes, **given)
        _write_takes(options, takes, generator)
        return
    songs = generator.extend(
        options.seed, history=options.history, include_seed=options.include_seed, clips=options.clips, **given
    )
    for name, song in zip(names, songs.reshape(len(names), -1), strict=True):
        _write(name, song, generator.sample_rate)


def _generator(model: "gl.AudioModel", grains: str | None) -> "gl.Generator":
    if grains is None:
        return gl.Generator(model)
    music = gl.Corpus(source(grains))
    if music.sample_rate != model.sample_rate:
        raise ValueError(
            f"Grains must have the sample rate of the model. Received: {grains!r} at {music.sample_rate} Hz, a model "
            f"at {model.sample_rate} Hz. Give the corpus that it was trained on, or one made with --sample-rate."
        )
    return gl.Generator(model, decoder=gl.decoders.UnitSelection(model.encoder, music))


def _given(options: argparse.Namespace) -> dict[str, Any]:
    return {**{name: vars(options)[name] for name in _GIVEN}, "style": style_of(options.style)}


def style_of(words: Sequence[str] | None) -> Any:
    """Returns the style that `--style` says, as `Generator.extend` takes it.

    Example:
        >>> style_of(["jazz:0.7,rock:0.3"])
        {'jazz': 0.7, 'rock': 0.3}
        >>> style_of(["0=jazz", "20=rock"])
        [(0.0, {'jazz': 1.0}), (20.0, {'rock': 1.0})]
    """
    if not words:
        return None
    if len(words) == 1 and not _SECOND.match(words[0]):
        return _blend(words[0])
    points = []
    for word in words:
        found = _SECOND.match(word)
        if not found:
            raise ValueError(
                f"Each of several `--style` needs its second in front. Received: {word!r}. Write --style 0={word}."
            )
        points.append((float(found[1]), _blend(word[found.end() :])))
    return points


def _blend(text: str) -> dict[str, float]:
    """Returns the weight of each label in a text such as "jazz:0.7,rock:0.3"; a label without one has 1."""
    found = {}
    for part in text.split(","):
        label, colon, weight = part.rpartition(":")
        try:
            found[label if colon else part] = float(weight) if colon else 1.0
        except ValueError:
            raise ValueError(
                f"`--style` must be a label, or LABEL:WEIGHT for each of several. Received: {part!r}."
            ) from None
    return found


def _names(options: argparse.Namespace) -> list[Path]:
    """Returns the files that may be written."""
    file = Path(options.song)
    if options.takes is not None:
        takes = range(options.take, options.take + options.takes)
        return [_table(file), *(_take_file(file, number) for number in takes)]
    if options.clips == 1:
        return [file]
    return [file.with_stem(f"{file.stem}-{k + 1}") for k in range(options.clips)]


def _take_file(file: Path, number: int) -> Path:
    return file.with_stem(f"{file.stem}-take-{number}")


def _table(file: Path) -> Path:
    return file.with_name(f"{file.stem}-takes.csv")


def _write_takes(options: argparse.Namespace, takes: "Sequence[Take]", generator: "gl.Generator") -> None:
    """Writes the best takes, and a row for each of all takes."""
    file, keep = Path(options.song), len(takes) if options.keep is None else options.keep
    for take in takes[:keep]:
        song = take.song
        if options.include_seed:
            song = generator.extend(options.seed, include_seed=True, **{**_given(options), "take": take.number})
        _write(_take_file(file, take.number), song, generator.sample_rate)
    settings = {name: vars(options)[name] for name in ("random_seed", "temperature", "leash", "bpm", "seconds")}
    settings["style"] = " ".join(options.style or ())
    rows = [
        {
            "take": take.number,
            "rank": rank,
            "file": _take_file(file, take.number).name if rank <= keep else "",
            "distance": take.distance,
            **take.measures,
            **settings,
        }
        for rank, take in enumerate(takes, 1)
    ]
    with _files.replacing(_table(file)) as temporary, open(temporary, "w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    say(f"{_table(file)}: {len(takes)} takes, the best is number {takes[0].number}")


def _write(name: Path, song: np.ndarray, rate: int) -> None:
    gl.audio.write(name, song, rate)
    say(f"{name}: {song.size / rate:.1f} s at {rate} Hz")


def _check_takes(options: argparse.Namespace) -> None:
    _checks.positive_int("take", options.take, minimum=0)
    if options.takes is None:
        if options.keep is not None:
            raise ValueError(f"`--keep` chooses among `--takes`. Received: --keep {options.keep} alone. Add --takes.")
        return
    _checks.positive_int("takes", options.takes)
    if options.keep is not None and _checks.positive_int("keep", options.keep) > options.takes:
        raise ValueError(f"`--keep` must be at most `--takes`. Received: {options.keep} of {options.takes}.")
    if options.clips != 1 or options.history != "carry":
        raise ValueError(
            "Takes are drawn one after the other, with carried states. Received: "
            f"--clips {options.clips}, --history {options.history}. Leave both out."
        )


def _check_drawing(options: argparse.Namespace) -> None:
    """Checks the values before seconds are spent on loading Keras."""
    if options.temperature is not None:
        _checks.number("temperature", options.temperature, 0)
    if options.leash is not None:
        _checks.number("leash", options.leash, 0, 1)
    if options.choices is not None:
        _checks.positive_int("choices", options.choices)
    if options.random_seed is not None:
        _checks.positive_int("random_seed", options.random_seed, minimum=0)
    if options.bpm is not None:
        check_bpm("bpm", options.bpm)
    style_of(options.style)


def _history(text: str) -> str | int:
    if text in ("carry", "full"):
        return text
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"carry, full or a number of frames, not {text!r}")
