"""The recurrent stack, and the model that owns its encoder and normalizer.

A *stack* is any Keras model (B, T, F) -> (B, T, F') that predicts the next frame at every step. An `AudioModel` puts
it behind an encoder and a normalizer: PCM goes in, and one `.keras` file holds everything that is needed to make sound.
"""

import json
import os
import random
import zipfile
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from gruvlike import _checks

FORMAT_VERSION = 1


def recurrent_stack(
    features: int,
    cell: str = "lstm",
    units: int | tuple[int, ...] = (1024,),
    projection: int | None = None,
    input_dropout: float = 0.0,
    dropout: float = 0.0,
    input_noise: float = 0.0,
    recurrent_dropout: float = 0.0,
    layer_norm: bool = False,
    skip: bool = False,
    forget_bias: float = 1.0,
    random_seed: int | None = None,
) -> keras.Model:
    """Builds a stack of recurrent layers from stock Keras layers, so that cuDNN stays available.

    The paper's network is `recurrent_stack(features, units=(1024,), projection=1024)`; the blog's best is
    `units=(300, 300, 300)`.

    Args:
        features: Numbers in a frame, F.
        cell: `"lstm"` or `"gru"`.
        units: Width of each recurrent layer, first to last.
        projection: Width of a linear layer between the frame and the first recurrent layer, or `None` for none.
        input_dropout: Share of the frame's numbers set to zero while training, in [0, 1).
        dropout: The same after each recurrent layer.
        input_noise: Standard deviation of Gaussian noise added to the frame while training.
        recurrent_dropout: Share of the state dropped from step to step while training. Switches cuDNN off.
        layer_norm: Whether a layer normalization follows each recurrent layer.
        skip: Whether the output layer sees all recurrent layers, not only the last.
        forget_bias: What the bias of the LSTM's forget gate starts at (a GRU has none).
        random_seed: Makes weights, dropout and noise reproducible. `None` follows `keras.utils.set_random_seed`.

    Returns:
        A `keras.Model` from frames of shape (B, T, F) to predictions of the next frame, same shape.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> stack = recurrent_stack(8, cell="gru", units=(16, 16), random_seed=0)
        >>> stack.output_shape
        (None, None, 8)

    References:
        Nayebi & Vitelli, "GRUV: Algorithmic Music Generation using Recurrent Neural Networks", 2015 (the network).
        Jozefowicz et al., "An Empirical Exploration of Recurrent Network Architectures", 2015 (the forget bias).
    """
    units = _check_stack(features, cell, units, projection, forget_bias)
    rates = {"input_dropout": input_dropout, "dropout": dropout, "recurrent_dropout": recurrent_dropout}
    for name, rate in rates.items():
        if _checks.number(name, rate, 0, 1) == 1:
            raise ValueError(
                f"`{name}` must be less than 1, or nothing is left to learn from. Received: {name}={rate!r}."
            )
    _checks.number("input_noise", input_noise, 0)
    next_seed = _seeds(random_seed)
    inputs = x = keras.Input((None, features), name="frames")
    if input_noise:
        x = keras.layers.GaussianNoise(input_noise, seed=next_seed(), name="input_noise")(x)
    if input_dropout:
        x = keras.layers.Dropout(input_dropout, seed=next_seed(), name="input_dropout")(x)
    if projection:
        x = keras.layers.Dense(projection, kernel_initializer=_glorot(next_seed()), name="projection")(x)
    heard = []
    for index, width in enumerate(units):
        x = _recurrent(cell, width, recurrent_dropout, forget_bias, next_seed, f"{cell}_{index}")(x)
        if layer_norm:
            x = keras.layers.LayerNormalization(name=f"norm_{index}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, seed=next_seed(), name=f"dropout_{index}")(x)
        heard.append(x)
    if skip and len(heard) > 1:
        x = keras.layers.Concatenate(name="skip")(heard)
    # The output is a frame of numbers to be compared and heard: float32 also under a mixed precision policy.
    outputs = keras.layers.Dense(features, kernel_initializer=_glorot(next_seed()), dtype="float32", name="frame")(x)
    stack = keras.Model(inputs, outputs, name="recurrent_stack")
    _set_forget_bias(stack, forget_bias)
    return stack


def _check_stack(features: int, cell: str, units: Any, projection: Any, forget_bias: float) -> tuple[int, ...]:
    _checks.positive_int("features", features)
    _checks.choice("cell", cell, ("lstm", "gru"))
    widths = tuple(units) if isinstance(units, list | tuple) else (units,)
    if not widths:
        raise ValueError("`units` must name the width of at least one recurrent layer. Received: units=().")
    for width in widths:
        _checks.positive_int("units", width)
    if projection is not None:
        _checks.positive_int("projection", projection)
    if _checks.number("forget_bias", forget_bias) != 1.0 and cell == "gru":
        raise ValueError(
            f"`forget_bias` belongs to the LSTM; a GRU has none. Received: forget_bias={forget_bias}, cell='gru'."
        )
    return widths


def _seeds(random_seed: int | None) -> Any:
    """Returns a function that gives each layer its own integer, or `None` to follow Keras's global one."""
    if random_seed is None:
        return lambda: None
    _checks.positive_int("random_seed", random_seed, minimum=0)
    stream = random.Random(random_seed)
    return lambda: stream.randrange(2**31)


def _glorot(seed: int | None) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=seed)


def _recurrent(cell: str, units: int, dropout: float, forget_bias: float, next_seed: Any, name: str) -> keras.Layer:
    options = {
        "return_sequences": True,
        "recurrent_dropout": dropout,
        "kernel_initializer": _glorot(next_seed()),
        "recurrent_initializer": keras.initializers.Orthogonal(seed=next_seed()),
        "seed": next_seed(),
        "name": name,
    }
    if cell == "gru":
        return keras.layers.GRU(units, **options)
    return keras.layers.LSTM(units, unit_forget_bias=forget_bias == 1.0, **options)


def _set_forget_bias(stack: keras.Model, forget_bias: float) -> None:
    if forget_bias == 1.0:  # what Keras starts it at
        return
    for layer in stack.layers:
        if isinstance(layer, keras.layers.LSTM):
            bias = np.array(layer.cell.bias)
            bias[layer.units : 2 * layer.units] = forget_bias
            layer.cell.bias.assign(bias)


@keras.saving.register_keras_serializable(package="gruvlike")
class RelativeLoss(keras.metrics.Metric):
    """The loss over the loss of predicting the mean, on the same windows: 1.0 = nothing learned, 0 = perfect.

    Example:
        >>> metric = RelativeLoss()
        >>> metric.update_state(loss=1.0, mean_loss=4.0)
        >>> float(metric.result())
        0.25
    """

    def __init__(self, name: str = "relative_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.total = self.add_variable((), "zeros", name="total")
        self.mean_total = self.add_variable((), "zeros", name="mean_total")

    def update_state(self, loss: Any, mean_loss: Any, weight: Any = 1.0) -> None:
        """Adds a batch's `loss`, and its `mean_loss` (of predicting the mean): means over `weight` windows."""
        weight = ops.cast(weight, self.total.dtype)
        self.total.assign_add(ops.cast(loss, self.total.dtype) * weight)
        self.mean_total.assign_add(ops.cast(mean_loss, self.total.dtype) * weight)

    def result(self) -> Any:
        """Returns the ratio over all batches since the last reset."""
        return ops.divide_no_nan(self.total, self.mean_total)


@keras.saving.register_keras_serializable(package="gruvlike")
class AudioModel(keras.Model):
    """A recurrent stack together with the encoder and the normalizer it was made for: PCM in, next frames out.

    Encoding, normalizing and the shift by one frame happen inside, on the device: what travels there is int16 PCM.
    The loss is taken between normalized frames. `fit`, `evaluate` and `predict` are those of Keras.

    Args:
        encoder: A `gruvlike.Encoder`: samples <-> frames.
        normalizer: A fitted `gruvlike.Normalizer`.
        stack: Any Keras model (B, T, F) -> (B, T, F) that predicts the next frame at every step.
        sample_rate: Of the music, in Hz.
        high_pass_hz: The high-pass filter that the music went through, or `None`. `fit` takes it over from the corpus.

    Attributes:
        encoder, normalizer, stack, sample_rate, high_pass_hz: As given.

    Raises:
        ValueError: If the parts do not fit each other, or the normalizer is not fitted.

    Example:
        >>> import gruvlike as gl, numpy as np
        >>> music = np.sin(np.arange(4000) / 9).astype("float32")
        >>> encoder = gl.BlockDFT(block_size=8)
        >>> normalizer = gl.Standardizer().fit(music, encoder)
        >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
        >>> prediction, target = model.predict(music[None, :88], verbose=0)  # 11 frames: 10 to read, 10 to predict
        >>> prediction.shape
        (1, 10, 16)
    """

    def __init__(
        self,
        encoder: Any,
        normalizer: Any,
        stack: keras.Model,
        sample_rate: int,
        high_pass_hz: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.normalizer = normalizer
        self.stack = stack
        self.sample_rate = _checks.positive_int("sample_rate", sample_rate)
        self.high_pass_hz = high_pass_hz
        self._check_parts()
        self._relative_loss = RelativeLoss()
        self.build((None, None))

    def _check_parts(self) -> None:
        if not self.normalizer.fitted and self.normalizer.features is None:
            raise ValueError(
                f"The normalizer must be fitted first. Received: {type(self.normalizer).__name__} without statistics. "
                "Call `normalizer.fit(corpus, encoder)`."
            )
        features = self.encoder.features
        for side, shape in (("reads", self.stack.input_shape), ("predicts", self.stack.output_shape)):
            if len(shape) != 3 or shape[-1] != features:
                raise ValueError(
                    f"The stack must map (B, T, F) to (B, T, F) with the encoder's F={features}. "
                    f"Received: a stack that {side} {shape}. Build it with `recurrent_stack(encoder.features, ...)`."
                )

    def build(self, input_shape: Any) -> None:
        """Does nothing: the parts are built when they arrive."""
        self.built = True

    def call(self, pcm: Any, training: bool | None = None) -> tuple[Any, Any]:
        """Predicts each next frame of `pcm`, windows of shape (B, span(T + 1)).

        Returns:
            (prediction, target), normalized frames, both of shape (B, T, F).
        """
        frames = self.normalizer(self.encoder.encode(pcm, padded=False))
        return self.stack(frames[:, :-1], training=training), frames[:, 1:]

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **kwargs: Any) -> None:
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: A name gets gradient clipping (`global_clipnorm=1.0`: one bad window must not undo what was
                learned); an object is left as it is.
            loss: Between normalized frames; mean squared error unless given.
            **kwargs: As for `keras.Model.compile`.
        """
        if isinstance(optimizer, str):
            optimizer = keras.optimizers.get(optimizer)
            optimizer.global_clipnorm = 1.0
        super().compile(optimizer=optimizer, loss="mse" if loss is None else loss, **kwargs)
        # Keras refuses to load what was saved between `compile` and the first step with an optimizer that is not built.
        self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config: dict) -> None:
        """Compiles as a saved file says; Keras asks for this where `compile` has a body of its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> Any:
        """Takes apart the prediction and the target that `call` returns, and notes the loss of predicting the mean."""
        prediction, target = y_pred
        # Here, not in `compute_metrics`: on JAX that one cannot read the normalizer's weights.
        mean = ops.broadcast_to(ops.cast(self.normalizer.center, target.dtype), ops.shape(target))
        self._relative_loss.update_state(self._loss(target, prediction), self._loss(target, mean), ops.shape(target)[0])
        return super().compute_loss(x, target, prediction, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Compares the prediction and the target that `call` returns by the compiled metrics."""
        prediction, target = y_pred
        return super().compute_metrics(x, target, prediction, sample_weight)

    def _loss(self, target: Any, prediction: Any) -> Any:
        return ops.mean(keras.losses.get(self.loss)(target, prediction))

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trains as `keras.Model.fit` does, on windows of a corpus or arrays of PCM (B, span(T + 1)).

        Raises:
            ValueError: If the windows come from a corpus of another sample rate.
        """
        for windows in (x, kwargs.get("validation_data")):
            rate = getattr(windows, "sample_rate", self.sample_rate)
            if rate != self.sample_rate:
                raise ValueError(
                    f"The windows must have the model's sample rate, {self.sample_rate} Hz. Received: {rate} Hz. "
                    "Build the corpus at that rate."
                )
        self.high_pass_hz = getattr(x, "high_pass_hz", self.high_pass_hz)
        if isinstance(x, keras.utils.PyDataset):
            # It has an order of its own; Keras would shuffle its batches by a generator that no seed here decides.
            kwargs.setdefault("shuffle", False)
        return super().fit(x, *args, **kwargs)

    def baselines(self, windows: Any) -> dict[str, float]:
        """Computes what a model must beat: the relative loss of two predictors that have learned nothing.

        Args:
            windows: As for `evaluate`: windows of a corpus, or an array of PCM (B, span(T + 1)).

        Returns:
            `{"mean": 1.0, "repeat": ...}`: mean squared error of predicting the mean, and of repeating the last
            frame, over that of predicting the mean.
        """
        batches = [windows] if isinstance(windows, np.ndarray) else (windows[i][0] for i in range(len(windows)))
        errors = np.zeros(2)
        for pcm in batches:
            frames = ops.convert_to_numpy(self.normalizer(self.encoder.encode(pcm, padded=False)))
            center = ops.convert_to_numpy(self.normalizer.center)
            errors += [np.square(frames[:, 1:] - p).sum(dtype="float64") for p in (center, frames[:, :-1])]
        return {"mean": 1.0, "repeat": float(errors[1] / errors[0])}

    def save(self, filepath: str | os.PathLike, overwrite: bool = True, **kwargs: Any) -> None:
        """Saves everything that is needed to make sound, and to go on training, in one `.keras` file.

        The file is complete before it takes its name: an earlier file under that name is never damaged.

        Raises:
            ValueError: If the name does not end in `.keras`.
            FileExistsError: If the file exists and `overwrite` is false.
            OSError: If it cannot be written, for instance because the disk is full.
        """
        path = Path(filepath)
        if path.suffix != ".keras":
            raise ValueError(f"A model is saved under a name that ends in `.keras`. Received: {str(path)!r}.")
        if path.exists() and not overwrite:
            raise FileExistsError(f"The file exists: {str(path)!r}. Give `overwrite=True` or another name.")
        with _checks.replacing(path) as temporary:
            super().save(temporary, **kwargs)

    def get_config(self) -> dict:
        """Returns what `from_config` needs to build the model again (without weights)."""
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in _PARTS}
        rates = {"sample_rate": self.sample_rate, "high_pass_hz": self.high_pass_hz}
        return {**super().get_config(), **parts, **rates, "format_version": FORMAT_VERSION}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "AudioModel":
        """Builds a model from `get_config`'s dictionary."""
        config = dict(config)
        version = config.pop("format_version", FORMAT_VERSION)
        if version > FORMAT_VERSION:
            raise ValueError(
                f"This gruvlike reads models up to format {FORMAT_VERSION}. Received: format {version}. "
                "Update gruvlike."
            )
        for name in _PARTS:
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        return cls(**config)


_PARTS = ("encoder", "normalizer", "stack")


def load(path: str | os.PathLike) -> AudioModel:
    """Loads a model that `AudioModel.save` wrote. Never runs code from the file.

    Args:
        path: A `.keras` file.

    Returns:
        The `AudioModel`, compiled as it was when it was saved.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, of a newer format, or not an `AudioModel`; the message says what was found.

    Example:
        >>> load("no_such_run.keras")
        Traceback (most recent call last):
        ...
        FileNotFoundError: There is no model file 'no_such_run.keras'. ...
    """
    # So that their classes are registered before Keras looks for them.
    from gruvlike import _gates, encoders, normalizers  # noqa: F401

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no model file {str(path)!r}. Looked in {str(path.resolve().parent)!r}.")
    _check_archive(path)
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, AttributeError) as error:
        raise ValueError(f"The model file {str(path)!r} could not be loaded: {error}") from error
    return model


def _check_archive(path: Path) -> None:
    """Raises unless `path` is a whole `.keras` archive of an `AudioModel`, saying what it is instead."""
    if path.is_dir():
        raise ValueError(f"A model is one `.keras` file. Received: the folder {str(path)!r}.")
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            start = file.read(8)
        raise ValueError(
            f"A `.keras` file is a zip archive. Received: {str(path)!r}, {path.stat().st_size} bytes that start with "
            f"{start!r}: {_describe(start)}."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if not {"config.json", "metadata.json", "model.weights.h5"} <= set(names):
                raise ValueError(f"it holds {names[:5]}")
            if broken := archive.testzip():
                raise ValueError(f"{broken!r} inside it is damaged")
            config = json.loads(archive.read("config.json"))
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(
            f"A model file must be a whole `.keras` archive. Received: {str(path)!r}: {error}. Save the model again."
        ) from error
    if config.get("registered_name") != "gruvlike>AudioModel":
        raise ValueError(
            f"`load` reads models saved by `AudioModel.save`. Received: {str(path)!r}, which holds a "
            f"{config.get('class_name')!r}. Load it with `keras.saving.load_model` and give it to "
            "`Generator(stack, encoder=..., normalizer=..., sample_rate=...)`."
        )


def _describe(start: bytes) -> str:
    known = {
        b"\x89HDF": "an HDF5 file (a corpus?)",
        b"RIFF": "a WAV file",
        b"OggS": "an Ogg file",
        b"fLaC": "a FLAC file",
    }
    if start[:2] == b"PK":
        return "a zip archive that was cut short or damaged"
    return known.get(start[:4], "not a model, or a damaged one")
