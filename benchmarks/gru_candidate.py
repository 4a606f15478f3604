"""Is the LSTM better than the GRU, or was the GRU of 2015 better than its candidate activation?

The paper's GRU had a logistic candidate (the default of its framework), so its state could never be negative. Here five
networks with the same sizes get the same windows, the same optimizer and the same number of updates:

    python benchmarks/gru_candidate.py MUSIC_FOLDER

Each finished run is a row in a JSON file, so the script can be interrupted and started again; then it writes the table
into docs/gruv2015.md and the curves into docs/images/gru_candidate.png.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from _page import machine, table, write_block
from matplotlib.figure import Figure

import gruvlike as gl
from gruvlike._files import replacing

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ("LSTM of 2015", "GRU of 2015", "GRU of 2015, tanh candidate", "LSTM of today", "GRU of today")


def build(name: str, features: int, hidden: int, random_seed: int) -> keras.Model:
    """The network of that name: Dense, one recurrent layer of `hidden` units, Dense."""
    cell = "lstm" if "LSTM" in name else "gru"
    if "today" in name:
        return gl.recurrent_stack(features, cell=cell, units=(hidden,), projection=hidden, random_seed=random_seed)
    network = gl.gruv2015.network(features, hidden, cell, random_seed=random_seed)
    return with_tanh_candidate(network) if "tanh" in name else network


def with_tanh_candidate(network: keras.Model) -> keras.Model:
    """The same network from the same initial weights, with tanh in place of the logistic candidate."""

    def change(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        return type(layer).from_config(
            config | {"activation": "tanh"} if isinstance(layer, keras.layers.GRU) else config
        )

    changed = keras.models.clone_model(network, clone_function=change)
    changed.set_weights(network.get_weights())
    return changed


def optimizer() -> keras.optimizers.Optimizer:
    """A fresh RMSprop with the constants of 2015."""
    used_in_2015 = gl.gruv2015.network(features=2, hidden=1).optimizer
    return keras.optimizers.RMSprop.from_config(used_in_2015.get_config())


def full_batches(windows: gl.Windows, batch_size: int) -> Iterator[np.ndarray]:
    """PCM windows for ever, epoch after epoch, without the short batch at the end of each."""
    while True:
        for index in range(len(windows)):
            batch = windows[index][0]["pcm"]
            if len(batch) == batch_size:
                yield batch
        windows.on_epoch_end()


def run(name: str, random_seed: int, data: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Trains one network; returns its row: losses after every `every` updates."""
    stack = build(name, data["encoder"].features, settings["hidden"], random_seed)
    model = gl.AudioModel(data["encoder"], data["normalizer"], stack, sample_rate=settings["sample_rate"])
    model.compile(optimizer())
    windows = data["train"].windows(
        data["encoder"], steps=settings["steps"], batch_size=settings["batch_size"], random_seed=random_seed
    )
    batches = full_batches(windows, settings["batch_size"])
    row = {"network": name, "random_seed": random_seed, "parameters": stack.count_params(), "updates": [], "train": []}
    row |= {"validation": [], "relative": []}
    seconds = 0.0
    for update in range(1, settings["updates"] + 1):
        start = time.perf_counter()
        logs = model.train_on_batch(next(batches), return_dict=True)
        seconds += time.perf_counter() - start if update > 2 else 0  # the first two compile
        if update % settings["every"] == 0:
            judged = model.evaluate(data["validation"], batch_size=settings["batch_size"], return_dict=True, verbose=0)
            losses = {"train": logs["loss"], "validation": judged["loss"], "relative": judged["relative_loss"]}
            row["updates"].append(update)
            for key, value in losses.items():
                row[key].append(round(float(value), 5))
            print(f"{name}, seed {random_seed}, update {update}: {row['train'][-1]:.4f}, {row['validation'][-1]:.4f}")
            model.reset_metrics()  # so that the training loss is that of the next `every` updates
    return row | {"seconds_per_update": round(seconds / max(1, settings["updates"] - 2), 4)}


def prepare(music: Path, corpus_file: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The parts that all runs share: encoder, fitted normalizer, training tracks, validation windows (B, S)."""
    corpus_file.parent.mkdir(parents=True, exist_ok=True)
    corpus = gl.Corpus.build(music, corpus_file, sample_rate=settings["sample_rate"])
    train, validation = corpus.split(validation=0.15)
    encoder = gl.BlockDFT(settings["block_size"])
    normalizer = gl.Standardizer().fit(train, encoder)
    windows = validation.windows(
        encoder, steps=settings["steps"], batch_size=settings["batch_size"], shuffle=False, offset=0
    )
    fixed = np.concatenate([windows[index][0]["pcm"] for index in range(len(windows))])
    whole = len(fixed) - len(fixed) % settings["batch_size"] or len(fixed)
    return {"encoder": encoder, "normalizer": normalizer, "train": train, "validation": fixed[:whole]}


def figures(results: dict[str, Any]) -> str:
    """Settings and figures in Markdown, mean and standard deviation over the random seeds."""
    settings, lines = results["settings"], []
    for name in NETWORKS:
        rows = [row for row in results["rows"] if row["network"] == name]
        if rows:
            losses = [spread([row[key][-1] for row in rows]) for key in ("train", "validation", "relative")]
            losses.insert(1, spread([compared(results, row)[-1] for row in rows]))
            cost = 1000 * np.mean([row["seconds_per_update"] for row in rows])
            lines.append([name, f"{rows[0]['parameters'] / 1e6:.2f} M", *losses, f"{cost:.0f}", len(rows)])
    header = [
        "network",
        "parameters",
        "training loss",
        "of the five's mean",
        "validation loss",
        "of predicting the mean",
        "ms per update",
        "runs",
    ]
    return (
        f"{settings['updates']} updates of {settings['batch_size']} windows each, {settings['seconds']} s of music in "
        f"the corpus, {settings['sample_rate']} Hz, N = {settings['block_size']}, T = {settings['steps']}, "
        f"H = {settings['hidden']}. Training loss: mean over the last {settings['every']} updates. "
        f"{results['machine']}.\n\n{table(header, lines)}"
    )


def compared(results: dict[str, Any], row: dict[str, Any]) -> np.ndarray:
    """Training losses over the mean of all networks at the same windows: some windows are far louder than others."""
    same = [other["train"] for other in results["rows"] if other["random_seed"] == row["random_seed"]]
    return np.array(row["train"]) / np.mean(same, axis=0)


def spread(values: list[float]) -> str:
    """Mean ± standard deviation (of a sample) of the values."""
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.4f}"


def draw(results: dict[str, Any], path: Path) -> None:
    """Curves of the mean losses, with the range over the random seeds as a band."""
    figure = Figure(figsize=(9, 3.8), layout="constrained", dpi=90)
    curves_of = {
        "training loss, of the five's mean": lambda row: compared(results, row),
        "validation loss, of predicting the mean": lambda row: row["relative"],
    }
    for ax, (title, curve) in zip(figure.subplots(1, 2), curves_of.items(), strict=True):
        for index, name in enumerate(NETWORKS):
            rows = [row for row in results["rows"] if row["network"] == name]
            if rows:
                curves = np.array([curve(row) for row in rows])
                ax.plot(rows[0]["updates"], curves.mean(axis=0), color=f"C{index}", label=name)
                ax.fill_between(
                    rows[0]["updates"], curves.min(axis=0), curves.max(axis=0), color=f"C{index}", alpha=0.2
                )
        ax.set(xlabel="updates", title=title)
        ax.grid(alpha=0.25)
    figure.axes[1].legend(frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music", type=Path, help="folder of music")
    parser.add_argument("--updates", type=int, default=500, help="gradient steps of each run")
    parser.add_argument("--every", type=int, default=100, help="updates between two validations")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each network, with random seeds 0, 1, ...")
    parser.add_argument("--batch-size", type=int, default=5, help="windows of an update; 5 in 2015")
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--block-size", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--sample-rate", type=int, default=16_000)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "gru_candidate.json")
    parser.add_argument(
        "--corpus", type=Path, default=ROOT / "runs" / "gru_candidate.h5", help="built here, and reused"
    )
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "gruv2015.md")
    parser.add_argument("--image", type=Path, default=ROOT / "docs" / "images" / "gru_candidate.png")
    return parser.parse_args()


def main() -> None:
    """Runs the missing trainings, then writes table and curves."""
    args = arguments()
    names = ("updates", "every", "batch_size", "hidden", "block_size", "steps", "sample_rate")
    settings = {name: getattr(args, name) for name in names}
    data = prepare(args.music, args.corpus, settings)
    settings["seconds"] = round(gl.Corpus(args.corpus).seconds)
    results = (
        json.loads(args.out.read_text())
        if args.out.exists()
        else {"settings": settings, "machine": machine(), "rows": []}
    )
    if results["settings"] != settings:
        raise SystemExit(f"{args.out} was made with {results['settings']}, not {settings}: give another --out.")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["network"], row["random_seed"]) for row in results["rows"]}
    for random_seed in range(args.seeds):
        for name in NETWORKS:
            if (name, random_seed) not in done:
                results["rows"].append(run(name, random_seed, data, settings))
                with replacing(args.out) as temporary:
                    temporary.write_text(json.dumps(results, indent=1))
                keras.utils.clear_session()
    write_block(args.page, "gru_candidate", figures(results))
    draw(results, args.image)
    print(figures(results))


if __name__ == "__main__":
    main()
