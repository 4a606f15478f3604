"""How large: parameters, memory and time, estimated before anything is allocated."""

import logging
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from gruvlike._backend import available_bytes
from gruvlike._contracts import WindowsLike, as_batch
from gruvlike._step._stateless import is_functional, layers_of
from gruvlike.conditions import conditions_of
from gruvlike.models._conditioning import supplied

logger = logging.getLogger(__name__)

_FLOAT = 4  # bytes
_SLOTS = 2  # Adam keeps so many numbers for a weight; the gradient comes on top
# A frame leaves so many numbers for the gradient, as measured with TensorFlow on a CPU. Some are kept for each feature
# (pieces of sound, spectrum, frames, prediction, error), others for each unit of a layer (gates, state, output).
_KEPT_FEATURES = 6
_KEPT = {keras.layers.LSTM: 13, keras.layers.GRU: 15}
_SURE = 1.5  # training is refused above this ratio of estimated to free memory; a warning comes between 1 and it
_WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)


class Width(NamedTuple):
    """A width of the recurrent layers, and its cost for a corpus: a row of a `Description`, which `describe` makes.

    Attributes:
        units: Width of each recurrent layer.
        parameters: Of the whole stack.
        values_per_parameter: Numbers in the frames of the corpus, over parameters.
        epoch_seconds: Estimated, from two steps that were measured.
        training_bytes: Estimated.
    """

    units: int
    parameters: int
    values_per_parameter: float
    epoch_seconds: float
    training_bytes: int


@dataclass(frozen=True)
class Description:
    """A model and a corpus in figures, from `describe`; `print` shows them.

    Attributes:
        parameters: Of the stack.
        training_bytes: Weights, gradients, optimizer and the numbers kept for the gradient, estimated.
        available_bytes: Memory that is free; `None` where that is not known.
        windows: Windows an epoch.
        epoch_seconds: Time an epoch, from two steps that were measured; NaN if it would not fit in memory.
        context_seconds: Of music in a window.
        training_values: Numbers in the frames of the corpus.
        widths: A `recurrent_stack` of as many layers in other widths; empty if the stack has no LSTM or GRU layers.
    """

    parameters: int
    training_bytes: int
    available_bytes: int | None
    windows: int
    epoch_seconds: float
    context_seconds: float
    training_values: int
    widths: tuple[Width, ...]

    @property
    def largest_units(self) -> int | None:
        """The widest of `widths` that fits in memory and cannot store the music number by number, if there is one.

        With more parameters than numbers to learn from, a network can learn the corpus by heart.
        """
        limit = self.available_bytes or float("inf")
        fitting = [w.units for w in self.widths if w.values_per_parameter >= 1 and w.training_bytes <= limit]
        return max(fitting, default=None)

    def __str__(self) -> str:
        available = "" if self.available_bytes is None else f" of {_amount(self.available_bytes, 'B')} free"
        lines = [
            f"parameters            {self.parameters:,}",
            f"memory in training    {_amount(self.training_bytes, 'B')}{available} (estimate)",
            f"windows an epoch      {self.windows:,}",
            f"time an epoch         {_time(self.epoch_seconds)} (estimate, from two steps)",
            f"context               {self.context_seconds:.1f} s",
        ]
        if not self.widths:
            return "\n".join(lines)
        rows = [
            f"{w.units:>6}  {_amount(w.parameters):>10}  {w.values_per_parameter:>17.2f}  {_time(w.epoch_seconds):>13}"
            f"  {_amount(w.training_bytes, 'B'):>9}"
            for w in self.widths
        ]
        largest = self.largest_units
        answer = (
            f"Up to {largest} units fit in memory and have fewer parameters than the music has numbers."
            if largest
            else "All of them have more parameters than the music has numbers (they can learn it by heart), or do not "
            "fit in memory. Take more music, or an encoder of fewer features."
        )
        head = f"{'units':>6}  {'parameters':>10}  {'values/parameter':>17}  {'time an epoch':>13}  {'memory':>9}"
        return "\n".join(
            [*lines, "", f"How wide, for {_amount(self.training_values)} numbers of music:", head, *rows, answer]
        )


def stack_parameters(
    features: int,
    cell: str,
    units: tuple[int, ...],
    projection: int | None,
    layer_norm: bool = False,
    skip: bool = False,
    outputs: int | None = None,
    gates: int = 0,
    style: int = 0,
) -> int:
    """Returns the number of parameters of a `recurrent_stack`, without those of its noise and its style themselves.

    Args:
        features: Numbers that it reads at a frame, those of conditions included.
        cell: As for `recurrent_stack`; so are `units`, `projection`, `layer_norm` and `skip`.
        outputs: Numbers of its head; `None`: `features`.
        gates: How many numbers of known frames are added to the expected one, each by a gate.
        style: Numbers that each recurrent layer reads besides.
    """
    total, width = 0, features
    if projection:
        total, width = features * projection + projection, projection
    for own in units:
        width += style
        # A GRU of Keras has two biases, as cuDNN has.
        total += 4 * own * (width + own + 1) if cell == "lstm" else 3 * own * (width + own + 2)
        total += 2 * own if layer_norm else 0
        width = own
    seen = sum(units) if skip else width
    outputs = features if outputs is None else outputs
    moved = outputs if gates else 0  # these start from numbers that the head gives, one for each output
    return total + (seen + 1) * (outputs + gates) + moved


def training_bytes(parameters: int, kept_numbers: int, steps: int, batch_size: int) -> int:
    """Estimates the bytes of training with Adam: weights, gradients, optimizer, numbers kept for the gradient."""
    return _FLOAT * (parameters * (2 + _SLOTS) + batch_size * steps * kept_numbers)


def kept_numbers(stack: keras.Model, features: int) -> int:
    """Estimates how many numbers a frame leaves behind until its gradient is taken."""
    total = _KEPT_FEATURES * features
    if not is_functional(stack):
        return total
    for layer in layers_of(stack):
        if isinstance(layer, keras.layers.RNN):
            total += _KEPT.get(type(layer), 4) * getattr(layer, "units", 0)
        elif isinstance(layer, keras.layers.Dense):
            total += layer.units
    return total


def check_weights(parameters: int) -> None:
    """Raises if the weights alone cannot fit in memory."""
    free = available_bytes()
    if free is not None and _FLOAT * parameters > free:
        raise ValueError(
            f"The weights must fit in memory. Received: {parameters:,} parameters, "
            f"{_amount(_FLOAT * parameters, 'B')}, with {_amount(free, 'B')} free (training takes four times as much). "
            "Use fewer `units`, a smaller `projection`, or an encoder of fewer features (`HalfDFT` for `BlockDFT`, "
            "smaller blocks)."
        )


def check_optimizer(optimizer: keras.optimizers.Optimizer, weights: list) -> None:
    """Raises if the state of an optimizer for `weights` cannot fit in memory, before it is made."""
    free = available_bytes()
    if free is None or optimizer.built:
        return
    numbers, slots = _count(weights), _slots(optimizer)
    if _FLOAT * slots * numbers > free:
        raise ValueError(
            f"The optimizer must fit in memory beside the weights. Received: {type(optimizer).__name__}, which keeps "
            f"{slots} numbers for each of {numbers:,} weights, {_amount(_FLOAT * slots * numbers, 'B')}, with "
            f"{_amount(free, 'B')} free (gradients take {_amount(_FLOAT * numbers, 'B')} more). Use fewer units, or an "
            'optimizer that keeps less ("sgd").'
        )


def _slots(optimizer: keras.optimizers.Optimizer) -> int:
    """How many numbers an optimizer keeps for each weight: one like it is tried on a small matrix."""
    try:
        copy = type(optimizer).from_config(optimizer.get_config())
    except (TypeError, ValueError, NotImplementedError):  # an optimizer of the user's own cannot always be copied
        return _SLOTS
    matrix = keras.Variable(np.zeros((32, 32), "float32"), name="tried")
    copy.build([matrix])
    return _count(copy.variables) // _count([matrix])


def _count(variables: list) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def check_batch(model: Any, windows: object, batch_size: int | None) -> None:
    """Raises if training on batches like those of `windows` cannot fit in memory, as far as that can be told."""
    if isinstance(windows, WindowsLike):
        span, size = windows.span, windows.batch_size
    elif isinstance(windows, np.ndarray | dict):
        pcm: Any = windows["pcm"] if isinstance(windows, dict) else windows
        span, size = pcm.shape[1], min(batch_size or 32, len(pcm))
    else:
        return
    free = available_bytes()
    if free is None:
        return
    steps = max(1, (span - model.encoder.lap) // model.encoder.hop - 1)
    kept = _FLOAT * size * steps * kept_numbers(model.stack, model.width)
    gradients = _FLOAT * _count(model.trainable_variables)
    found = (
        f"about {_amount(kept + gradients, 'B')} ({_amount(gradients, 'B')} of gradients, {_amount(kept, 'B')} for "
        f"batches of {size} windows of {steps} steps), with {_amount(free, 'B')} free"
    )
    advice = "Use a smaller `batch_size`, fewer `steps` or fewer units."
    if kept + gradients > _SURE * free or gradients > free:
        raise ValueError(f"A training step must fit in memory. Received: {found}. {advice}")
    if kept + gradients > free:
        logger.warning("A training step may not fit in memory: %s. %s", found, advice)


def describe(model: Any, corpus: Any, steps: int = 40, batch_size: int = 32) -> Description:
    """Estimates memory and time of training a model on a corpus, and of other widths: two steps are tried, on a copy.

    Args:
        model: An `AudioModel`. It is not changed.
        corpus: A `Corpus`, or a part of one: the training music.
        steps: Frames a window.
        batch_size: Windows a batch.

    Returns:
        A `Description`; `print` shows it as a table.

    Raises:
        ValueError: If no window fits, or an argument is out of range.

    Example:
        >>> import gruvlike as gl, numpy as np, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gl.audio.write(f"{folder}/tone.wav", np.sin(np.arange(16000) / 5) / 2, sample_rate=8000)
        ...     corpus = gl.Corpus.build(folder, f"{folder}/tones.h5", sample_rate=8000)
        ...     encoder = gl.BlockDFT(block_size=8)
        ...     normalizer = gl.Standardizer().fit(corpus, encoder)
        ...     model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
        ...     found = describe(model, corpus, steps=10)
        >>> found.parameters, found.windows, found.context_seconds, found.training_values, found.largest_units
        (416, 200, 0.01, 32000, 64)
    """
    windows = corpus.windows(model.encoder, steps=steps, batch_size=batch_size)
    features, parameters = model.width, model.stack.count_params()
    needs = training_bytes(parameters, kept_numbers(model.stack, features), steps, batch_size)
    free = available_bytes()
    fits = free is None or needs <= free
    epoch = len(windows) * _step_seconds(model, windows) if fits else float("nan")
    values = features * sum((len(track) - model.encoder.lap) // model.encoder.hop for track in corpus)
    return Description(
        parameters=parameters,
        training_bytes=needs,
        available_bytes=free,
        windows=windows.count,
        epoch_seconds=epoch,
        context_seconds=steps * model.encoder.hop / corpus.sample_rate,
        training_values=values,
        widths=tuple(_widths(model, steps, batch_size, values, epoch / parameters)),
    )


def _step_seconds(model: Any, windows: Any) -> float:
    """Measures two training steps of a copy, after one that compiles."""
    copy = type(model).from_config(model.get_config())
    for part in ("stack", "normalizer"):
        getattr(copy, part).set_weights(getattr(model, part).get_weights())
    copy.compile("adam")
    windows = supplied(windows, conditions_of(copy.stack), copy.encoder)
    batches = [as_batch(windows[index % len(windows)][0]) for index in range(3)]
    # Each batch is made as long as the first, or it would be compiled anew.
    first, *rest = (
        keras.tree.map_structure(lambda part, like: np.resize(part, like.shape), batch, batches[0]) for batch in batches
    )
    copy.train_on_batch(first)
    start = time.perf_counter()
    for batch in rest:
        copy.train_on_batch(batch)
    return (time.perf_counter() - start) / len(rest)


def _widths(model: Any, steps: int, batch_size: int, values: int, seconds_per_parameter: float) -> list[Width]:
    """Time grows with parameters: each weight is used once a frame."""
    stack, features, outputs = model.stack, model.width, model.head.outputs(model.width)
    layers = list(layers_of(stack)) if is_functional(stack) else []
    recurrent = [layer for layer in layers if isinstance(layer, keras.layers.LSTM | keras.layers.GRU)]
    if not recurrent:
        return []
    cell = "lstm" if isinstance(recurrent[0], keras.layers.LSTM) else "gru"
    projection = next((layer.units for layer in layers if layer.name == "projection"), None)
    found = []
    for width in _WIDTHS:
        parameters = stack_parameters(features, cell, (width,) * len(recurrent), projection, outputs=outputs)
        kept = (
            _KEPT_FEATURES * features + outputs + (projection or 0) + _KEPT[type(recurrent[0])] * width * len(recurrent)
        )
        needs = training_bytes(parameters, kept, steps, batch_size)
        found.append(Width(width, parameters, values / parameters, seconds_per_parameter * parameters, needs))
    return found


def _amount(number: float, unit: str = "") -> str:
    thousands = int(np.clip(np.log10(max(number, 1)) // 3, 0, 4))
    return f"{number / 1000**thousands:.3g} {['', 'k', 'M', 'G', 'T'][thousands]}{unit}".rstrip()


def _time(seconds: float) -> str:
    if seconds != seconds:
        return "unknown"
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
