"""The summary of a run, from its history and its settings."""

import json

import keras
import pytest

import gruvlike as gl
from gruvlike.callbacks import run_callbacks
from gruvlike.callbacks._summary import write_summary


def written(folder, rows, baselines=None):
    lines = [json.dumps({"epoch": epoch, "seconds": 30.0} | row) for epoch, row in enumerate(rows)]
    (folder / "history.jsonl").write_text("\n".join([*lines, '{"epoch": 9, "los']))  # as after a kill within this line
    (folder / "config.json").write_text(json.dumps({"baselines": baselines or {}}))
    text = write_summary(folder)
    assert (folder / "summary.txt").read_text() == text + "\n"
    return {line[:16].strip(): line[16:] for line in text.splitlines()}


def test_a_run_with_all_that_can_be_told(tmp_path):
    free = ({}, {"val_free_running_5": 1.5, "val_free_energy_5": 0.25}, {"val_free_running_5": None})
    losses = zip((0.9, 0.4, 0.6), free, strict=True)
    rows = [{"relative_loss": 0.1, "val_relative_loss": loss} | more for loss, more in losses]
    assert written(tmp_path, rows, {"mean": 1.0, "repeat": 0.8, "linear": 0.3}) == {
        "epochs": "3, 1.5 min",
        "best": "validation loss 0.400 after epoch 2 (1 = predicting the mean)",
        "last": "validation loss 0.600 after epoch 3",
        "to beat": "predicting the mean 1.000, repeating the last frame 0.800, linear prediction 0.300",
        "beaten": "not linear prediction",
        "free-running": "loss 1.500 and 0.25 of the energy, 5 frames after the music, after epoch 2",
    }


def test_a_network_that_is_better_than_all(tmp_path):
    assert written(tmp_path, [{"val_relative_loss": 0.2}], {"mean": 1.0, "linear": 0.3})["beaten"] == "all of them"


def test_an_epoch_that_was_cut_short_is_the_best_only_where_there_is_no_other(tmp_path):
    part = {"val_relative_loss": 0.1, "batches": 3}
    assert written(tmp_path, [{"val_relative_loss": 0.5}, part])["best"].startswith("validation loss 0.500")
    assert written(tmp_path, [part])["best"].startswith("validation loss 0.100")


def test_without_validation(tmp_path):
    said = written(tmp_path, [{"relative_loss": 0.7}, {"relative_loss": 0.5}])
    assert list(said) == ["epochs", "best", "last"]
    assert said["best"].startswith("training loss 0.500 after epoch 2")


@pytest.mark.parametrize("rows", [[], [{"relative_loss": None}]])
def test_nothing_to_tell(tmp_path, rows):
    (tmp_path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert write_summary(tmp_path) == ""
    assert list(tmp_path.iterdir()) == [tmp_path / "history.jsonl"]


def test_a_script_hears_what_its_run_does(tmp_path, capsys, caplog):
    """Nobody who writes a script sets up logging; where `fit` is silent, the log has it."""
    caplog.set_level("INFO", "gruvlike")
    gl.audio.write(tmp_path / "a.wav", gl.tune.compose(2, 8000), 8000)
    train, validation = gl.Corpus.build(tmp_path / "a.wav", tmp_path / "a.h5", sample_rate=8000).split(validation=0.3)
    encoder = gl.TimeBlocks(50)

    def fit(epochs, verbose, stop=False):
        stack = keras.Sequential([keras.Input((None, 50)), keras.layers.Dense(50)])
        model = gl.AudioModel(encoder, gl.GlobalScale().fit(train, encoder), stack, 8000)
        model.compile("sgd", run_eagerly=True)

        def stumble(batch, logs):
            if stop and batch == 1:
                raise RuntimeError("the lights went out")

        model.fit(
            train.windows(encoder, steps=4, batch_size=8),
            validation_data=validation.windows(encoder, steps=4, shuffle=False, offset=0),
            epochs=epochs,
            verbose=verbose,
            callbacks=[
                *run_callbacks(tmp_path / "run", preview_every=0),
                keras.callbacks.LambdaCallback(on_train_batch_end=stumble),
            ],
        )
        return capsys.readouterr().out

    def baselines():
        return json.loads((tmp_path / "run" / "config.json").read_text())["baselines"]

    said = fit(1, verbose=2)
    found = baselines()
    assert set(found) == {"mean", "repeat", "linear"}
    assert f"Validation loss to beat: predicting the mean 1.000, repeating the last frame {found['repeat']:.3f}" in said
    assert (tmp_path / "run" / "summary.txt").read_text() in said
    assert caplog.text == ""
    with pytest.raises(RuntimeError, match="lights"):
        fit(2, verbose=2, stop=True)
    assert "Going on with" in (out := capsys.readouterr().out)
    assert "Stopped. The same script goes on with" in out
    assert baselines() == found
    assert fit(2, verbose=0) == ""
    assert "Going on with" in caplog.text
    assert (tmp_path / "run" / "summary.txt").read_text().startswith("epochs          2")
