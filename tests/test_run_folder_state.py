"""What a run folder keeps of callbacks and settings, and the form in which it does."""

import json
import zipfile

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike._contracts import KeepsState, StopsForAReason, WindowsLike
from gruvlike.callbacks import NaNGuard, run_callbacks
from gruvlike.callbacks._identity import differences

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("plain_curves")]

RATE = 8000


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    gl.audio.write(folder / "a.wav", gl.tune.compose(4, RATE), RATE)
    return gl.Corpus.build(folder, folder / "music.h5", sample_rate=RATE).split(validation=0.3)


def fit(parts, callbacks, epochs=1):
    encoder = gl.TimeBlocks(50)
    keras.utils.set_random_seed(0)
    stack = keras.Sequential([keras.Input((None, 50)), keras.layers.Dense(50)])
    model = gl.AudioModel(encoder, gl.GlobalScale().fit(gl.tune.compose(1, RATE), encoder), stack, RATE)
    model.compile("sgd", run_eagerly=True)
    train, held_out = (part.windows(encoder, steps=6, batch_size=8, shuffle=False) for part in parts)
    assert isinstance(train, WindowsLike)
    return model.fit(train, validation_data=held_out, epochs=epochs, verbose=0, callbacks=callbacks)


def about(folder):
    with zipfile.ZipFile(folder / "newest.keras") as archive:
        return json.loads(archive.read("training.json"))


def write_about(folder, found):
    with zipfile.ZipFile(folder / "newest.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / "newest.keras", "w") as archive:
        for name, data in {**members, "training.json": json.dumps(found)}.items():
            archive.writestr(name, data)


class At(keras.callbacks.Callback):
    """Does something after a batch of an epoch."""

    def __init__(self, epoch, batch, action):
        super().__init__()
        self.at, self.action, self.epoch = (epoch, batch), action, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            self.action(self)


def stop(callback):
    callback.model.stop_training = True


def test_a_checkpoint_has_the_form_of_the_first_version(parts, tmp_path):
    """A run that an earlier gruvlike began goes on."""
    fit(parts, [*run_callbacks(tmp_path, preview_every=0, patience=3), At(0, 1, stop)])
    found = about(tmp_path)
    names = {"identity", "versions", "baselines", "epoch", "batch", "seconds", "rows"}
    assert found.keys() == {"version", "unsaved", "checksum", "progress", "states"}
    assert found["progress"].keys() == names
    assert (found["version"], found["progress"]["epoch"], found["progress"]["batch"]) == (1, 0, 2)
    states = [name for name, _ in found["states"]]
    assert states == ["BestModel of val_loss (run)", "EarlyStopping of val_loss (run)", "metrics"]


def test_a_run_from_before_there_were_heads_goes_on(parts, tmp_path):
    fit(parts, run_callbacks(tmp_path, preview_every=0))
    found = about(tmp_path)
    identity = found["progress"]["identity"]
    del identity["head"]
    identity["model"]["format_version"] = 1
    write_about(tmp_path, found)
    assert fit(parts, run_callbacks(tmp_path, preview_every=0), 2).epoch == [0, 1]
    identity["model"]["sample_rate"] = 4000  # the control
    write_about(tmp_path, found)
    with pytest.raises(ValueError, match=r"model.sample_rate was 4000 and is 8000"):
        fit(parts, run_callbacks(tmp_path, preview_every=0), 2)


def test_the_runs_own_early_stopping_is_not_that_of_the_user(parts, tmp_path):
    def callbacks():
        mine = keras.callbacks.EarlyStopping("val_loss", patience=9, mode="max")
        own = run_callbacks(tmp_path, preview_every=0, patience=5)
        return mine, next(one for one in own if isinstance(one, keras.callbacks.EarlyStopping)), own

    mine, theirs, own = callbacks()
    fit(parts, [*own, mine], 2)
    waited = (mine.wait, theirs.wait)
    assert waited[0] != waited[1]  # the control
    mine, theirs, own = callbacks()
    fit(parts, [mine, *own], 2)  # in another order
    assert (mine.wait, theirs.wait) == waited


def test_the_history_is_whole_where_nothing_is_left_to_train(parts, tmp_path):
    first = fit(parts, run_callbacks(tmp_path, preview_every=0), 2)
    history = keras.callbacks.History()
    again = fit(parts, [history, *run_callbacks(tmp_path, preview_every=0)], 2)
    assert again is history
    assert again.epoch == first.epoch == [0, 1]
    assert again.history == first.history


class Veto(keras.callbacks.Callback):
    """Ends a run with a reason; its state is a number."""

    def __init__(self):
        super().__init__()
        self.reason, self.count = None, 0

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1
        if epoch == 1:
            self.reason = "enough"

    def get_state(self):
        return {"count": self.count, "of": [np.arange(2)]}

    def set_state(self, state):
        self.count, self.of = state["count"], state["of"]


def test_a_callback_with_a_reason_keeps_a_run_from_being_saved(parts, tmp_path):
    veto = Veto()
    assert isinstance(veto, StopsForAReason)
    assert isinstance(veto, KeepsState)
    assert not isinstance(keras.callbacks.EarlyStopping(), StopsForAReason | KeepsState)  # the control
    fit(parts, [*run_callbacks(tmp_path, preview_every=0), veto], 1)
    again = Veto()
    fit(parts, [*run_callbacks(tmp_path, preview_every=0), again], 3)
    assert again.reason == "enough"
    assert about(tmp_path)["progress"]["epoch"] == 1  # that of the first `fit`, which ended without a reason
    assert again.count == 3
    np.testing.assert_array_equal(again.of[0], [0, 1])


def test_nan_in_the_rest_of_an_epoch_is_where_it_was(parts, tmp_path):
    """The windows of an interrupted epoch are counted as in the whole one."""

    def spoil(callback):
        callback.model.trainable_variables[0].assign(np.full((50, 50), np.nan, "float32"))

    def reason(folder, breaks):
        if breaks:
            fit(parts, [*run_callbacks(folder, preview_every=0), At(0, 1, stop)], 2)
        callbacks = run_callbacks(folder, preview_every=0)
        fit(parts, [At(0, 3, spoil), *callbacks], 2)
        return next(one for one in callbacks if isinstance(one, NaNGuard)).reason

    whole = reason(tmp_path / "whole", breaks=False)
    assert whole.startswith("The loss became nan in epoch 1, batch 5, with the music of 'a.wav' from ")
    assert reason(tmp_path / "broken", breaks=True) == whole


def test_a_recipe_is_in_the_settings_as_json_gives_it_back(parts, tmp_path):
    recipe = {"encoder": {"name": "time_blocks", "block_size": 50}, "units": (8, 4), "learning_rate": 1e-3}
    fit(parts, run_callbacks(tmp_path, preview_every=0, notes={"why": "a test"}, recipe=recipe))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["recipe"] == {**recipe, "units": [8, 4]}
    assert config["notes"] == {"why": "a test"}


@pytest.mark.parametrize("value", [np.zeros(2), {1, 2}, object()])
def test_a_recipe_that_json_cannot_hold_is_refused(tmp_path, value):
    with pytest.raises(TypeError, match="A recipe must be plain data"):
        run_callbacks(tmp_path, recipe={"units": value})


def test_a_registered_class_may_move_to_another_file():
    then = {"module": "gruvlike.normalizers", "registered_name": "gruvlike>MinMax", "config": {"features": 3}}
    now = {**then, "module": "gruvlike.normalizers._affine"}
    assert list(differences(then, now)) == []
    assert list(differences(then, {**now, "config": {"features": 4}})) == ["features was 3 and is 4"]
    stock = {"module": "keras.layers", "registered_name": None}
    assert list(differences(stock, {**stock, "module": "keras"})) == ['module was "keras.layers" and is "keras"']
