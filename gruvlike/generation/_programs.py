"""The compiled programs of a generator: made when they are first needed, and shared by songs of several threads."""

import threading
from typing import Any

import keras

from gruvlike._step._forward import Forward, check_causal, make_forward
from gruvlike._step._layouts import fastest_layout, lay_out
from gruvlike._step._loops import Loop, make_loop
from gruvlike._step._stateless import StatelessStack
from gruvlike._step._step import Step
from gruvlike.generation._opening import SoundParts
from gruvlike.heads import Head

_LEASH_SECONDS = 2.0  # the running mean of a leash is taken over so many seconds


class Programs:
    """Makes each program once, whichever thread asks first. A copy, or another process, makes them anew.

    Args:
        stack: The network.
        head: The meaning of its outputs.
        parts: The parts between samples and its frames.
        dtype: As for `Generator`.
        torch_compile: As for `Generator`.
    """

    def __init__(self, stack: keras.Model, head: Head, parts: SoundParts, dtype: str | None, torch_compile: bool):
        self._given = stack, head, parts, dtype, torch_compile
        self._lock = threading.RLock()
        self._stacks: dict[str | None, StatelessStack] = {}  # the keys are layouts
        self._loops: dict[tuple[int, int | None, bool], Loop] = {}  # a key is number of clips, chunk, and leash or none
        self._forward: Forward | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Says how a copy is made: compiled programs cannot travel."""
        return Programs, self._given

    def forward(self) -> Forward:
        """Returns the stack over whole sequences, compiled.

        Raises:
            ValueError: If it reads the future.
        """
        stack, head, parts, _, _ = self._given
        with self._lock:
            if self._forward is None:
                forward = make_forward(stack, parts.width)
                check_causal(stack, forward, parts.width, head.outputs(parts.width))
                self._forward = forward
            return self._forward

    def stack(self, clips: int) -> StatelessStack:
        """Returns the stack as a function of frames and states, in the layout that is best for so many clips."""
        stack, _, _, dtype, _ = self._given
        layout = None if dtype else fastest_layout(clips)
        with self._lock:
            if layout not in self._stacks:
                self._stacks[layout] = lay_out(stack, dtype, layout)
            return self._stacks[layout]

    def loop(self, clips: int, chunk: int | None, leashed: bool = False) -> Loop:
        """Returns the loop for so many clips, with a leash or without one; `chunk` as for `make_loop`."""
        _, head, parts, _, torch_compile = self._given
        key = clips, chunk, leashed
        with self._lock:
            if key not in self._loops:
                leash_frames = _LEASH_SECONDS * parts.sample_rate / parts.encoder.hop if leashed else None
                step = Step(self.stack(clips), head, parts.width, parts.bounds, leash_frames)
                self._loops[key] = make_loop(step, clips, chunk, torch_compile)
            return self._loops[key]
