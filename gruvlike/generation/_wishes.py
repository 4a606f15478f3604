"""The wishes for songs, checked, and songs as they come: frames that are predicted, then sound."""

from collections.abc import Iterator, Sequence

import numpy as np

from gruvlike import _checks
from gruvlike._contracts import Temperature
from gruvlike.generation._engine import Network
from gruvlike.generation._joining import Coming, frames_for, joined
from gruvlike.generation._memory import Memory, Past, Sampling, Wish, predicted
from gruvlike.generation._opening import Listening, Seed, SoundParts, check_equal_lengths, read_opening

_LEASH, _CHOICES = 0.6, 4  # of a network with conditions


def size_of(parts: SoundParts, seconds: float | None, steps: int | None) -> int | None:
    """Returns the samples of a song; `None` for one that never ends."""
    if seconds is not None and steps is not None:
        raise ValueError(f"Give `seconds` or `steps`, not both. Received: seconds={seconds!r}, steps={steps!r}.")
    if steps is not None:
        return _checks.positive_int("steps", steps) * parts.encoder.hop
    if seconds is None:
        return None
    return max(1, round(_checks.number("seconds", seconds, 0, open_low=True) * parts.sample_rate))


def length_of(method: str, parts: SoundParts, seconds: float | None, steps: int | None) -> int:
    """Returns the samples of a song that has to end."""
    size = size_of(parts, seconds, steps)
    if size is None:
        raise ValueError(f"`{method}` needs the length of the song. Received: neither `seconds` nor `steps`. Give one.")
    return size


def check_level(seed: object, match_level: bool) -> None:
    """Raises if a level is to be matched that is not known."""
    if match_level and isinstance(seed, Memory):
        raise ValueError(
            "`match_level` needs the seed. Received: a memory, which does not hold the whole seed. Give the seed, "
            "or use `gruvlike.audio.match_level`."
        )


def sampling_of(
    network: Network,
    temperature: Temperature | None,
    random_seed: int | None,
    leash: float | None,
    take: int,
    choices: int | None = None,
) -> Sampling:
    """Returns how the frames of a song are drawn."""
    head, take = network.head, _checks.positive_int("take", take, minimum=0)
    several = None if choices == 1 else choices
    given = {"temperature": temperature, "random_seed": random_seed, "take": take or None, "choices": several}
    named = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
    if named and not network.draws:
        raise ValueError(
            f"`temperature`, `random_seed`, `take` and `choices` are for heads that draw. Received: {named}, with "
            f"a {type(head).__name__} head, which draws nothing. Leave them out."
        )
    temperature = head.temperature if temperature is None else temperature
    random_seed = 0 if random_seed is None else _checks.positive_int("random_seed", random_seed, minimum=0)
    leash = (_LEASH if network.conditions else 0.0) if leash is None else _checks.number("leash", leash, 0, 1)
    if choices is None:
        choices = _CHOICES if network.conditions and network.draws and temperature else 1
    return Sampling(temperature, random_seed, leash, take, _checks.positive_int("choices", choices)).checked()


def begin(
    network: Network, seed: Seed | Sequence[Seed] | Memory, clips: int, wish: Wish, listening: Listening
) -> Coming:
    """Reads the seeds, or takes up a memory, and returns the songs to come."""
    before, seeds, parts = None, [], network.parts
    if isinstance(seed, Memory):
        network.check_memory(seed, wish, listening.bpm)
        memory = seed.repeat(_checks.positive_int("clips", clips) if clips > 1 else len(seed.frames))
        single = clips == 1 and len(memory.frames) == 1
        network.refresh(len(memory.frames))
        pasts, order = network.go_on(memory, wish)
    else:
        opening = read_opening(parts, seed, clips, listening)
        single, seeds = opening.single, opening.samples
        if wish.include_seed:
            check_equal_lengths(opening.samples)
            before = np.stack(opening.samples)
        pasts, order, memory = network.begin(opening, wish)
    frames = frames_of(network, pasts, order, wish)
    whole = wish.frames_at_once is None
    pieces = joined(parts, memory.frames, memory.samples, frames, wish.size, before, whole)
    total = (wish.size or 0) + (0 if before is None else before.shape[1])
    return Coming(len(memory.frames), total, single, pieces, seeds)


def frames_of(network: Network, pasts: Sequence[Past], order: Sequence[int], wish: Wish) -> Iterator[np.ndarray]:
    """Yields the frames of songs in pieces, (clips, T, W), and raises if the network predicts NaN."""
    chunk = wish.frames_at_once or max(past.chunk for past in pasts)
    return network.finite(predicted(pasts, order, frames_for(network.parts, wish.size), chunk))


def sung(coming: Coming) -> np.ndarray:
    """Returns the samples of songs, (clips, S), with a progress bar where that takes long."""
    from tqdm import tqdm

    song, done = np.empty((coming.clips, coming.total), np.float32), 0
    with tqdm(total=coming.total, unit="samples", unit_scale=True, desc="generating", disable=None, delay=2) as bar:
        for piece in coming.pieces:
            song[:, done : done + piece.shape[1]] = piece
            done += piece.shape[1]
            bar.update(piece.shape[1])
    return song
