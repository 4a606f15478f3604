"""`gruvlike listen`: a page to listen to, about one run or several side by side."""

import argparse
from pathlib import Path

import gruvlike as gl
from gruvlike import _checks
from gruvlike.cli._console import say
from gruvlike.cli._parser import Commands, add_command, add_overwrite
from gruvlike.cli._paths import source, target


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        listen,
        help="write a page to listen to: songs of runs beside real music, a blind test, curves and measures",
        example="listen runs/a runs/b --out page.html",
    )
    add_argument = parser.add_argument
    add_argument("runs", nargs="+", help="folders that `gruvlike train` made")
    add_argument("--out", metavar="FILE", help="page to write (default: listen.html in the folder of the first run)")
    add_argument("--corpus", metavar="FILE", help="the corpus of the runs (default: where it was in training)")
    add_argument("--seeds", type=int, default=3, help="how many openings of held-out music, at most")
    add_argument("--seed-seconds", type=float, default=8.0, metavar="X", help="length of a seed")
    add_argument("--seconds", type=float, default=12.0, metavar="X", help="length of a song")
    add_argument(
        "--temperatures",
        type=_temperatures,
        metavar="X,X",
        help="of the takes of a network that draws (default: half that of the model, that of the model, and 1)",
    )
    add_argument("--random-seed", type=int, default=0, metavar="N", help="other takes")
    add_overwrite(parser, "replace an existing page")


def listen(options: argparse.Namespace) -> None:
    """Writes the page."""
    for name in ("seed_seconds", "seconds"):
        _checks.number(name, getattr(options, name), 0, open_low=True)
    _checks.positive_int("seeds", options.seeds)
    _checks.positive_int("random_seed", options.random_seed, minimum=0)
    folders = [_run(name) for name in options.runs]
    file = target(options.out or folders[0] / "listen.html", options.overwrite)
    corpus = None if options.corpus is None else source(options.corpus)
    notes = gl.listening.write_page(
        file,
        [gl.listening.read_run(folder, corpus) for folder in folders],
        seeds=options.seeds,
        seed_seconds=options.seed_seconds,
        seconds=options.seconds,
        temperatures=options.temperatures,
        random_seed=options.random_seed,
    )
    for note in notes:
        say(note)
    say(f"{file}: {file.stat().st_size / 1e6:.1f} MB; open it in a browser")


def _run(name: str) -> Path:
    """Returns the folder of a run; whether it is whole is found when it is read."""
    if not Path(name).is_dir():
        raise FileNotFoundError(f"There is no run {name!r}. Name the folder that `gruvlike train` made.")
    return Path(name)


def _temperatures(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"numbers with commas between, such as 0.5,1, not {text!r}") from None
