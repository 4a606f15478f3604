"""The model that owns its encoder and its normalizer."""

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from gruvlike import _checks

FORMAT_VERSION = 1

_PARTS = ("encoder", "normalizer", "stack")


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
