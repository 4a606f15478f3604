"""Songs to listen to and to look at: Opus files of a system, and spectrograms and onsets beside real music."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gruvlike as gl
from gruvlike.rhythm import _onsets as rises

SHOWN = 4  # songs
SECONDS = 8.0  # of the end of a song, where one sees whether it has held
_DOTS = 60  # an inch: a picture has a hundred kilobytes or two


def chosen(songs: Path) -> list[Path]:
    """Returns the files of some songs, evenly over all, so that they are of several tracks."""
    files = sorted(songs.glob("*.wav"))
    return [files[k] for k in np.linspace(0, len(files) - 1, min(SHOWN, len(files))).astype(int)]


def listen(songs: Path, real: Path, rate: int, picture: Path) -> list[Path]:
    """Writes the chosen songs as Opus beside their folder, and a picture of them beside the music that really followed.

    Returns:
        The Opus files.
    """
    found = []
    for file in chosen(songs):
        opus = songs.parent / "listen" / f"{songs.name}-{file.stem}.opus"
        opus.parent.mkdir(exist_ok=True)
        gl.audio.write(opus, gl.audio.read(file, rate), rate)
        found.append(opus)
    figure = Figure(figsize=(16, 3 * len(found)), layout="constrained")
    grid = figure.subplots(2 * len(found), 2, sharex=True, height_ratios=[3, 1] * len(found), squeeze=False)
    for row, file in enumerate(chosen(songs)):
        for column, folder in enumerate((real, songs)):
            sound = gl.audio.read(folder / file.name, rate)[-int(SECONDS * rate) :]
            gl.plots.spectrogram(sound, rate, grid[2 * row, column]).set(xlabel="")
            draw_onsets(sound, rate, grid[2 * row + 1, column])
            grid[2 * row, column].set_title(f"{file.stem.partition('-')[2]}: {'song' if column else 'real music'}")
    for axes in grid[-1]:
        axes.set_xlabel("seconds")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=_DOTS, pil_kwargs={"quality": 70})
    return found


def draw_onsets(samples: np.ndarray, rate: int, axes: Axes) -> None:
    """Draws the onset envelope."""
    found = rises.onsets(samples, rate)
    axes.plot(found.start + np.arange(len(found.envelope)) / found.rate, found.envelope, linewidth=0.8)
    axes.set(xlim=(0, len(samples) / rate), ylim=(0, None), ylabel="onsets, dB")
