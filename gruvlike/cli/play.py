"""`gruvlike play`: a seed is continued for as long as one listens, and keys change temperature and style."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import gruvlike as gl
from gruvlike import _checks
from gruvlike.cli import _keys
from gruvlike.cli._console import say
from gruvlike.cli._parser import Commands, add_command
from gruvlike.cli._paths import model_file, source
from gruvlike.cli.generate import style_of
from gruvlike.rhythm._beat import check_bpm

if TYPE_CHECKING:
    from gruvlike.conditions._style import Blend
    from gruvlike.live import Player
    from gruvlike.models import AudioModel

_PIECE_SECONDS = 0.25  # of the song at once: shorter pieces react sooner, and each of them costs
_STEP, _HIGHEST = 0.1, 3.0
_LOOK_SECONDS = 0.05  # from one look at the keyboard to the next
_INSTEAD = "`gruvlike generate` writes the song to a file instead."


def add(commands: Commands) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        play,
        help="play what follows a seed while it is made; keys change temperature and style",
        example="play runs/a seed.wav --temperature 0.7",
        interrupted="The song ends here.",
    )
    add_argument = parser.add_argument
    add_argument("model", help="run that `gruvlike train` made (its best model), or one of its files")
    add_argument("seed", help="audio file to continue, any format and sample rate")
    add_argument("--seconds", type=float, help="length of the song (default: until q or Ctrl-C)")
    add_argument("--temperature", type=float, metavar="X", help="to begin with (default: that of the model)")
    add_argument("--style", metavar="LABEL|LABEL:X,LABEL:X", help="to begin with (default: equal parts of all labels)")
    add_argument("--leash", type=float, metavar="X", help="as for `gruvlike generate`")
    add_argument("--random-seed", type=int, metavar="N", help="another song of the same seed (default: 0)")
    add_argument("--bpm", type=float, metavar="X", help="beats a minute of the seed; without it they are found")
    add_argument("--pad-seed", action="store_true", help="put silence before a seed that is too short")
    add_argument("--buffer", type=float, default=1.0, metavar="SECONDS", help="how much of the song is made ahead")
    add_argument("--device", help="number or name of a sound card; `python -m sounddevice` lists them")


class Knob(Protocol):
    """Something that keys change while a song plays."""

    keys: str
    """Its keys, and the purpose of each."""

    def turn(self, key: str) -> bool:
        """Changes the value; returns whether the key is one of its own."""

    def __str__(self) -> str:
        """Returns name and value."""


class Dial:
    """A temperature that keys change: calling it returns the temperature of this moment.

    Args:
        start: The value to begin with, and to come back to.
    """

    keys = "+ and - change the temperature, 0 sets it back"

    def __init__(self, start: float):
        self.start = self.value = start

    def __call__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"temperature {self.value:g}"

    def turn(self, key: str) -> bool:
        """Goes up for "+", down for "-", back for "0"; returns whether the key was one of these."""
        values = {"+": self.value + _STEP, "-": self.value - _STEP, "0": self.start}
        self.value = round(min(max(values.get(key, self.value), 0.0), _HIGHEST), 2)
        return key in values


class Switch:
    """A style that keys change: calling it returns the style of this moment.

    Args:
        styles: The styles in the order of the keys, by the names that are said; the first one to begin with.
    """

    keys = "n and p go to the next and the previous style"

    def __init__(self, styles: "Mapping[str, Blend | None]"):
        self._styles, self._place = list(styles.items()), 0

    def __call__(self) -> "Blend | None":
        return self._styles[self._place][1]

    def __str__(self) -> str:
        return f"style {self._styles[self._place][0]}"

    def turn(self, key: str) -> bool:
        """Goes to the next for "n", to the one before for "p"; returns whether the key was one of these."""
        steps = {"n": 1, "p": -1}
        self._place = (self._place + steps.get(key, 0)) % len(self._styles)
        return key in steps


def play(options: argparse.Namespace) -> None:
    """Plays until the song ends, `q` or Ctrl-C."""
    _check(options)
    path = source(model_file(options.model))
    source(options.seed)
    sounddevice = _sounddevice()
    model = gl.load(path)
    card = _card(sounddevice, options.device, model.sample_rate)
    dial, switch = _dial(model, options.temperature), _switch(model, options.style)
    player = _player(model, dial, switch, options)
    knobs: list[Knob] = [knob for knob in (dial, switch) if knob is not None]
    say(f"Keys: {'; '.join(knob.keys for knob in knobs)}; q ends." if knobs else "Key: q ends.")
    with player, card(player) as stream, _keys.pressed() as keys:
        _follow(player, stream, keys, knobs)
    if player.error is not None:
        raise player.error
    if player.underruns:
        say(
            f"{player.underruns} gaps, {player.missing / player.sample_rate:.1f} s in all: the song was made more "
            "slowly than it plays. A larger --buffer helps against short delays, a smaller network against long ones."
        )


def _check(options: argparse.Namespace) -> None:
    """Checks the values before seconds are spent on loading Keras."""
    for name, low in (("seconds", 0.0), ("temperature", 0.0), ("buffer", 0.0)):
        if getattr(options, name) is not None:
            _checks.number(name, getattr(options, name), low, open_low=name != "temperature")
    if options.leash is not None:
        _checks.number("leash", options.leash, 0, 1)
    if options.random_seed is not None:
        _checks.positive_int("random_seed", options.random_seed, minimum=0)
    if options.bpm is not None:
        check_bpm("bpm", options.bpm)
    _style(options.style)


def _style(word: str | None) -> Mapping[str, float] | None:
    """Returns the weights of a style that is said; raises if it changes along the song: keys do that."""
    found = style_of(None if word is None else [word])
    if isinstance(found, list):
        raise ValueError(
            f"`--style` must be without a second: keys change it. Received: {word!r}. Leave the second out."
        )
    return found


def _sounddevice() -> ModuleType:
    try:
        import sounddevice
    except ImportError as error:
        raise ImportError(
            f"Playing needs the package sounddevice. Received: {error}. `pip install 'gruvlike[play]'`; or {_INSTEAD}"
        ) from error
    except OSError as error:  # the package is there, and the library that it calls is not
        raise OSError(
            f"Playing needs the library PortAudio. Received: {error}. Install it (on Debian: libportaudio2); or "
            f"{_INSTEAD}"
        ) from error
    return sounddevice


def _card(sounddevice: ModuleType, device: str | None, rate: int) -> "Callable[[Player], AbstractContextManager[Any]]":
    """Returns a function that opens the sound card for a player; raises if there is none that can play."""
    settings = {
        "device": int(device) if device and device.isdecimal() else device,
        "channels": 1,
        "dtype": "float32",
        "samplerate": rate,
    }
    try:
        sounddevice.check_output_settings(**settings)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise OSError(
            f"Playing needs a sound card that takes {rate} samples a second. Received: device={device!r}: {error}. "
            f"Connect one, or name another by --device (`python -m sounddevice` lists them); or {_INSTEAD}"
        ) from error

    def opened(player: "Player") -> AbstractContextManager[Any]:
        def callback(block: Any, count: int, *_: object) -> None:
            block[:, 0] = player.pull(count)

        return sounddevice.OutputStream(callback=callback, **settings)

    return opened


def _dial(model: "AudioModel", temperature: float | None) -> Dial | None:
    """Returns a dial for a head that draws; `None` for others."""
    if not model.head.draws(1):  # whether it is any number does not depend on the width
        return None
    return Dial(model.head.temperature if temperature is None else temperature)


def _switch(model: "AudioModel", word: str | None) -> Switch | None:
    """Returns a switch between the style that is said, the mix of all and each label; `None` without styles."""
    styles = [one for one in gl.conditions.conditions_of(model.stack) if isinstance(one, gl.Style)]
    if len(styles) != 1:
        return None
    said = {} if word is None else {word: _style(word)}
    return Switch({**said, "all in equal parts": None, **{label: label for label in styles[0].labels}})


def _player(model: "AudioModel", dial: Dial | None, switch: Switch | None, options: argparse.Namespace) -> "Player":
    """Returns a player whose buffer is full."""
    song = gl.Generator(model).stream(
        options.seed,
        seconds=options.seconds,
        temperature=options.temperature if dial is None else dial,
        random_seed=options.random_seed,
        style=_style(options.style) if switch is None else switch,
        leash=options.leash,
        bpm=options.bpm,
        pad_seed=options.pad_seed,
        frames_at_once=max(1, round(_PIECE_SECONDS * model.sample_rate / model.encoder.hop)),
    )
    player = gl.live.Player(song, model.sample_rate, options.buffer)
    player.fill()
    return player


def _follow(player: "Player", stream: Any, keys: Callable[[], str], knobs: Sequence[Knob]) -> None:
    """Watches player, sound card and keyboard until one of them ends the song."""
    while not player.ended:
        if not stream.active:
            raise OSError("The sound card must play on. Received: it has stopped. Connect it again, and start anew.")
        for key in keys():
            if key == "q":
                return
            for knob in knobs:
                if knob.turn(key):
                    say(str(knob))
        time.sleep(_LOOK_SECONDS)
