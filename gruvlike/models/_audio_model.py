"""The model that owns its encoder, its normalizer and its head."""

import functools
import os
from typing import Any

import keras
from keras import ops

from gruvlike import _checks, _files
from gruvlike._contracts import Batch, FitHook, Shape, Tensor, WindowsLike, as_batch
from gruvlike._fast import speed_up
from gruvlike._step._stateless import StatelessStack, inputs_of, keep_frames
from gruvlike._step._step import Step
from gruvlike.conditions import conditions_of
from gruvlike.encoders import Encoder
from gruvlike.heads import Head, Point
from gruvlike.models._arguments import Begun, bound, check_pcm, reading, refuse_targets, replicas, taken, weights_of
from gruvlike.models._baselines import baselines
from gruvlike.models._checking import (
    check_compilation,
    check_fitted,
    check_parts,
    check_rates,
    check_version,
    check_windows,
    loading,
)
from gruvlike.models._conditioning import adapt, numbers_of, supplied
from gruvlike.models._estimates import check_batch
from gruvlike.models._feedback import TRAINING, CarriedStates, Reading, ScheduledSampling, run_in_training
from gruvlike.models._relative_loss import RelativeLoss
from gruvlike.models._saving import check_target, warn_of_unknown
from gruvlike.normalizers import Normalizer

FORMAT_VERSION = 2  # 2 added the head; a model of format 1 has `Point`

_PARTS = ("encoder", "normalizer", "stack", "head")
_OPTIONS = ("sample_rate", "high_pass_hz", "scheduled_sampling", "sampling_updates", "rollout_steps", "random_seed")


@keras.saving.register_keras_serializable(package="gruvlike")
class AudioModel(keras.Model):
    """A recurrent stack together with the encoder, the normalizer and the head it was made for: PCM in, outputs out.

    Encoding, normalizing and the shift by one frame happen inside, on the device: only int16 PCM travels there.
    The loss is taken between normalized frames. `fit`, `evaluate` and `predict` are those of Keras.

    With scheduled sampling or a rollout the loss of training is not that of teacher forcing: compare the loss of
    validation, which always is.

    Args:
        encoder: A `gruvlike.Encoder`: samples <-> frames.
        normalizer: A fitted `gruvlike.Normalizer`.
        stack: Any Keras model (B, T, W) -> (B, T, O): at every step it reads the W numbers of a normalized frame
            (`normalizer.width`) and gives the O numbers that the head wants for the next one (`head.outputs(W)`).
            Each `Condition` among its layers has an input of its own besides: `fit` on windows of a corpus gives it
            the numbers of each window, `Generator` those of each frame of a song.
        sample_rate: Of the music, in Hz.
        high_pass_hz: The high-pass filter that the music went through, or `None`. `fit` takes it over from the corpus.
        scheduled_sampling: Share of the frames, in [0, 1], that are replaced by the model's own predictions while it
            trains, so that it learns to go on from those. It predicts twice: from the music, without gradient, and
            from music and predictions mixed frame by frame. A step takes an eighth to a half longer.
        sampling_updates: Training steps until that share is reached; it grows linearly from 0, where the predictions
            are not worth reading. The steps are counted in the saved file.
        rollout_steps: How many frames at the end of a window are the model's own predictions, one after the other,
            with gradient, as in a song; the loss counts them as all others. Each is compiled on its own: some tens at
            most, at the same cost. The layers must be recurrent or treat each frame alone.
        random_seed: Decides which frames are replaced. `None` follows `keras.utils.set_random_seed`.
        head: The meaning of the stack's outputs; `None`: `heads.Point()`, the next frame itself.

    Attributes:
        encoder, normalizer, stack, head, sample_rate, high_pass_hz: As given.
        scheduled_sampling, sampling_updates, rollout_steps, random_seed: As given.
        training_windows, validation_windows: The data that `fit` was given, while it runs: for callbacks.

    Raises:
        ValueError: If the parts do not fit each other, the normalizer is not fitted, or an option is out of range.

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
        model must be trained on its own output).
    """

    def __init__(
        self,
        encoder: Encoder,
        normalizer: Normalizer,
        stack: keras.Model,
        sample_rate: int,
        high_pass_hz: float | None = None,
        scheduled_sampling: float = 0.0,
        sampling_updates: int = 1000,
        rollout_steps: int = 0,
        random_seed: int | None = None,
        head: Head | None = None,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)  # half precision is for the layers of the stack, not for samples
        self.encoder = encoder
        self.normalizer = normalizer
        self.stack = stack
        self.head = Point() if head is None else head
        self.sample_rate = _checks.positive_int("sample_rate", sample_rate)
        self.high_pass_hz = check_rates(self.sample_rate, high_pass_hz)
        self.scheduled_sampling = _checks.number("scheduled_sampling", scheduled_sampling, 0, 1)
        self.sampling_updates = _checks.positive_int("sampling_updates", sampling_updates)
        self.rollout_steps = _checks.positive_int("rollout_steps", rollout_steps, minimum=0)
        if random_seed is not None:
            random_seed = _checks.positive_int("random_seed", random_seed, minimum=0)
        self.random_seed = random_seed
        self.training_windows = self.validation_windows = None
        self._loss_is_squared_error = False
        check_parts(encoder, normalizer, stack, self.head, self.width)
        keep_frames(stack)
        self._conditions = conditions_of(stack)
        adapt(stack, normalizer)
        self._sampling = None
        if self.scheduled_sampling:
            self._sampling = ScheduledSampling(self.scheduled_sampling, self.sampling_updates, random_seed)
        self._carried = CarriedStates()
        self._step = self._make_step() if self.rollout_steps else None
        self._relative_loss = RelativeLoss()
        self.train_function = None
        self.built = True  # the parts are built when they arrive

    @property
    def width(self) -> int:
        """Numbers of a normalized frame, W: as many as the stack reads."""
        return self.encoder.features if self.normalizer.width is None else self.normalizer.width

    def _make_step(self) -> Step:
        return Step(StatelessStack(self.stack, TRAINING), self.head, self.width)

    def build(self, input_shape: Shape) -> None:
        """Does nothing: the parts are built when they arrive."""

    def call(self, batch: Batch | Tensor, training: bool | None = None) -> tuple[Tensor, Tensor]:
        """Predicts each next frame of a batch of windows.

        Args:
            batch: `{"pcm": ...}` as `Windows` give it, int16 or float32 (B, span(T + 1)), with `"reset"` (B,) where
                windows are stateful; or the bare PCM.
            training: Whether dropout, noise, scheduled sampling, rollout and carried states are at work.

        Returns:
            (outputs, targets): the outputs of the stack (B, T, O), and the targets of its head, (B, T, W) for frames.
        """
        reading, target = self.read(batch)
        reset = reading.reset
        if not training or (reset is None and not (self._sampling or self.rollout_steps)):
            inputs = inputs_of(self.stack, reading.frames, reading.given)
            return self.stack(inputs, training=training), self.head.target(target)
        self._check_training(reading.frames.shape[1], reset is not None)
        carried = None if reset is None else self._carried
        step = self._step if carried or self.rollout_steps else None
        bounds = self.normalizer.bounds
        outputs = run_in_training(
            self.stack, self.head, step, reading, self._sampling, self.rollout_steps, carried, bounds
        )
        return outputs, self.head.target(target)

    def read(self, batch: Batch | Tensor) -> tuple[Reading, Tensor]:
        """Returns all that the stack reads of a batch of windows, and the frames (B, T, W) that it predicts.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> music = np.sin(np.arange(4000) / 9).astype("float32")
            >>> encoder = gl.BlockDFT(block_size=8)
            >>> normalizer = gl.Standardizer().fit(music, encoder)
            >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
            >>> reading, following = model.read(music[None, :88])
            >>> bool((reading.frames[:, 1:] == following[:, :-1]).all())
            True
        """
        batch = as_batch(batch)
        check_pcm("x", batch.get("pcm"), self.encoder)
        frames = self.normalizer(self.encoder.encode(batch["pcm"], padded=False))
        given = numbers_of(self._conditions, batch, self.encoder, self.normalizer)
        return Reading(frames[:, :-1], given, batch.get("reset")), frames[:, 1:]

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

        On a CPU it also makes stock LSTM and GRU layers of the stack, and a stock Adam, compute the same numbers in
        less time. For that it sets `inner_loop` on those layers of `stack`, and `update_step` (TensorFlow) or
        `_parallel_update_step` (torch) on `optimizer`. Saved files do not change. Copies of the stack, for instance by
        `keras.models.clone_model`, are stock: they give the same numbers at the speed of Keras.

        Args:
            optimizer: A name gets gradient clipping, `global_clipnorm=1.0`: where a recurrent network is close to
                chaos, the gradient of one window can be a thousand times that of the others, and one such step undoes
                the learning of many. Clipping the norm of all weights together keeps the direction and bounds the step.
                An object is left as it is: give it `global_clipnorm`, and more of stock Keras, such as weight
                decay and schedules, `keras.optimizers.AdamW(schedule, weight_decay=1e-2, global_clipnorm=1.0)` with
                `schedule = keras.optimizers.schedules.CosineDecay(1e-3, decay_steps=10_000)`.
            loss: `None` takes the head's. With `heads.Point` any loss between normalized frames will do, and `None`
                is mean squared error; a head that is a distribution has a loss of its own and takes no other.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            ValueError: If the numbers that the optimizer keeps for each weight cannot fit in memory, or a loss is given
                beside the head's.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> music = np.sin(np.arange(4000) / 9).astype("float32")
            >>> encoder = gl.BlockDFT(block_size=8)
            >>> normalizer = gl.Standardizer().fit(music, encoder)
            >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
            >>> model.compile("adam")
            >>> model.optimizer.global_clipnorm
            1.0

        References:
            Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013 (clipping).
            Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019 (AdamW).
        """
        is_name = isinstance(optimizer, str)
        optimizer, loss = keras.optimizers.get(optimizer), self.head.training_loss(loss)
        if is_name:
            optimizer.global_clipnorm = 1.0
        check_compilation(optimizer, loss, self.trainable_variables)
        super().compile(optimizer=optimizer, loss=loss, **kwargs)
        is_plain = replicas(self) == 1 and not kwargs.get("loss_weights")
        self._loss_is_squared_error = is_plain and self.head.outputs_are_frames and self.loss == "mse"
        # Keras refuses to load a model saved between `compile` and the first step if its optimizer is not built.
        self.optimizer.build(self.trainable_variables)
        speed_up(self.stack, self.optimizer)

    def compile_from_config(self, config: dict) -> None:
        """Compiles as a saved file says; Keras asks for this where `compile` has a body of its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def compute_loss(
        self,
        x: Tensor | Batch | None = None,
        y: None = None,
        y_pred: Any = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Takes apart the outputs and the targets that `call` returns, and notes the error of predicting the mean."""
        refuse_targets("y", y)
        outputs, target = y_pred
        sample_weight = weights_of(x, sample_weight, target)
        total = super().compute_loss(x, target, outputs, sample_weight, training)
        truth = self.head.frame(target)
        # The error is computed once where the loss is that error, unchanged by weights, masks or regularizers.
        is_error = self._loss_is_squared_error and sample_weight is None and not self.losses
        is_error = is_error and getattr(outputs, "_keras_mask", None) is None
        error = total if is_error else ops.mean(ops.square(truth - self.head.mean(outputs)))
        # The mean error is computed here, because on JAX `compute_metrics` cannot read the normalizer's weights.
        mean_error = ops.mean(ops.square(truth - ops.cast(self.normalizer.center, truth.dtype)))
        self._relative_loss.update_state(error, mean_error, ops.shape(target)[0])
        return total

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Compares the expected frames with those of the music by the compiled metrics."""
        outputs, target = y_pred
        weights = weights_of(x, sample_weight, target)
        return super().compute_metrics(x, self.head.frame(target), self.head.mean(outputs), weights)

    def frame_losses(self, batch: Batch | Tensor) -> Any:
        """Computes the loss of the head at each frame of a batch of windows, without dropout: which music is hard?

        Args:
            batch: As for `call`.

        Returns:
            Numpy float32 (B, T).

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> music = np.sin(np.arange(4000) / 9).astype("float32")
            >>> encoder = gl.BlockDFT(block_size=8)
            >>> normalizer = gl.Standardizer().fit(music, encoder)
            >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
            >>> model.frame_losses(music[:264].reshape(3, 88)).shape
            (3, 10)
        """
        outputs, target = self(as_batch(batch), training=False)
        return ops.convert_to_numpy(self.head.loss(target, ops.cast(outputs, "float32")))

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Trains as `keras.Model.fit` does, on windows of a corpus or arrays of PCM (B, span(T + 1)).

        Windows come in their own order: Keras shuffles them no further. With stateful windows each batch starts from
        the state after the batch before, zero where a track begins; back-propagation ends at the batch (it is
        truncated to the length of a window). The state belongs to training: validation starts from zero in each
        window, and so does a model from a saved file.

        Args:
            x: Windows of a corpus; or PCM, int16 or float32, of shape (B, span(T + 1)).
            *args: As for `keras.Model.fit`, in its order.
            **kwargs: As for `keras.Model.fit`. A callback that is a `FitHook`, such as a run folder, runs the training
                itself.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            TypeError: If `keras.Model.fit` has no such argument, or an argument is given twice.
            ValueError: If the windows come from a corpus of another sample rate, there are none, a batch cannot fit in
                memory, or stateful windows meet a stack whose state cannot be carried.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> music = np.sin(np.arange(4000) / 9).astype("float32")
            >>> encoder = gl.BlockDFT(block_size=8)
            >>> normalizer = gl.Standardizer().fit(music, encoder)
            >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
            >>> model.compile("adam")
            >>> history = model.fit(music[:880].reshape(10, 88), epochs=2, verbose=0)
            >>> len(history.history["relative_loss"])
            2

        References:
            Williams and Peng, "An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network
            Trajectories", 1990 (truncated back-propagation through time).
        """
        # All arguments get Keras's own names, so that hooks find each by its name, however it was given.
        options = bound(super().fit, x, args, kwargs)
        taken(options, self.encoder)
        x, before, begun = options.pop("x"), self.high_pass_hz, Begun(super().fit)
        fit: Any = begun
        try:
            self._prepare_fit(x, options)
            for callback in keras.tree.flatten(options.get("callbacks") or []):
                if isinstance(callback, FitHook):
                    fit = functools.partial(callback.wrap_fit, self, fit)
            with reading(x, options.get("validation_data")):
                return fit(x, **options)
        finally:
            self.training_windows = self.validation_windows = None
            self.high_pass_hz = self.high_pass_hz if begun.has_begun else before  # a refused call changes nothing

    def _prepare_fit(self, x: Any, options: dict[str, Any]) -> None:
        """Checks the windows, and notes them for callbacks; `options` are the arguments of `fit` by their names."""
        validation = options.get("validation_data")
        check_fitted(self.normalizer)
        check_windows("x", x, self.sample_rate)
        check_windows("validation_data", validation, self.sample_rate)
        check_batch(self, x, options.get("batch_size"))
        for windows in (x, validation):
            supplied(windows, self._conditions, self.encoder)
        if not (isinstance(x, dict) or hasattr(x, "shape")):
            # All but arrays has an order of its own; Keras would shuffle the batches of a `PyDataset` by a generator
            # that no seed here decides, and warn of the others.
            options.setdefault("shuffle", False)
        if isinstance(x, WindowsLike):
            if x.stateful:
                self._carry(x.batch_size, options.get("shuffle", False))
            self.high_pass_hz = x.high_pass_hz
        self.training_windows, self.validation_windows = x, validation

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Computes the losses as `keras.Model.evaluate` does, on windows of a corpus or arrays of PCM.

        Raises:
            ValueError: If the windows come from a corpus of another sample rate, or there are none.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> music = np.sin(np.arange(4000) / 9).astype("float32")
            >>> encoder = gl.BlockDFT(block_size=8)
            >>> normalizer = gl.Standardizer().fit(music, encoder)
            >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
            >>> model.compile("adam")
            >>> sorted(model.evaluate(music[None, :88], verbose=0, return_dict=True))
            ['loss', 'relative_loss']
        """
        options = bound(super().evaluate, x, args, kwargs)
        taken(options, self.encoder)
        x = options.pop("x")
        check_fitted(self.normalizer)
        check_windows("x", x, self.sample_rate)
        with reading(x):
            return super().evaluate(supplied(x, self._conditions, self.encoder), **options)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes outputs and targets as `keras.Model.predict` does, on windows of a corpus or arrays of PCM.

        Returns:
            Numpy (outputs, targets), as `call` returns them.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> music = np.sin(np.arange(4000) / 9).astype("float32")
            >>> encoder = gl.BlockDFT(block_size=8)
            >>> normalizer = gl.Standardizer().fit(music, encoder)
            >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
            >>> [part.shape for part in model.predict(music[None, :88], verbose=0)]
            [(1, 10, 16), (1, 10, 16)]
        """
        check_fitted(self.normalizer)
        with reading(x):
            return super().predict(supplied(x, self._conditions, self.encoder), *args, **kwargs)

    def _carry(self, batch_size: int, shuffle: bool) -> None:
        """Makes room for the states of `batch_size` lanes."""
        if replicas(self) > 1:
            raise ValueError(
                "Stateful windows belong to one device: each replica of a `tf.distribute` strategy would get a part of "
                f"the lanes. Received: {replicas(self)} replicas. Leave out `stateful=True`, or the strategy."
            )
        if shuffle:
            raise ValueError("Stateful windows must stay in order. Received: shuffle=True. Leave it out.")
        if self._step is None:
            self._step = self._make_step()
        if self._carried.prepare(self._step.stack.initial_states(batch_size)):
            self.train_function = None  # it knows the variables that there were

    def baselines(self, windows: Any, training: Any = None) -> dict[str, float]:
        """Computes the losses that a model must beat: those of predictors that have learned nothing, or little.

        Args:
            windows: As for `evaluate`: windows of a corpus, or an array of PCM (B, span(T + 1)).
            training: Those that the linear predictor is fitted to; `None` takes `windows`, which flatters it.

        Returns:
            `{"mean": 1.0, "repeat": ..., "linear": ...}`: mean squared error of predicting the mean, of repeating the
            last frame, and of a linear function of the last frame (least squares on at most 256 principal directions,
            and at most one for 10 frames of training), over that of predicting the mean.

        Example:
            >>> import gruvlike as gl, numpy as np
            >>> music = np.sin(np.arange(4000) / 9).astype("float32")
            >>> encoder = gl.BlockDFT(block_size=8)
            >>> normalizer = gl.Standardizer().fit(music, encoder)
            >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
            >>> sorted(model.baselines(music[None, :800]))
            ['linear', 'mean', 'repeat']
        """
        check_windows("windows", windows, self.sample_rate)
        return baselines(self, windows, training)

    def save(self, filepath: str | os.PathLike, overwrite: bool = True, **kwargs: Any) -> None:
        """Saves everything that is needed to make sound, and to go on training, in one `.keras` file.

        The file is complete before it takes its name: an earlier file under that name is never damaged.

        Raises:
            ValueError: If the name does not end in `.keras`.
            FileExistsError: If the file exists and `overwrite` is false.
            OSError: If it cannot be written, for instance because the disk is full.

        Example:
            >>> import tempfile
            >>> import gruvlike as gl, numpy as np
            >>> music = np.sin(np.arange(4000) / 9).astype("float32")
            >>> encoder = gl.BlockDFT(block_size=8)
            >>> normalizer = gl.Standardizer().fit(music, encoder)
            >>> model = gl.AudioModel(encoder, normalizer, gl.recurrent_stack(16, units=(4,)), sample_rate=8000)
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     model.save(f"{folder}/run.keras")
            ...     gl.load(f"{folder}/run.keras").sample_rate
            8000
        """
        path = check_target(filepath, overwrite)
        warn_of_unknown(self)
        with _files.replacing(path) as temporary:
            super().save(temporary, **kwargs)

    def get_config(self) -> dict:
        """Returns the arguments from which `from_config` builds the model again (without weights)."""
        parts = {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in _PARTS}
        options = {name: getattr(self, name) for name in _OPTIONS}
        return {**super().get_config(), **parts, **options, "format_version": FORMAT_VERSION}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "AudioModel":
        """Builds a model from `get_config`'s dictionary."""
        config = dict(config)
        check_version(config.pop("format_version", FORMAT_VERSION), FORMAT_VERSION)
        for name in set(_PARTS) & set(config):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        with loading():
            return cls(**config)
