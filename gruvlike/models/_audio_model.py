"""The model that owns its encoder and its normalizer."""

import functools
import os
from pathlib import Path
from typing import Any

import keras
from keras import ops

from gruvlike import _checks, _files
from gruvlike._fast._adam import fuse_adam
from gruvlike._fast._inputs import batch_inputs
from gruvlike._step._stateless import StatelessStack
from gruvlike.models._baselines import baselines
from gruvlike.models._estimates import check_batch, check_optimizer
from gruvlike.models._feedback import TRAINING, CarriedStates, ScheduledSampling, run_in_training

FORMAT_VERSION = 1

_PARTS = ("encoder", "normalizer", "stack")
_OPTIONS = ("sample_rate", "high_pass_hz", "scheduled_sampling", "sampling_updates", "rollout_steps", "random_seed")


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
        scheduled_sampling: Share of the frames, in [0, 1], that are replaced by the model's own predictions while it
            trains, so that it learns to go on from those. It predicts twice: from the music, without gradient, and
            from music and predictions mixed frame by frame. A step takes an eighth to a half longer.
        sampling_updates: Training steps until that share is reached; it grows linearly from 0, where the predictions
            are not worth hearing. The steps are counted in the saved file.
        rollout_steps: How many frames at the end of a window are heard as the model's own predictions, one after the
            other, with gradient, as in a song; the loss counts them as all others. Each is compiled on its own: some
            tens at most, at the same cost. The layers must be recurrent or treat each frame alone.
        random_seed: Decides which frames are replaced. `None` follows `keras.utils.set_random_seed`.

    Attributes:
        encoder, normalizer, stack, sample_rate, high_pass_hz: As given.
        scheduled_sampling, sampling_updates, rollout_steps, random_seed: As given.
        training_windows, validation_windows: What `fit` was given, while it runs: for callbacks.

    Raises:
        ValueError: If the parts do not fit each other, the normalizer is not fitted, or an option is out of range.

    With scheduled sampling or a rollout the loss of training is not that of teacher forcing: compare the loss of
    validation, which always is.

    Example:
        >>> import gruvlike as gl, numpy as np
        >>> music = np.sin(np.arange(4000) / 9).astype("float32")
        >>> encoder = gl.BlockDFT(block_size=8)
        >>> normalizer = gl.Standardizer().fit(music, encoder)
        >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
        >>> prediction, target = model.predict(music[None, :88], verbose=0)  # 11 frames: 10 to read, 10 to predict
        >>> prediction.shape
        (1, 10, 16)

    References:
        Bengio et al., "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks", 2015.
        Mihaylova and Martins, "Scheduled Sampling for Transformers", 2019 (in two passes).
        Venkatraman, Hebert and Bagnell, "Improving Multi-Step Prediction of Learned Time Series Models", 2015 (why a
        model must hear itself).
    """

    def __init__(
        self,
        encoder: Any,
        normalizer: Any,
        stack: keras.Model,
        sample_rate: int,
        high_pass_hz: float | None = None,
        scheduled_sampling: float = 0.0,
        sampling_updates: int = 1000,
        rollout_steps: int = 0,
        random_seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.normalizer = normalizer
        self.stack = stack
        self.sample_rate = _checks.positive_int("sample_rate", sample_rate)
        self.high_pass_hz = high_pass_hz
        self.scheduled_sampling = _checks.number("scheduled_sampling", scheduled_sampling, 0, 1)
        self.sampling_updates = _checks.positive_int("sampling_updates", sampling_updates)
        self.rollout_steps = _checks.positive_int("rollout_steps", rollout_steps, minimum=0)
        if random_seed is not None:
            _checks.positive_int("random_seed", random_seed, minimum=0)
        self.random_seed = random_seed
        self.training_windows = self.validation_windows = None
        self._loss_is_plain = False
        self._check_parts()
        self._sampling = None
        if self.scheduled_sampling:
            self._sampling = ScheduledSampling(self.scheduled_sampling, self.sampling_updates, random_seed)
        self._carried = CarriedStates()
        self._twin = StatelessStack(stack, TRAINING) if self.rollout_steps else None
        self._relative_loss = RelativeLoss()
        self.build((None, None))

    def _check_parts(self) -> None:
        if not self.normalizer.fitted and self.normalizer.features is None:
            raise ValueError(
                f"The normalizer must be fitted first. Received: {type(self.normalizer).__name__} without statistics. "
                "Call `normalizer.fit(corpus, encoder)`."
            )
        features = self.encoder.features
        if self.normalizer.features not in (None, features):
            raise ValueError(
                f"The normalizer must be fitted to the encoder's frames of {features} features. Received: one for "
                f"{self.normalizer.features}. Call `normalizer.fit(corpus, encoder)` with this encoder."
            )
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

        Args:
            pcm: int16 or float32; or a batch of stateful windows, `{"pcm": ..., "reset": (B,)}`.
            training: Whether dropout, noise, scheduled sampling, rollout and carried states are at work.

        Returns:
            (prediction, target), normalized frames, both of shape (B, T, F).
        """
        pcm, reset = (pcm["pcm"], pcm["reset"]) if isinstance(pcm, dict) else (pcm, None)
        frames = self.normalizer(self.encoder.encode(pcm, padded=False))
        heard, target = frames[:, :-1], frames[:, 1:]
        if not training or (reset is None and not (self._sampling or self.rollout_steps)):
            return self.stack(heard, training=training), target
        self._check_training(heard.shape[1], reset is not None)
        carried = None if reset is None else self._carried
        return run_in_training(
            self.stack, self._twin, heard, self._sampling, self.rollout_steps, carried, reset
        ), target

    def _check_training(self, steps: int | None, stateful: bool) -> None:
        if steps is not None and self.rollout_steps >= steps:
            raise ValueError(
                "`rollout_steps` must leave music to start from. "
                f"Received: rollout_steps={self.rollout_steps}, windows of {steps} steps. Use longer windows."
            )
        if stateful and not self._carried.read():
            raise ValueError("Stateful windows must be given to `fit`, which makes room for states. Received: a batch.")

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **kwargs: Any) -> None:
        """Configures training as `keras.Model.compile` does.

        Args:
            optimizer: A name gets gradient clipping, `global_clipnorm=1.0`: where a recurrent network is close to
                chaos, the gradient of one window can be a thousand times that of the others, and one such step undoes
                what was learned. Clipping the norm of all weights together keeps the direction and bounds the step.
                An object is left as it is: give it `global_clipnorm`, and what else stock Keras has, such as weight
                decay and schedules, `keras.optimizers.AdamW(schedule, weight_decay=1e-2, global_clipnorm=1.0)` with
                `schedule = keras.optimizers.schedules.CosineDecay(1e-3, decay_steps=10_000)`.
            loss: Between normalized frames; mean squared error unless given.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            ValueError: If what the optimizer keeps for each weight cannot fit in memory.

        References:
            Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013 (clipping).
            Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019 (AdamW).
        """
        if isinstance(optimizer, str):
            optimizer = keras.optimizers.get(optimizer)
            optimizer.global_clipnorm = 1.0
        batch_inputs(self.stack)
        super().compile(optimizer=optimizer, loss="mse" if loss is None else loss, **kwargs)
        replicas = getattr(getattr(self, "distribute_strategy", None), "num_replicas_in_sync", 1)
        if replicas == 1:
            fuse_adam(self.optimizer)
        self._loss_is_plain = replicas == 1 and kwargs.get("loss_weights") is None
        check_optimizer(self.optimizer, self.trainable_variables)
        # Keras refuses to load what was saved between `compile` and the first step with an optimizer that is not built.
        self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config: dict) -> None:
        """Compiles as a saved file says; Keras asks for this where `compile` has a body of its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True) -> Any:
        """Takes apart the prediction and the target that `call` returns, and notes the loss of predicting the mean."""
        prediction, target = y_pred
        total = super().compute_loss(x, target, prediction, sample_weight, training)
        # Computed once, where no weights, masks or regularizers have changed it.
        is_plain = self._loss_is_plain and sample_weight is None and not self.losses
        is_plain = is_plain and getattr(prediction, "_keras_mask", None) is None
        loss = total if is_plain else self._loss(target, prediction)
        # Here, not in `compute_metrics`: on JAX that one cannot read the normalizer's weights.
        mean = ops.broadcast_to(ops.cast(self.normalizer.center, target.dtype), ops.shape(target))
        self._relative_loss.update_state(loss, self._loss(target, mean), ops.shape(target)[0])
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Compares the prediction and the target that `call` returns by the compiled metrics."""
        prediction, target = y_pred
        return super().compute_metrics(x, target, prediction, sample_weight)

    def _loss(self, target: Any, prediction: Any) -> Any:
        return ops.mean(keras.losses.get(self.loss)(target, prediction))

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trains as `keras.Model.fit` does, on windows of a corpus or arrays of PCM (B, span(T + 1)).

        Windows come in their own order: Keras shuffles them no further. With stateful windows each batch starts from
        the state after the batch before, zero where a track begins; back-propagation ends at the batch (it is
        truncated to the length of a window). The state belongs to training: validation starts from zero in each
        window, and so does what is made of a saved file.

        Raises:
            ValueError: If the windows come from a corpus of another sample rate, there are none, a batch cannot fit in
                memory, or stateful windows meet a stack whose state cannot be carried.

        References:
            Williams and Peng, "An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network
            Trajectories", 1990 (truncated back-propagation through time).
        """
        validation = kwargs.get("validation_data")
        self._check_windows("x", x)
        self._check_windows("validation_data", validation)
        check_batch(self, x, kwargs.get("batch_size"))
        if isinstance(x, keras.utils.PyDataset):
            # It has an order of its own; Keras would shuffle its batches by a generator that no seed here decides.
            kwargs.setdefault("shuffle", False)
        if getattr(x, "stateful", False):
            self._carry(x.batch_size, kwargs.get("shuffle", False))
        self.high_pass_hz = getattr(x, "high_pass_hz", self.high_pass_hz)
        self.training_windows, self.validation_windows = x, validation
        fit = super().fit
        for callback in keras.tree.flatten(kwargs.get("callbacks") or []):
            if hasattr(callback, "around_fit"):  # a run folder: it goes on where an earlier `fit` was
                fit = functools.partial(callback.around_fit, self, fit)
        try:
            return fit(x, *args, **kwargs)
        finally:
            self.training_windows = self.validation_windows = None

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Computes the losses as `keras.Model.evaluate` does, on windows of a corpus or arrays of PCM.

        Raises:
            ValueError: If the windows come from a corpus of another sample rate, or there are none.
        """
        self._check_windows("x", x)
        return super().evaluate(x, *args, **kwargs)

    def _check_windows(self, name: str, windows: Any) -> None:
        rate = getattr(windows, "sample_rate", self.sample_rate)
        if rate != self.sample_rate:
            raise ValueError(
                f"The windows must have the model's sample rate, {self.sample_rate} Hz. Received: {rate} Hz. "
                "Build the corpus at that rate."
            )
        if hasattr(type(windows), "__len__") and len(windows) == 0:
            raise ValueError(
                f"`{name}` must hold at least one window. Received: none. Give more music, for instance by "
                "`corpus.split(validation=...)` with a larger share, or leave validation out."
            )

    def _carry(self, batch_size: int, shuffle: bool) -> None:
        """Makes room for the states of `batch_size` lanes."""
        if shuffle:
            raise ValueError("Stateful windows must stay in order. Received: shuffle=True. Leave it out.")
        if self._twin is None:
            self._twin = StatelessStack(self.stack, TRAINING)
        if self._carried.prepare(self._twin.initial_states(batch_size)):
            self.train_function = None  # it knows the variables that there were

    def baselines(self, windows: Any, training: Any = None) -> dict[str, float]:
        """Computes what a model must beat: the relative loss of predictors that have learned nothing, or little.

        Args:
            windows: As for `evaluate`: windows of a corpus, or an array of PCM (B, span(T + 1)).
            training: Those that the linear predictor is fitted to; `None` takes `windows`, which flatters it.

        Returns:
            `{"mean": 1.0, "repeat": ..., "linear": ...}`: mean squared error of predicting the mean, of repeating the
            last frame, and of a linear function of the last frame (least squares on at most 256 principal directions,
            and at most one for 10 frames of training), over that of predicting the mean.
        """
        self._check_windows("windows", windows)
        return baselines(self, windows, training)

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
        with _files.replacing(path) as temporary:
            super().save(temporary, **kwargs)

    def get_config(self) -> dict:
        """Returns what `from_config` needs to build the model again (without weights)."""
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in _PARTS}
        options = {name: getattr(self, name) for name in _OPTIONS}
        return {**super().get_config(), **parts, **options, "format_version": FORMAT_VERSION}

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
