"""Two devices of `tf.distribute.MirroredStrategy`: here two parts of one processor, in a process of their own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import tensorflow as tf
parts = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
import numpy as np, gruvlike as gl
music = gl.tune.compose(4, 8000)
gl.audio.write("a.wav", music, 8000)
train, held_out = gl.Corpus.build("a.wav", "music.h5", sample_rate=8000).split(validation=0.3)
encoder = gl.TimeBlocks(50)
normalizer = gl.GlobalScale().fit(train, encoder)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

def fit(epochs=1, callbacks=(), stateful=False, **options):
    with strategy.scope():
        stack = gl.recurrent_stack(50, units=(3,), random_seed=0, dropout=0.1)
        model = gl.AudioModel(encoder, normalizer, stack, 8000, **options)
        model.compile("adam")
    windows = train.windows(encoder, steps=6, batch_size=8, stateful=stateful)
    held = held_out.windows(encoder, steps=6, batch_size=8, shuffle=False, offset=0)
    history = model.fit(windows, validation_data=held, epochs=epochs, verbose=0, callbacks=list(callbacks)).history
    assert np.isfinite(history["val_loss"]).all()
    return model, history

def run(name, epochs):
    return fit(epochs, gl.callbacks.run_callbacks(name, preview_every=0))[0].get_weights()

fit(scheduled_sampling=0.5, rollout_steps=2)
whole, _, again = run("whole", 2), run("parts", 1), run("parts", 2)
assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(whole, again)), "another run"
assert gl.Generator("parts").extend(music[:800], steps=3).shape == (150,)
try:
    fit(stateful=True)
except ValueError as error:
    print(error)
"""


@pytest.mark.programs
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs TensorFlow")
def test_training_on_two_devices(tmp_path):
    env = {**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert found.returncode == 0, found.stderr[-3000:]
    assert "Stateful windows belong to one device" in found.stdout
