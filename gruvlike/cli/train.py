"""`gruvlike train`: a model is trained on a corpus, in a run folder. Its options are those of a recipe."""

import argparse
import shlex
from typing import Any

import gruvlike as gl
from gruvlike._contracts import StopsForAReason
from gruvlike.cli._console import say
from gruvlike.cli._options import DEFAULT, add_flags, add_run_options, recipe_of, run_options
from gruvlike.cli._parser import Commands, add_command
from gruvlike.cli._paths import model_file, run_folder, source


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        train,
        help="train a model on a corpus, or go on with a run that was interrupted",
        example="train music.h5 runs/a --minutes 10",
        interrupted="Training had not begun; the run folder is as it was.",
    )
    parser.add_argument("corpus", help="file that `gruvlike prepare` wrote")
    parser.add_argument("run", help="folder for the run, such as runs/a; the same command again goes on where it was")
    parser.add_argument(
        "--recipe",
        default=DEFAULT,
        metavar="NAME|FILE",
        help="settings to start from: music, paper (those of 2015), a JSON file, or a run; other options change them, "
        "and the defaults below are those of music",
    )
    add_flags(parser)
    add_run_options(parser)


def train(options: argparse.Namespace) -> None:
    """Trains, or goes on with a run."""
    given = vars(options)
    directory = run_folder(options.run)
    recipe = recipe_of(given)
    watching: dict[str, Any] = {
        name: option.checked(name, given[name]) for name, option in run_options().items() if name in given
    }
    path = source(options.corpus)
    recipe.check_parts()

    from gruvlike import callbacks
    from gruvlike.callbacks import _summary
    from gruvlike.cli import _session

    model, windows, validation_windows, _, _, test = recipe.build(gl.Corpus(path))
    say(f"{model.count_params():,} parameters, {len(windows)} batches an epoch")
    monitor = "val_song_distance" if recipe.choose_by == "song" else "val_loss"
    watching |= {"monitor": monitor, "patience": recipe.patience}
    if recipe.choose_by == "song" and watching.get("preview_every") == 0:  # songs are measured without previews, too
        watching["song_score"] = callbacks.SongScore()
    notes = {"command": shlex.join(["gruvlike", *options.words])}
    watchers = callbacks.run_callbacks(directory, test=test, notes=notes, recipe=recipe.to_dict(), **watching)
    budget = _session.Budget(recipe.epochs, recipe.minutes, recipe.decay)
    _session.fit(model, windows, validation_windows, watchers, budget)
    for guard in watchers:
        if isinstance(guard, StopsForAReason) and guard.reason:
            raise ValueError(guard.reason)
    if summary := _summary.write_summary(directory):
        say(summary)
    say(f"model: {model_file(directory)}")
