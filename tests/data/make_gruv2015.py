"""Makes `gruv2015/`: golden data of the program of 2015, from sounds and weights that are made here.

    python tests/data/make_gruv2015.py

The script is the published program written anew in plain numpy and float64, from a description of it. It imports
nothing of gruvlike and nothing of Keras, so a test that compares gruvlike with this data does not compare gruvlike
with itself. Two tests show that the script can be trusted:

- `tests/test_gruv2015.py` compares it with the figures of the published program that stand in that file.
- `tests/test_gruv2015_data.py` lets it compute, from the sounds and weights that the published program left behind,
  all arrays and songs that the program made of them: arrays agree to 2e-6 of their largest magnitude, and the songs
  are the same integers. That data is not part of the project; where it is absent, the test skips.

Three facts are in the description and in no published figure: a window that fits exactly is dropped, the padded block
can be a target, and samples beyond full scale wrap around. Each of the cases below has one of them.

A case is a folder:

- `wave/a.wav`: the sound, mono, 16 bits.
- `config.json`: sizes, cell, and the mean squared error of the network on the windows.
- `weights`: HDF5, as Keras saved weights in 2015.
- `expected.npz`: windows `x` and `y` of shape (windows, T, F), standardized with `mean` and `std` of shape (F,);
  `predict`, the network's answer to `x`; `mse`; `seed`, the second window; `generated`, the un-standardized 3T - 1
  frames that 2T steps from the seed return.
- `generated.wav`: the sound of `generated`.
"""

import json
import wave
from pathlib import Path

import h5py
import numpy as np

FOLDER = Path(__file__).parent / "gruv2015"
FULL_SCALE = 32767
LEAST_STD = 1e-8
SAMPLE_RATE = 8000
GATES = {"lstm": 4, "gru": 3}
COMMON = {"hidden": 16, "sample_rate": SAMPLE_RATE, "steps": 8}
CASES = {
    # 33 blocks, the last one of 11 samples: the last target of the fourth window is a padded block.
    "lstm2": COMMON
    | {"block_size": 25, "cell": "lstm", "layers": 2, "samples": 811, "random_seed": 1, "time_domain": False},
    # 32 blocks: the fourth window fits exactly, and is dropped.
    "gru1": COMMON
    | {"block_size": 24, "cell": "gru", "layers": 1, "samples": 768, "random_seed": 2, "time_domain": False},
    # The sound is loud, and the song goes beyond full scale.
    "time_lstm": COMMON
    | {"block_size": 40, "cell": "lstm", "layers": 1, "samples": 1500, "random_seed": 3, "time_domain": True},
}


# --- the program of 2015 ----------------------------------------------------------------------------------------------


def expected(config, pcm, weights):
    """All arrays of `expected.npz`, and the song as 16-bit integers, from a sound and the weights of a network."""
    # Samples of 32 bits and everything after them in 64 give the published mean and std to 15 digits.
    frames = to_frames(pcm.astype(np.float32) / FULL_SCALE, config["block_size"], config["time_domain"])
    x, y, mean, std = standardize(*to_windows(frames, config["steps"]))
    answer = predict(weights, x)
    seed = x[1:2]
    generated = generate(weights, seed, 2 * config["steps"]) * std + mean
    in_32_bits = {"x": x, "y": y, "predict": answer, "seed": seed, "generated": generated}
    arrays = {name: array.astype(np.float32) for name, array in in_32_bits.items()}
    arrays |= {"mean": mean, "std": std, "mse": np.mean((answer - y) ** 2)}
    return arrays, to_pcm(arrays["generated"], config["time_domain"])


def to_frames(samples, block_size, time_domain):
    """Blocks end to end, the last one padded with zeros; or the real, then the imaginary parts of their DFT."""
    padding = -len(samples) % block_size
    blocks = np.append(samples, np.zeros(padding)).reshape(-1, block_size)
    if time_domain:
        return blocks
    spectra = np.fft.fft(blocks)
    return np.hstack([spectra.real, spectra.imag])


def to_windows(frames, steps):
    """Windows end to end while one more frame follows, and their targets: the same frames moved on by one."""
    targets = np.vstack([frames[1:], np.zeros_like(frames[:1])])
    starts = [start for start in range(0, len(frames), steps) if start + steps < len(frames)]
    return [np.stack([array[start : start + steps] for start in starts]) for array in (frames, targets)]


def standardize(x, y):
    """Both with the mean and the standard deviation of x."""
    mean = x.mean(axis=(0, 1))
    std = np.sqrt(np.mean((x - mean) ** 2, axis=(0, 1)))
    std = np.where(std < LEAST_STD, LEAST_STD, std)
    return (x - mean) / std, (y - mean) / std, mean, std


def hard_sigmoid(z):
    return np.clip(0.2 * z + 0.5, 0, 1)


def logistic(z):
    return 1 / (1 + np.exp(-z))


def lstm(x, Wi, Ui, bi, Wc, Uc, bc, Wf, Uf, bf, Wo, Uo, bo):
    """States of shape (windows, T, H); the arrays are in the order of the file."""
    state = memory = np.zeros((len(x), len(Ui)))
    states = []
    for frame in x.swapaxes(0, 1):
        enter = hard_sigmoid(frame @ Wi + state @ Ui + bi)
        forget = hard_sigmoid(frame @ Wf + state @ Uf + bf)
        leave = hard_sigmoid(frame @ Wo + state @ Uo + bo)
        memory = forget * memory + enter * np.tanh(frame @ Wc + state @ Uc + bc)
        state = leave * np.tanh(memory)
        states.append(state)
    return np.stack(states, axis=1)


def gru(x, Wz, Uz, bz, Wr, Ur, br, Wh, Uh, bh):
    """States of shape (windows, T, H); the reset gate acts before the recurrent product."""
    state = np.zeros((len(x), len(Uz)))
    states = []
    for frame in x.swapaxes(0, 1):
        update = hard_sigmoid(frame @ Wz + state @ Uz + bz)
        reset = hard_sigmoid(frame @ Wr + state @ Ur + br)
        candidate = logistic(frame @ Wh + (reset * state) @ Uh + bh)
        state = update * state + (1 - update) * candidate
        states.append(state)
    return np.stack(states, axis=1)


def predict(weights, x):
    """The network: Dense, recurrent layers, Dense. `weights` is a list of arrays for each layer."""
    (W, b), *recurrent, (V, c) = [[array.astype(float) for array in layer] for layer in weights]
    x = x @ W + b
    for arrays in recurrent:
        x = (lstm if len(arrays) == 12 else gru)(x, *arrays)
    return x @ V + c


def generate(weights, seed, steps):
    """Standardized frames (T + steps - 1, F): the network reads the whole past again for each new frame."""
    song = predict(weights, seed)
    past = seed
    for _ in range(steps - 1):
        past = np.concatenate([past, song[:, -1:]], axis=1)
        song = np.concatenate([song, predict(weights, past)[:, -1:]], axis=1)
    return song[0]


def to_pcm(frames, time_domain):
    """Integers of 16 bits: rounded towards zero, and wrapped around beyond full scale."""
    if not time_domain:
        real, imaginary = np.split(frames.astype(float), 2, axis=1)
        frames = np.fft.ifft(real + 1j * imaginary).real
    return (frames.reshape(-1) * FULL_SCALE).astype(np.int64).astype(np.int16)


# --- files ------------------------------------------------------------------------------------------------------------


def read_pcm(path):
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            raise ValueError(f"A sound must be mono and 16 bits. Received: {path}.")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def write_pcm(path, pcm):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, len(pcm), "NONE", ""))
        file.writeframes(pcm.astype("<i2").tobytes())


def read_weights(path):
    with h5py.File(path, "r") as file:
        layers = [file[f"layer_{k}"] for k in range(file.attrs["nb_layers"])]
        return [[layer[f"param_{i}"][()] for i in range(layer.attrs["nb_params"])] for layer in layers]


def write_weights(path, weights):
    with h5py.File(path, "w") as file:
        file.attrs["nb_layers"] = len(weights)
        for k, arrays in enumerate(weights):
            layer = file.create_group(f"layer_{k}")
            layer.attrs["nb_params"] = len(arrays)
            for i, array in enumerate(arrays):
                layer[f"param_{i}"] = array


# --- a sound and a network --------------------------------------------------------------------------------------------


def synthesize(config, random):
    """Two tones that slide apart, and noise."""
    t = np.arange(config["samples"]) / SAMPLE_RATE
    tones = np.sin(2 * np.pi * (220 + 300 * t) * t) + 0.5 * np.sin(2 * np.pi * (610 - 400 * t) * t)
    loudness = 0.6 if config["time_domain"] else 0.3
    sound = loudness * tones + 0.05 * random.uniform(-1, 1, len(t))
    return np.rint(FULL_SCALE * np.clip(sound, -1, 1)).astype(np.int16)


def draw_weights(config, random):
    """Weights large enough that gates reach 0 and 1, and that a song does not come to rest."""
    hidden, features = config["hidden"], config["block_size"] * (1 if config["time_domain"] else 2)

    def draw(*shape):
        return random.uniform(-0.8, 0.8, shape).astype(np.float32)

    gate = [(hidden, hidden), (hidden, hidden), (hidden,)]
    recurrent = gate * GATES[config["cell"]]
    shapes = [[(features, hidden), (hidden,)], *[recurrent] * config["layers"], [(hidden, features), (features,)]]
    return [[draw(*shape) for shape in layer] for layer in shapes]


def main(folder=FOLDER):
    for name, config in CASES.items():
        random = np.random.RandomState(config["random_seed"])  # numpy never changes the numbers of this one
        pcm = synthesize(config, random)
        weights = draw_weights(config, random)
        arrays, song = expected(config, pcm, weights)
        (folder / name / "wave").mkdir(parents=True, exist_ok=True)
        write_pcm(folder / name / "wave" / "a.wav", pcm)
        write_weights(folder / name / "weights", weights)
        np.savez_compressed(folder / name / "expected.npz", **arrays)
        write_pcm(folder / name / "generated.wav", song)
        facts = config | {"features": arrays["x"].shape[2], "mse": float(arrays["mse"])}
        (folder / name / "config.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
