"""A normalizer whose width differs from the encoder's features: it trains, is saved, goes on and sings."""

import keras
import numpy as np
import pytest
from _parts import Projection

import gruvlike as gl
from gruvlike.callbacks import run_callbacks

pytestmark = pytest.mark.backends

WIDTH = 6


MAKERS = {
    "projection": lambda: Projection(width=WIDTH),
    "principal_components": lambda: gl.PrincipalComponents(WIDTH),
}


def make_model(melody, make=MAKERS["projection"]):
    encoder = gl.MDCT(16)
    normalizer = make().fit(melody, encoder)
    stack = gl.recurrent_stack(WIDTH, units=(8,), random_seed=0)
    model = gl.AudioModel(encoder, normalizer, stack, 8000)
    model.compile(keras.optimizers.Adam(0.03))
    return model


@pytest.fixture(scope="module", params=MAKERS)
def trained(request, melody, tmp_path_factory):
    """A run that was interrupted after two of three epochs, went on, and its model files."""
    folder = tmp_path_factory.mktemp("run")
    windows = melody[: 20 * 800].reshape(20, 800)
    losses = []
    for epochs in (2, 3):
        model = make_model(melody, MAKERS[request.param])
        callbacks = run_callbacks(folder, preview_every=0)
        history = model.fit(windows, batch_size=10, epochs=epochs, verbose=0, callbacks=callbacks)
        losses.append(history.history["loss"])
    return model, folder, losses


def test_it_trains_and_a_run_goes_on(melody, trained):
    model, _, (two, three) = trained
    assert three[:2] == two
    assert three[2] < three[0]
    outputs, target = model.predict(melody[None, :400], verbose=0)
    assert outputs.shape == target.shape == (1, 23, WIDTH)
    assert (model.encoder.features, model.width) == (16, WIDTH)


def test_it_is_saved_with_its_statistics(melody, trained):
    model, folder, _ = trained
    loaded = gl.load(folder / "newest.keras")
    assert type(loaded.normalizer) is type(model.normalizer)
    for one, other in zip(loaded.normalizer.get_weights(), model.normalizer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(
        loaded.predict(melody[None, :400], verbose=0)[0], model.predict(melody[None, :400], verbose=0)[0], atol=1e-6
    )


def test_it_sings_frames_that_its_directions_reach(melody, trained):
    model, folder, _ = trained
    generator = gl.Generator(gl.load(folder / "newest.keras"))
    seed = melody[:1600]
    song = generator.extend(seed, steps=20)
    np.testing.assert_allclose(generator.extend(seed, steps=20, history="full"), song, atol=1e-5)
    assert song.shape == (20 * 16,)
    frames = model.encoder.encode(song, padded=False)[2:-2]
    reached = model.normalizer.inverse(model.normalizer(frames))
    np.testing.assert_allclose(reached, frames, atol=1e-3)
    music = model.encoder.encode(melody[:800], padded=False)
    assert np.abs(model.normalizer.inverse(model.normalizer(music)) - music).max() > 0.05  # the control


def test_what_it_must_beat_is_measured_in_its_width(melody, trained):
    model, _, _ = trained
    windows = melody[: 20 * 800].reshape(20, 800)
    baselines = model.baselines(windows)
    assert baselines["mean"] == 1 > baselines["linear"]
    assert gl.models.free_running_loss(model, windows, horizons=(1,))[1].loss > 0


def test_a_stack_of_another_width_is_refused(melody):
    model = make_model(melody)
    with pytest.raises(ValueError, match=r"must map \(B, T, 6\)"):
        gl.AudioModel(model.encoder, model.normalizer, gl.recurrent_stack(16, units=(4,)), 8000)
