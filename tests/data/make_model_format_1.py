"""Makes `model_format_1.keras` and the songs that it sang, with a gruvlike of model format 1 (commit b6a5afa).

The files show that later versions still load such a model and sing the same samples. A newer gruvlike cannot make them
again: it writes a newer format. Run it on TensorFlow, on a CPU, in a checkout of that commit.
"""

from pathlib import Path

import keras
import numpy as np

import gruvlike as gl

HERE = Path(__file__).parent


def melody():
    """Two seconds of four notes at 8 kHz, as the fixture `melody` of the tests."""
    t = np.arange(16_000) / 8_000
    notes = np.array([262, 330, 392, 523])[(t * 4).astype(int) % 4]
    return (0.4 * np.sin(2 * np.pi * notes * t) + 0.1 * np.sin(4 * np.pi * notes * t)).astype("float32")


def machine():
    """The processor and the TensorFlow that decide the last bit."""
    import tensorflow as tf

    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line for line in lines if line.startswith("flags")), "") + tf.__version__


def main():
    keras.utils.set_random_seed(0)
    music = melody()
    encoder = gl.MDCT(block_size=16)
    normalizer = gl.Standardizer().fit(music, encoder)
    stack = gl.recurrent_stack(encoder.features, cell="gru", units=(8, 8), skip=True, random_seed=0)
    model = gl.AudioModel(
        encoder, normalizer, stack, 8000, 20.0, scheduled_sampling=0.1, sampling_updates=50, rollout_steps=2
    )
    model.compile(keras.optimizers.Adam(0.01))
    span = encoder.span(21)
    model.fit(music[: 30 * span].reshape(30, span), batch_size=10, epochs=10, verbose=0)
    model.save(HERE / "model_format_1.keras")
    generator = gl.Generator(gl.load(HERE / "model_format_1.keras"))
    seeds = [music[:1000], music[3000:3800]]
    songs = {
        "machine": machine(),  # the last bit depends on it
        "seed": music[:1000],
        "other_seed": music[3000:3800],
        "carry": generator.extend(seeds[0], seconds=0.2),
        "full": generator.extend(seeds[0], steps=20, history="full"),
        "window": generator.extend(seeds[0], steps=20, history=5),
        "clips": generator.extend(seeds, steps=40),
    }
    np.savez_compressed(HERE / "model_format_1_songs.npz", **songs)


if __name__ == "__main__":
    main()
