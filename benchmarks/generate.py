"""Generating: ms a step, against `predict` over the growing past, a stateful twin, and reading the weights once a step.

KERAS_BACKEND=tensorflow python benchmarks/generate.py
"""

import contextlib
import io
import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from _measure import FULL, Row, cache_bytes, in_turn, publish, read_rate, read_seconds, seconds_of
from _networks import BLOG, LAPPED, PAPER, SMALL, Network

import gruvlike as gl
from gruvlike._step._layouts import fastest_layout, lay_out
from gruvlike._step._loops import make_loop
from gruvlike._step._step import Step
from gruvlike.heads import Point

CLIPS = 16
SEED_STEPS = 2


def make_generator(network: Network) -> tuple[gl.Generator, np.ndarray]:
    """A generator, and a seed of two frames."""
    encoder = network.make_encoder()
    generator = gl.Generator(network.make_stack(), encoder=encoder, sample_rate=network.sample_rate)
    seed = np.random.default_rng(0).standard_normal(encoder.span(SEED_STEPS)).astype("float32") / 10
    return generator, seed


def stateful_twin(stack: keras.Model) -> keras.Model:
    """Returns the rival that people write by hand: the same stack with stateful layers, one frame at a time."""

    def keep(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, keras.layers.RNN):
            config.update(stateful=True)
        elif isinstance(layer, keras.layers.InputLayer):
            config.update(batch_shape=(1, 1, stack.input_shape[-1]))
        return type(layer).from_config(config)

    twin = keras.models.clone_model(
        stack, input_tensors=keras.Input(batch_shape=(1, 1, stack.input_shape[-1])), clone_function=keep
    )
    twin.set_weights(stack.get_weights())
    return twin


def twin_step(twin: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that takes the twin a frame further."""
    if keras.backend.backend() == "jax":  # there `predict_on_batch` forgets the states
        return jax_step(twin)
    return twin.predict_on_batch


def jax_step(twin: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """The same in JAX: a compiled function, which the states go through. A bare `twin(frame)` compiles at each call.

    `stateless_call` would not do: the states of recurrent layers are not among the variables of a model.
    """
    import jax

    kept = [state for layer in twin.layers for state in keras.tree.flatten(getattr(layer, "states", None) or [])]

    @jax.jit
    def step(weights: list, states: list, frame: Any) -> tuple[Any, list]:
        mapping = list(zip([*twin.variables, *kept], [*weights, *states], strict=True))
        with keras.StatelessScope(state_mapping=mapping) as scope:
            output = twin(frame, training=False)
        return output, [scope.get_current_value(state) for state in kept]

    weights, states = ([variable.value for variable in variables] for variables in (twin.variables, kept))

    def go_on(frame: np.ndarray) -> np.ndarray:
        nonlocal states
        output, states = step(weights, states, frame)
        return np.asarray(output)

    return go_on


def growing_past(stack: keras.Model, lengths: tuple[int, ...], total: int, rounds: int) -> float:
    """Seconds a step, on average over `total` steps, of `predict` over all frames so far.

    It is measured at a few lengths; between them the cost is taken to grow in a straight line.
    """
    pasts = {length: np.zeros((1, length, stack.input_shape[-1]), "float32") for length in lengths}
    for past in pasts.values():
        stack.predict(past, verbose=0)  # compiles
    taken = in_turn({str(n): lambda past=past: stack.predict(past, verbose=0) for n, past in pasts.items()}, rounds)
    each = np.interp(np.arange(1, total + 1), lengths, [taken[str(length)] for length in lengths])
    return float(each.mean())


def growth(stack: keras.Model, late: int, songs: int) -> tuple[float, float]:
    """Milliseconds of steps around `late` and around step 20 of a song.

    Young songs and an old one take as many steps in turn, in one call of the compiled loop each: its cost is in both.
    """
    loop = make_loop(Step(lay_out(stack, None, fastest_layout(1)), Point(), stack.input_shape[-1]), 1)
    count = min(40, loop.chunk)
    begun = old = loop.start()
    for done in range(0, late - count // 2, count):
        _, old = loop.run(min(count, late - count // 2 - done), old)

    def go_on() -> None:
        nonlocal old
        _, old = loop.run(count, old)

    taken = in_turn({"early": lambda: loop.run(count, begun), "late": go_on}, songs)
    return 1e3 * taken["late"] / count, 1e3 * taken["early"] / count


class Terminal(io.StringIO):
    """A stream that claims to be a terminal, so that a progress bar is drawn on it."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def bar_row(network: Network, seconds: float, rounds: int) -> Row:
    """Measures the cost of the progress bar in songs that take about `seconds`, long enough for the bar to appear."""
    generator, seed = make_generator(network)
    generator.extend(seed, steps=100)  # compiles
    steps = max(1, round(100 * seconds / seconds_of(lambda: generator.extend(seed, steps=100))))

    def extend(file: io.StringIO) -> None:
        with contextlib.redirect_stderr(file):
            generator.extend(seed, steps=steps)

    files = {"on": Terminal(), "off": io.StringIO()}
    taken = in_turn({name: lambda file=file: extend(file) for name, file in files.items()}, rounds)
    what = f"the progress bar, {network.name}, {steps:,} steps: on; limit: off"
    return Row(what, taken["on"], None, taken["off"], "s")


def measure_one(
    network: Network, steps: int, rounds: int, lengths: tuple[int, ...], total: int, late: int, rate: float
) -> tuple[list[Row], str]:
    """Rows and a remark for one network; `rate`: bytes of memory read a second."""
    generator, seed = make_generator(network)
    stack, hop = generator.stack, generator.encoder.hop
    calls = {
        "one": lambda: generator.extend(seed, steps=steps),
        "many": lambda: generator.extend(seed, steps=steps, clips=CLIPS),
    }
    first = {name: seconds_of(call) for name, call in calls.items()}
    step, frame = twin_step(stateful_twin(stack)), np.zeros((1, 1, stack.input_shape[-1]), "float32")
    step(frame)
    calls["twin"] = lambda: [step(frame) for _ in range(steps)]
    taken = in_turn(calls, rounds)
    one, many = (1e3 * taken[name] / (steps + SEED_STEPS) for name in ("one", "many"))
    limit = 4e3 * network.parameters() / rate
    past = 1e3 * growing_past(stack, lengths, total, rounds)
    now, early = growth(stack, late, 5 * rounds)
    name = f"{network.name}, {network.parameters() / 1e6:.1f} M parameters"
    played = f"{hop / network.sample_rate / one * 1e3:.3g} times real time"
    unit = "ms a step"
    rows = [
        Row(f"{name}: {played}; rival: `predict` over the past", one, past, limit, unit),
        Row("the same; rival: a stateful twin, a call a step", one, 1e3 * taken["twin"] / steps, limit, unit),
        Row(f"{CLIPS} clips at once, for all; rival: one by one", many, CLIPS * one, limit, unit),
        Row(f"around step {late}; limit: around step 20", now, None, early, unit),
    ]
    compiling = " and ".join(f"{first[name] - taken[name]:.2f} s" for name in first)
    return rows, (
        f"- {name}: {CLIPS} clips cost {many / one:.2f} times one. The first song took {compiling} longer (one clip, "
        f"{CLIPS} clips): that is compiling. {in_the_cache(4 * network.parameters())}"
    )


def in_the_cache(size: int) -> str:
    """Returns a remark if `size` bytes of weights fit in the cache, because then reading memory is no limit."""
    if size > cache_bytes():
        return f"The weights, {size / 1e6:.3g} MB, do not fit the cache of {cache_bytes() / 1e6:.3g} MB."
    return (
        f"The weights, {size / 1e6:.3g} MB, fit the cache of {cache_bytes() / 1e6:.3g} MB: from there a product reads "
        f"them in {1e3 * read_seconds(size):.3g} ms."
    )


def measure(
    networks: tuple[Network, ...] = (PAPER, BLOG, LAPPED, SMALL),
    seconds: float = 2.0,
    rounds: int = 3,
    lengths: tuple[int, ...] = (50, 200, 1000),
    total: int = 1000,
    late: int = 2000,
    read: int = 2**29,
) -> tuple[list[Row], str]:
    """Measures all networks; a run takes about `seconds`, by the bytes of the weights; `read`: bytes to read."""
    rows, remarks = [], []
    rate = read_rate(read)
    for network in networks:
        steps = int(np.clip(seconds / (network.parameters() * 4 / 20e9 + 1e-4), 4, late))
        found, said = measure_one(network, steps, rounds, lengths, total, late, rate)
        rows += found
        remarks.append(said)
    rows.append(bar_row(networks[-1], 2 * seconds, rounds))
    text = "\n".join(remarks)
    return rows, (
        "Ours is a whole call of `Generator.extend`, decoding included, over its steps. `predict` over the past is "
        f"measured at {', '.join(map(str, lengths))} frames and averaged over {total} steps. Limit: reading the "
        f"weights once a step from memory, {rate / 1e9:.3g} GB/s by all cores together. Late and early steps are taken "
        f"in turn, without decoding.\n\n{text}"
    )


def main() -> None:
    """Measures and writes."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    publish(f"generate-{keras.backend.backend()}", *measure(rounds=5 if FULL else 3))


if __name__ == "__main__":
    main()
