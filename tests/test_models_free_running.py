"""Baselines and the free-running loss, against references."""

import keras
import numpy as np
import pytest
from test_corpus import corpus_of
from test_models import pcm_of, small_model

import gruvlike as gl
from gruvlike._step._step import Step
from gruvlike.models import _free_running, free_running_loss, recurrent_stack

pytestmark = pytest.mark.backends


def frames_of(model, pcm):
    return np.asarray(model.normalizer(model.encoder.encode(pcm, padded=False)))


def relative(guess, target):
    return np.square(guess - target).sum() / np.square(target).sum()


def test_baselines_are_those_of_the_same_windows(melody):
    model = small_model(melody)
    pcm = pcm_of(melody, model.encoder, windows=40)
    frames = frames_of(model, pcm)
    found = model.baselines(pcm)
    assert list(found) == ["mean", "repeat", "linear"]
    assert found["mean"] == 1.0
    assert found["repeat"] == pytest.approx(relative(frames[:, :-1], frames[:, 1:]), rel=1e-4)


def test_the_linear_predictor_is_least_squares(melody):
    """32 features and hundreds of frames: all directions are kept, and numpy's own solution is the reference."""
    noise = np.random.default_rng(1).normal(0, 0.05, len(melody))
    model = small_model(melody + noise, encoder=gl.TimeBlocks(8))
    pcm = pcm_of(melody + noise, model.encoder, windows=80)
    fitted, held_out = pcm[::2], pcm[1::2]
    x, y = (part.reshape(-1, 8) for part in (frames_of(model, fitted)[:, :-1], frames_of(model, fitted)[:, 1:]))
    matrix = np.linalg.lstsq(x, y, rcond=None)[0]
    frames = frames_of(model, held_out)
    expected = relative(frames[:, :-1] @ matrix, frames[:, 1:])
    assert model.baselines(held_out, training=fitted)["linear"] == pytest.approx(expected, rel=1e-3)
    assert expected < 0.9  # the control: there is something to predict
    assert model.baselines(fitted)["linear"] < model.baselines(fitted, training=held_out)["linear"]


def test_the_linear_predictor_learns_no_noise_by_heart(rng):
    """More features than frames: without a limit on the directions the loss on other noise would pass 2."""
    noise = rng.normal(0, 0.1, 60_000).astype("float32")
    model = small_model(noise, encoder=gl.TimeBlocks(250))
    pcm = pcm_of(noise, model.encoder, windows=20)
    assert 0.95 < model.baselines(pcm[1::2], training=pcm[::2])["linear"] < 1.2


def test_windows_of_a_corpus_and_stateful_ones_are_read_alike(tmp_path):
    corpus = corpus_of(tmp_path / "a.h5", [4000])
    encoder = gl.TimeBlocks(20)
    normalizer = gl.Standardizer().fit(corpus, encoder)
    model = gl.AudioModel(encoder, normalizer, recurrent_stack(20, units=(4,)), sample_rate=corpus.sample_rate)
    options = {"steps": 9, "batch_size": 2, "shuffle": False, "offset": 0}
    plain, stateful = (corpus.windows(encoder, stateful=flag, **options) for flag in (False, True))
    a, b = (model.baselines(windows) for windows in (plain, stateful))
    assert a["repeat"] == pytest.approx(b["repeat"], rel=0.2)
    assert free_running_loss(model, stateful, horizons=(2,))[2].loss > 0


def test_few_batches_stand_for_many(melody, monkeypatch):
    monkeypatch.setattr("gruvlike.models._baselines._FITTED_FRAMES", 150)
    model = small_model(melody, encoder=gl.TimeBlocks(8))
    pcm = pcm_of(melody, model.encoder, windows=120)

    class Counted(list):
        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            return super().__getitem__(index)

    batches = Counted([(pcm[start : start + 4],) for start in range(0, 120, 4)])  # 44 frames each
    model.baselines(pcm[:4], training=batches)
    assert batches.reads == 2 * 4


# --- the free-running loss


def test_free_running_equals_feeding_predictions_back_by_hand(melody):
    model = small_model(melody, units=(6, 5))
    pcm = pcm_of(melody, model.encoder, steps=10)
    frames = frames_of(model, pcm)
    heard = frames[:, :7]
    for _ in range(4):
        heard = np.concatenate([heard, keras.ops.convert_to_numpy(model.stack(heard))[:, -1:]], axis=1)
    found = free_running_loss(model, pcm, horizons=(1, 4))
    assert list(found) == [1, 4]
    for horizon, (loss, energy) in found.items():
        guess, truth = heard[:, 6 + horizon], frames[:, 6 + horizon]
        assert loss == pytest.approx(relative(guess, truth), rel=1e-4)
        assert energy == pytest.approx(np.square(guess).sum() / np.square(truth).sum(), rel=1e-4)


def test_a_stack_whose_state_cannot_be_carried_hears_all_again(melody):
    parts = small_model(melody)
    inputs = keras.Input((None, 32))
    stack = keras.Model(inputs, keras.layers.Conv1D(32, 2, padding="causal")(inputs))
    model = gl.AudioModel(parts.encoder, parts.normalizer, stack, sample_rate=8000)
    pcm = pcm_of(melody, model.encoder, steps=10)
    frames = frames_of(model, pcm)
    heard = frames[:, :9]
    for _ in range(2):
        heard = np.concatenate([heard, keras.ops.convert_to_numpy(stack(heard))[:, -1:]], axis=1)
    assert free_running_loss(model, pcm, (2,))[2].loss == pytest.approx(relative(heard[:, 10], frames[:, 10]), rel=1e-4)


def test_a_model_that_says_the_mean_has_loss_one_and_no_energy(melody):
    model = small_model(melody)
    model.stack.get_layer("frame").set_weights([np.zeros((8, 32)), np.zeros(32)])
    for loss, energy in free_running_loss(model, pcm_of(melody, model.encoder), (1, 3)).values():
        assert (loss, energy) == (pytest.approx(1), pytest.approx(0))


def test_windows_too_short_and_horizons_that_are_none(melody):
    model = small_model(melody)
    pcm = pcm_of(melody, model.encoder, steps=10)
    with pytest.raises(ValueError, match=r"horizon 40, windows of 10 steps. Use windows of 80 steps"):
        free_running_loss(model, pcm)
    with pytest.raises(ValueError, match="`horizons` must be a positive integer"):
        free_running_loss(model, pcm, (0,))
    assert free_running_loss(model, pcm, (10,))[10].loss > 0


def test_predictions_that_are_fed_back_stay_within_the_bounds_of_a_song(melody, monkeypatch):
    """Bounds are those of a song: the free-running loss, rollout and scheduled sampling read no frame beyond them."""
    encoder = gl.MDCT(16)
    normalizer = gl.normalizers.PrincipalComponents(8).fit(melody, encoder)
    stack = recurrent_stack(8, units=(4,), random_seed=0)
    stack.set_weights([20 * weight for weight in stack.get_weights()])
    model = gl.AudioModel(encoder, normalizer, stack, sample_rate=8000, rollout_steps=3, scheduled_sampling=1.0)
    frames = frames_of(model, pcm_of(melody, encoder, windows=4))
    assert np.abs(keras.ops.convert_to_numpy(stack(frames))).max() > 3 * np.abs(frames).max()  # the control
    low, high = map(keras.ops.convert_to_numpy, normalizer.bounds)
    for own_stack in (stack, keras.Sequential([keras.Input((None, 8)), keras.layers.Reshape((-1, 8)), stack])):
        free = gl.AudioModel(encoder, normalizer, own_stack, sample_rate=8000)
        found = _free_running._continued(free, frames, {}, 5)
        assert ((found >= low - 1e-5) & (found <= high + 1e-5)).all()
    model._sampling.updates.assign(1e9)  # the share has grown: scheduled sampling replaces all frames but the first
    read, whole = [], Step.read
    monkeypatch.setattr(Step, "read", lambda step, frames, *rest: read.append(frames) or whole(step, frames, *rest))
    model({"pcm": pcm_of(melody, encoder, windows=4)}, training=True)
    seen = np.concatenate([keras.ops.convert_to_numpy(one).reshape(-1, 8) for one in read])
    fed_back = seen[~(np.abs(seen[:, None] - frames.reshape(1, -1, 8)).max(axis=-1) < 1e-4).any(axis=1)]
    assert len(fed_back) >= 3
    assert ((fed_back >= low - 1e-5) & (fed_back <= high + 1e-5)).all()


@pytest.mark.parametrize(
    ("horizons", "error"), [(5, TypeError), ("12", TypeError), ((), ValueError), ((0,), ValueError)]
)
def test_horizons_that_are_none(melody, horizons, error):
    model = small_model(melody)
    with pytest.raises(error, match=r"`horizons` must .*Received: horizons="):
        free_running_loss(model, pcm_of(melody, model.encoder, windows=4), horizons)
    with pytest.raises(error, match="`horizons` must"):
        gl.callbacks.FreeRunningLoss(horizons=horizons)
