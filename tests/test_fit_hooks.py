"""`AudioModel.fit` takes the arguments of Keras, by name or in their order, and lets callbacks run the training."""

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike._contracts import FitHook
from gruvlike.callbacks import run_callbacks

pytestmark = pytest.mark.backends

RATE = 8000
PCM = gl.tune.compose(1, RATE)[: 16 * 200].reshape(16, 200)  # 16 windows of 4 frames


def make_model():
    encoder = gl.TimeBlocks(50)
    normalizer = gl.GlobalScale().fit(gl.tune.compose(1, RATE), encoder)
    keras.utils.set_random_seed(0)
    stack = keras.Sequential([keras.Input((None, 50)), keras.layers.Dense(50)])
    model = gl.AudioModel(encoder, normalizer, stack, RATE)
    model.compile("sgd", run_eagerly=True)
    return model


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_arguments_in_the_order_of_keras_are_those_by_name():
    by_name, by_place, other = make_model(), make_model(), make_model()
    history = by_name.fit(PCM, batch_size=4, epochs=2, verbose=0, validation_split=0.5, shuffle=False)
    again = by_place.fit(PCM, None, 4, 2, 0, None, 0.5, None, False)
    other.fit(PCM, None, 8, 2, 0, None, 0.5, None, False)
    assert again.history == history.history
    assert same(by_place, by_name)
    assert not same(other, by_name)  # the control


def test_callbacks_by_place_keep_a_run(tmp_path):
    make_model().fit(PCM, None, 4, 1, 0, run_callbacks(tmp_path, preview_every=0))
    history = make_model().fit(PCM, None, 4, 3, 0, run_callbacks(tmp_path, preview_every=0))
    assert history.epoch == [0, 1, 2]
    assert (tmp_path / "newest.keras").exists()


@pytest.mark.parametrize(
    ("arguments", "options"), [((None,), {"y": None}), ((), {"epoch": 2}), ((None,) * 20, {})]
)  # twice, unknown, too many
def test_arguments_that_keras_does_not_take(arguments, options):
    with pytest.raises(TypeError):
        make_model().fit(PCM, *arguments, **options)


class Twice(keras.callbacks.Callback):
    """Trains twice as many epochs as it is asked to."""

    def __init__(self):
        super().__init__()
        self.seen = None

    def wrap_fit(self, model, fit, x, **options):
        self.seen = {"model": model, **options}
        fit(x, **options)
        return fit(x, **options)


def test_a_hook_runs_the_training():
    hooked, plain = make_model(), make_model()
    hook = Twice()
    assert isinstance(hook, FitHook)
    hooked.fit(PCM, None, 4, 1, verbose=0, shuffle=False, callbacks=[hook])
    assert hook.seen == {"model": hooked, "y": None, "batch_size": 4, "epochs": 1, "verbose": 0, "shuffle": False,
                         "callbacks": [hook]}  # fmt: skip
    plain.fit(PCM, batch_size=4, epochs=1, verbose=0, shuffle=False)
    assert not same(plain, hooked)  # the control
    plain.fit(PCM, batch_size=4, epochs=1, verbose=0, shuffle=False)
    assert same(plain, hooked)


def test_a_hook_that_fit_cannot_see_is_refused_with_the_reason(tmp_path):
    model = make_model()
    callbacks = keras.callbacks.CallbackList(run_callbacks(tmp_path)[-1:], model=model)
    with pytest.raises(ValueError, match=r"belongs to `AudioModel.fit`, in a list .* or a `CallbackList`"):
        model.fit(PCM, verbose=0, callbacks=callbacks)
