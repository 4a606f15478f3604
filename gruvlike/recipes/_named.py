"""The recipes that have a name, but for the paper's: those are the defaults of `Recipe`."""

from gruvlike.recipes._recipe import Recipe


def music() -> Recipe:
    """Returns the recipe that makes music, for a corpus at 16 kHz.

    The network draws each frame from a mixture, and reads the beat, frames of its own past and the last bars of the
    seed besides the last frame. A frame is 64 ms of sound, and the next one begins after 16 ms.
    """
    return Recipe(
        encoder={"name": "log_spectrum", "frame_size": 1024, "hop": 256, "floor_db": -80.0, "iterations": 16},
        normalizer={"name": "principal_components", "components": 128},
        head={"name": "mixture", "components": 8, "temperature": 0.6},
        network={"cell": "gru", "units": (256, 256), "projection": None, "input_noise": 0.6, "told_noise": 0.25},
        conditions={"clock": True, "lags": (1.0, 4.0, 8.0), "anchor": 8.0},
        optimizer={"name": "adam", "learning_rate": 2e-3, "beta_2": 0.98, "global_clipnorm": 1.0},
        windows={"steps": 64, "batch_size": 8},
        split={"validation": 0.1},
        epochs=None,
        minutes=5.0,
        decay=True,
        choose_by="song",
    )
