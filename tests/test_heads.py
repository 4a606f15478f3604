"""Heads: regression as it was, and a distribution that a user wrote, drawn from in every loop of every backend."""

import keras
import numpy as np
import pytest
from _parts import Gaussian, gaussian_generator

import gruvlike as gl
from gruvlike._step import _loops
from gruvlike._step._stateless import StatelessStack
from gruvlike._step._step import uniform_noise

pytestmark = pytest.mark.backends


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.fixture
def generator(melody):
    return gaussian_generator(melody)


# --- the contract, over all heads


@pytest.mark.parametrize(
    "head", [gl.heads.Point(), Gaussian(), gl.heads.Mixture(components=1)], ids=["Point", "Gaussian", "Mixture"]
)
def test_a_head_keeps_the_contract(head, rng):
    width = 6
    sizes = width, head.outputs(width), head.draws(width)
    drawn = [rng.uniform(0.01, 0.99, (2, 5, size)).astype("float32") for size in sizes]
    frames, output, noise = map(keras.ops.convert_to_tensor, drawn)
    target = head.target(frames)
    assert head.loss(target, output).shape == (2, 5)
    assert head.mean(output).shape == frames.shape
    np.testing.assert_allclose(numpy(head.frame(target)), numpy(frames), atol=1e-6)
    drawn = numpy(head.frame(head.sample(output, noise, np.float32(1.0))))
    assert drawn.shape == frames.shape
    still = numpy(head.frame(head.sample(output, noise, np.float32(0.0))))
    np.testing.assert_allclose(still, numpy(head.mean(output)), atol=1e-6)
    assert (np.abs(drawn - still).max() > 0.1) == bool(head.draws(width))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    np.testing.assert_array_equal(numpy(copy.loss(target, output)), numpy(head.loss(target, output)))


def test_heads_by_name():
    assert isinstance(gl.heads.get("point"), gl.heads.Point)
    head = Gaussian()
    assert gl.heads.get(head) is head
    with pytest.raises(
        ValueError, match=r"must be a Head or one of point, mixture. Received: head='pont'. Did you mean 'point'"
    ):
        gl.heads.get("pont")
    with pytest.raises(ValueError, match="already made takes no options"):
        gl.heads.get(head, name="other")


def test_a_head_that_is_not_finished_says_so():
    with pytest.raises(NotImplementedError, match="Head must define `outputs"):
        gl.heads.Head().outputs(3)


# --- random numbers are data


def test_noise_is_a_function_of_seed_clip_and_step():
    whole = uniform_noise(3, 1, 0, 20, 7)
    np.testing.assert_array_equal(np.concatenate([uniform_noise(3, 1, 0, 8, 7), uniform_noise(3, 1, 8, 12, 7)]), whole)
    assert whole.shape == (20, 7)
    assert whole.dtype == np.float32
    for other in (uniform_noise(4, 1, 0, 20, 7), uniform_noise(3, 2, 0, 20, 7)):
        assert not (other == whole).any()
    many = uniform_noise(0, 0, 0, 5000, 9)
    assert 0 < many.min() < many.max() < 1
    assert abs(many.mean() - 0.5) < 0.005
    assert abs(many.var() - 1 / 12) < 0.002
    assert np.abs(np.corrcoef(many.T) - np.eye(9)).max() < 0.06


# --- songs


@pytest.mark.parametrize("options", [{"units": (7, 6)}, {"cell": "gru", "units": (8,)}], ids=["lstm", "gru"])
def test_carrying_equals_feeding_the_full_history_while_sampling(melody, options):
    generator = gaussian_generator(melody, **options)
    draw = {"temperature": 0.7, "random_seed": 5}
    carried = generator.extend(melody[:400], steps=30, **draw)
    full = generator.extend(melody[:400], steps=30, history="full", **draw)
    scale = np.abs(full).max()
    np.testing.assert_allclose(carried, full, atol=1e-4 * scale)
    assert np.abs(generator.extend(melody[:400], steps=30, history=2, **draw) - full).max() > 1e-2 * scale
    for other in ({"temperature": 0.7, "random_seed": 6}, {"temperature": 0.0}, {"random_seed": 5}):
        assert np.abs(generator.extend(melody[:400], steps=30, **other) - full).max() > 1e-2 * scale


def test_a_song_cut_in_other_chunks_is_the_same(generator, melody, monkeypatch):
    song = generator.extend(melody[:400], steps=30, random_seed=1)
    for frames_at_once in (1, 7):
        pieces = list(generator.stream(melody[:400], steps=30, random_seed=1, frames_at_once=frames_at_once))
        np.testing.assert_allclose(np.concatenate(pieces), song, atol=1e-5)
    monkeypatch.setattr(_loops, "_CHUNK_BYTES", 0)  # chunks of 8 steps
    np.testing.assert_allclose(
        gaussian_generator(melody).extend(melody[:400], steps=30, random_seed=1), song, atol=1e-5
    )


def test_another_clip_in_the_batch_changes_no_other_clip(generator, melody):
    """Seeds of other lengths beside it, fed again or carried."""
    seeds = [melody[:320], melody[4000:4160], melody[8000:8480]]
    for history in ("carry", "full"):
        together = generator.extend(seeds, steps=9, random_seed=2, history=history)
        np.testing.assert_allclose(
            generator.extend(seeds[0], steps=9, random_seed=2, history=history), together[0], atol=1e-5
        )
        np.testing.assert_allclose(
            generator.extend(seeds[:2], steps=9, random_seed=2, history=history), together[:2], atol=1e-5
        )
    clips = generator.extend(melody[:320], steps=9, random_seed=2, clips=3)
    np.testing.assert_allclose(clips[0], together[0], atol=1e-5)
    assert np.abs(clips[0] - clips[1]).max() > 1e-2  # each clip draws numbers of its own


def test_one_compilation_for_all_temperatures_and_seeds(generator, melody, monkeypatch):
    traced = []
    step = StatelessStack.step
    monkeypatch.setattr(StatelessStack, "step", lambda *a: traced.append(1) or step(*a))
    generator.extend(melody[:320], steps=5, temperature=0.5, random_seed=1)
    assert traced
    traced.clear()
    for temperature in (0.0, 0.3, 2.0):
        generator.extend(melody[:160], steps=300, temperature=temperature, random_seed=7)
    assert not traced


def test_no_temperature_draws_wider(generator, melody):
    def spread(temperature):
        songs = generator.extend(melody[:320], steps=20, temperature=temperature, clips=8)
        return np.std(songs, axis=0).mean()

    assert spread(0.0) < 1e-5 < spread(0.3) < spread(1.0)


def test_draws_without_a_head_that_draws_are_refused(melody):
    encoder = gl.TimeBlocks(8)
    generator = gl.Generator(gl.recurrent_stack(8, units=(4,)), encoder=encoder, sample_rate=8000)
    for given in ({"temperature": 1.0}, {"random_seed": 0}):
        with pytest.raises(ValueError, match=r"for heads that draw. Received: .*Point head, which draws nothing"):
            generator.extend(melody[:80], steps=2, **given)


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), "hot"])
def test_temperatures_that_are_none(generator, melody, temperature):
    with pytest.raises(ValueError, match="`temperature` must be a finite number"):
        generator.extend(melody[:320], steps=2, temperature=temperature)


# --- models


def gaussian_model(melody, **options):
    encoder = gl.BlockDFT(16)
    normalizer = gl.Standardizer().fit(melody, encoder)
    head = Gaussian()
    stack = gl.recurrent_stack(normalizer.width, units=(8,), head=head, random_seed=0)
    return gl.AudioModel(encoder, normalizer, stack, sample_rate=8000, head=head, **options)


def pcm_of(melody, model, steps=10, windows=12):
    span = model.encoder.span(steps + 1)
    return melody[: windows * span].reshape(windows, span)


def test_a_model_with_a_head_trains_saves_and_sings(melody, tmp_path):
    model = gaussian_model(melody, scheduled_sampling=0.2, sampling_updates=5, rollout_steps=2)
    model.compile(keras.optimizers.Adam(0.01))  # the loss is the head's
    pcm = pcm_of(melody, model)
    history = model.fit(pcm, epochs=6, batch_size=4, verbose=0, validation_data=pcm).history
    assert history["loss"][-1] < history["loss"][0]
    assert 0 < history["val_relative_loss"][-1] < history["val_relative_loss"][0]
    output, target = model.predict(pcm, verbose=0)
    assert output.shape == (12, 10, 64)
    assert target.shape == (12, 10, 32)
    expected = np.square(output[..., :32] - target).mean() / np.square(target - numpy(model.normalizer.center)).mean()
    assert model.evaluate(pcm, verbose=0, return_dict=True)["relative_loss"] == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(
        model.frame_losses(pcm), numpy(model.head.loss(*map(keras.ops.convert_to_tensor, (target, output)))), atol=1e-4
    )
    model.save(tmp_path / "run.keras")
    loaded = gl.load(tmp_path / "run.keras")
    assert isinstance(loaded.head, Gaussian)
    loaded.fit(pcm, batch_size=4, verbose=0)  # compiled, with the loss of the head
    song, again = (gl.Generator(one).extend(melody[:400], steps=9, random_seed=3) for one in (model, model))
    np.testing.assert_array_equal(song, again)
    assert gl.models.free_running_loss(model, pcm, horizons=(1, 3))[3].loss > 0


def test_a_head_with_a_loss_of_its_own_takes_no_other(melody):
    with pytest.raises(ValueError, match=r"A Gaussian head has a loss of its own. Received: loss='mse'"):
        gaussian_model(melody).compile("adam", loss="mse")


def test_a_stack_that_does_not_fit_its_head_is_refused(melody):
    encoder = gl.BlockDFT(16)
    normalizer = gl.Standardizer().fit(melody, encoder)
    stack = gl.recurrent_stack(32, units=(4,))
    with pytest.raises(
        ValueError, match=r"map \(B, T, 32\) to \(B, T, 64\).*Gaussian head.*predicts \(None, None, 32\)"
    ):
        gl.AudioModel(encoder, normalizer, stack, sample_rate=8000, head=Gaussian())
    with pytest.raises(ValueError, match=r"the 64 numbers that its Gaussian head wants"):
        gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=8000, head=Gaussian())
