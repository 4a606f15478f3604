"""The script behind the experiment in docs/gruv2015.md."""

import importlib.util
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import gruvlike as gl

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gru_candidate.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("gru_candidate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPT.parent)
        spec.loader.exec_module(module)
    return module


def test_the_tanh_candidate_is_the_only_difference(script):
    old, changed = (script.build(name, 8, 4, random_seed=0) for name in script.NETWORKS[1:3])
    for a, b in zip(old.get_weights(), changed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    configs = [model.layers[1].get_config() for model in (old, changed)]
    assert {key for key in configs[0] if configs[0][key] != configs[1][key]} == {"activation", "name"}
    x = np.random.default_rng(0).normal(size=(1, 5, 8)).astype("float32")
    one, other = (keras.ops.convert_to_numpy(model(x)) for model in (old, changed))
    assert np.abs(one - other).max() > 1e-3


def test_all_networks_have_the_same_sizes(script):
    for name in script.NETWORKS:
        weights = [w.shape for w in script.build(name, 8, 4, random_seed=0).get_weights()]
        assert weights[0] == (8, 4)
        assert weights[-2] == (4, 8)


def test_figures_are_mean_and_spread_of_the_last_losses(script):
    row = {"network": "GRU of 2015", "parameters": 10_000, "train": [2.0, 0.5], "validation": [0.25], "relative": [0.5]}
    rows = [row | {"random_seed": 0, "seconds_per_update": 0.1}]
    rows.append(rows[0] | {"train": [2.0, 0.7], "random_seed": 1})
    rows.append(rows[0] | {"train": [2.0, 1.5], "network": "LSTM of 2015"})
    names = ("updates", "batch_size", "seconds", "sample_rate", "block_size", "steps", "hidden", "every")
    text = script.figures({"settings": dict.fromkeys(names, 1), "machine": "here", "rows": rows})
    assert (
        "| GRU of 2015 | 0.01 M | 0.6000 ± 0.1414 | 0.7500 ± 0.3536 | 0.2500 ± 0.0000 | 0.5000 ± 0.0000 | 100 | 2 |"
        in text
    )


@pytest.mark.slow
def test_a_whole_run_and_going_on(script, tmp_path, monkeypatch, capsys):
    for index in range(6):
        sound = 0.3 * np.sin(np.arange(24_000) * (index + 3) / 60)
        gl.audio.write(tmp_path / f"{index}.wav", sound.astype("float32"), 8000)
    sizes = "--updates 4 --every 2 --seeds 1 --hidden 4 --block-size 50 --steps 5 --sample-rate 8000"
    files = [f"--{name}={tmp_path / name}" for name in ("out", "corpus", "image.png")]
    files[2] = files[2].replace("--image.png", "--image")
    command = ["gru_candidate.py", str(tmp_path), *sizes.split(), *files, f"--page={tmp_path / 'page.md'}"]
    monkeypatch.setattr(sys, "argv", command)
    script.main()
    results = json.loads((tmp_path / "out").read_text())
    assert [row["network"] for row in results["rows"]] == list(script.NETWORKS)
    assert all(row["updates"] == [2, 4] and len(row["validation"]) == 2 for row in results["rows"])
    page = (tmp_path / "page.md").read_text()
    assert all(f"| {name} | 0.00 M |" in page for name in script.NETWORKS)
    assert (tmp_path / "image.png").stat().st_size > 1000
    # Interrupted after four runs: only the missing one is made.
    (tmp_path / "out").write_text(json.dumps(results | {"rows": results["rows"][:4]}))
    capsys.readouterr()
    script.main()
    assert capsys.readouterr().out.count("update 4:") == 1
    monkeypatch.setattr(sys, "argv", [*command, "--updates", "6"])
    with pytest.raises(SystemExit, match="give another --out"):
        script.main()
