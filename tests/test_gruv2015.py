"""The pipeline of 2015: parity with figures that are written here, and edge cases."""

import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
import soundfile

import gruvlike as gl
from gruvlike import gruv2015
from gruvlike._step._loops import Loop
from gruvlike.generation import _programs

pytestmark = pytest.mark.backends

# Figures of the published program, on inputs given by formula (so that parity is guarded where the data that it wrote
# is not at hand). The last frame of `predict`, and of the 13 frames that 8 steps of generation from a seed of 6 return.
SPOT = {
    "lstm": {
        "random_state": 101,
        "layers": 1,
        "predict": """1.020921 0.809967 0.184197 0.324736 -0.92405 -0.467102 -0.157479 -0.878075 -0.717631 -0.724607
        0.664201 -0.89936""",
        "generated": """-0.567386 1.115394 -0.853353 0.092473 0.428095 0.214773 1.031125 -0.489873 -0.86109 -0.721241
        1.562451 -2.232236""",
    },
    "gru": {
        "random_state": 102,
        "layers": 2,
        "predict": """0.892694 0.364935 0.59239 -0.614848 -1.035015 1.926895 -2.232087 -0.838467 0.450547 -0.515153
        -0.829169 -0.107931""",
        "generated": """1.378856 0.562456 -0.350737 -0.191634 -0.087586 3.613874 -4.611117 -0.310836 0.071464 -0.36613
        -0.311171 -0.058546""",
    },
}
FEATURES, HIDDEN, STEPS = 12, 5, 6


def outputs(model, x):
    """The outputs of a model without a trace of it, which takes longer than the model itself."""
    return keras.ops.convert_to_numpy(model(x))


def figures(text):
    return np.array(text.split(), dtype=float)


def arrays_of(cell, layers, draw):
    """The arrays of a weights file, layer by layer, each made by `draw(shape)`."""
    recurrent = [(HIDDEN, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN,)] * {"lstm": 4, "gru": 3}[cell]
    shapes = [[(FEATURES, HIDDEN), (HIDDEN,)], *[recurrent] * layers, [(HIDDEN, FEATURES), (FEATURES,)]]
    return [[draw(shape).astype("float32") for shape in layer] for layer in shapes]


def write_weights(path, arrays):
    with h5py.File(path, "w") as file:
        file.attrs["nb_layers"] = len(arrays)
        for k, layer in enumerate(arrays):
            group = file.create_group(f"layer_{k}")
            group.attrs["nb_params"] = len(layer)
            for i, array in enumerate(layer):
                group[f"param_{i}"] = array
    return path


@pytest.fixture
def spot(tmp_path, request):
    """(model, x, mean, std, expected) of a spot case."""
    case = SPOT[request.param]
    r = np.random.RandomState(case["random_state"])  # the stream that the figures were made with
    arrays = arrays_of(request.param, case["layers"], lambda shape: r.uniform(-1, 1, shape))
    x = r.uniform(-2, 2, (1, STEPS, FEATURES)).astype("float32")
    mean, std = r.uniform(-1, 1, FEATURES), r.uniform(0.5, 2, FEATURES)
    return gruv2015.load_network(write_weights(tmp_path / "weights", arrays)), x, mean, std, case


both_cells = pytest.mark.parametrize("spot", ["lstm", "gru"], indirect=True)


@both_cells
def test_spot_predict(spot):
    model, x, _, _, case = spot
    np.testing.assert_allclose(model.predict(x, verbose=0)[0, -1], figures(case["predict"]), rtol=0, atol=1e-5)


@both_cells
@pytest.mark.parametrize("history", ["carry", "full"])
def test_spot_generate(spot, history):
    model, x, mean, std, case = spot
    frames = gruv2015.generate(model, x, 8, mean, std, history=history)
    assert frames.shape == (13, FEATURES)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames[-1], figures(case["generated"]), rtol=0, atol=1e-5)


@both_cells
def test_spot_seed_comes_back_as_predicted(spot):
    model, x, mean, std, _ = spot
    frames = gruv2015.generate(model, x[0], 3, mean, std)
    np.testing.assert_allclose(frames[:STEPS], outputs(model, x)[0] * std + mean, atol=1e-5)


@both_cells
def test_the_script_of_the_golden_data_gives_the_spot_figures(spot, tmp_path, golden_script):
    _, x, mean, std, case = spot
    weights = golden_script.read_weights(tmp_path / "weights")
    np.testing.assert_allclose(golden_script.predict(weights, x)[0, -1], figures(case["predict"]), rtol=0, atol=1e-6)
    frames = golden_script.generate(weights, x, 8) * std + mean
    assert frames.shape == (13, FEATURES)
    np.testing.assert_allclose(frames[-1], figures(case["generated"]), rtol=0, atol=2e-6)


def test_spot_frames(golden_script):
    t = np.arange(45) / 8000
    samples = (0.5 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.cos(2 * np.pi * 1000 * t)).astype("float32")
    frames = gruv2015.to_frames(samples, 10)
    expected = figures(
        """2.056102 0.972682 0.173022 0.312896 0.237748 0.306485 0.237748 0.312896 0.173022 0.972682
        0 -1.1497 -0.502927 -0.224381 -0.099819 0 0.099819 0.224381 0.502927 1.1497"""
    )
    np.testing.assert_allclose(golden_script.to_frames(samples, 10, time_domain=False)[-1], expected, rtol=0, atol=1e-6)
    assert frames.shape == (5, 20)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames[-1], expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(gruv2015.to_samples(frames)[:45], samples, atol=1e-6)


def test_to_samples_drops_what_is_not_real():
    frames = np.random.default_rng(0).normal(size=(3, 16)).astype("float32")  # the spectrum of no real sound
    expected = np.fft.ifft(frames[:, :8] + 1j * frames[:, 8:]).real.reshape(-1)
    np.testing.assert_allclose(gruv2015.to_samples(frames), expected, atol=1e-6)
    np.testing.assert_array_equal(gruv2015.to_samples(frames, time_domain=True), frames.reshape(-1))


@pytest.mark.parametrize("shape", [(5,), (1, 5, 8), (5, 7)])
def test_to_samples_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"`frames` must have shape \(T, F\)"):
        gruv2015.to_samples(np.zeros(shape))


# ------------------------------------------------------------------------------------------------------- network


def test_carrying_costs_one_step_a_frame(monkeypatch):
    """Counted in frames that go through the network: those of the seed and one a step, against the whole past again."""
    counted = []
    run, read, make = Loop.run, Loop.read, _programs.make_forward
    monkeypatch.setattr(Loop, "run", lambda loop, *args: counted.append(args[0]) or run(loop, *args))
    monkeypatch.setattr(
        Loop, "read", lambda loop, seeds, *rest: counted.append(len(seeds[0])) or read(loop, seeds, *rest)
    )

    def counting(*args):
        forward = make(*args)
        return lambda frames: counted.append(frames.shape[1]) or forward(frames)

    monkeypatch.setattr(_programs, "make_forward", counting)
    model = gruv2015.network(FEATURES, HIDDEN, random_seed=0)
    for history, least, most in (("carry", 1, STEPS + 20), ("full", sum(range(STEPS, STEPS + 20)), np.inf)):
        counted.clear()
        gruv2015.generate(
            model, np.ones((1, STEPS, FEATURES)), 20, np.zeros(FEATURES), np.ones(FEATURES), history=history
        )
        assert least <= sum(counted) <= most


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gates_are_those_of_2015(cell):
    """A step computed by hand with numpy; with a gate slope of 1/6, or another candidate, it would differ."""
    model = gruv2015.network(FEATURES, HIDDEN, cell, random_seed=1)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(-1, 1, w.shape) for w in model.get_weights()])
    x = rng.normal(size=(1, 4, FEATURES)).astype("float32")
    w_in, b_in, kernel, recurrent, bias, w_out, b_out = model.get_weights()

    def by_hand(slope, candidate):
        def gate(z):
            return np.clip(slope * z + 0.5, 0, 1)

        h = c = np.zeros(HIDDEN)
        for u in x[0] @ w_in + b_in:
            k, b = np.split(u @ kernel, kernel.shape[1] // HIDDEN), np.split(bias, kernel.shape[1] // HIDDEN)
            r = np.split(recurrent, len(k), axis=1)
            if cell == "lstm":
                i, f, g, o = (k[n] + h @ r[n] + b[n] for n in range(4))
                c = gate(f) * c + gate(i) * candidate(g)
                h = gate(o) * np.tanh(c)
            else:
                z, reset = (gate(k[n] + h @ r[n] + b[n]) for n in range(2))
                h = z * h + (1 - z) * candidate(k[2] + (reset * h) @ r[2] + b[2])
        return h @ w_out + b_out

    def logistic(z):
        return 1 / (1 + np.exp(-z))

    last = outputs(model, x)[0, -1]
    right, other = (np.tanh, logistic) if cell == "lstm" else (logistic, np.tanh)
    np.testing.assert_allclose(last, by_hand(0.2, right), atol=1e-5)
    assert np.abs(last - by_hand(1 / 6, right)).max() > 1e-3
    assert np.abs(last - by_hand(0.2, other)).max() > 1e-3


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_initial_weights(cell):
    hidden, gates = 32, {"lstm": 4, "gru": 3}[cell]
    model = gruv2015.network(8, hidden, cell, layers=2, random_seed=3)
    for layer in model.layers[1:-1]:
        kernel, recurrent, bias = layer.get_weights()
        limit = np.sqrt(6 / (2 * hidden))
        assert 0.95 * limit < np.abs(kernel).max() <= limit * 1.0001
        for gate in np.split(recurrent, gates, axis=1):
            np.testing.assert_allclose(np.linalg.svd(gate)[1], 1.1, rtol=1e-4)
        forget = np.split(bias, gates)[1] if cell == "lstm" else np.array([1.0])
        np.testing.assert_array_equal(forget, 1)
        assert bias.sum() == (hidden if cell == "lstm" else 0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[1], 0)


def test_random_seed_fixes_the_weights():
    first, again, other = (gruv2015.network(8, 4, random_seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        weights.append(gruv2015.network(8, 4).get_weights()[0])
    np.testing.assert_array_equal(*weights)


def test_optimizer_is_rmsprop_with_epsilon_inside_the_root():
    model = gruv2015.network(8, 4, random_seed=0)
    assert isinstance(model.optimizer, keras.optimizers.RMSprop)
    start = np.array([1.0, -2.0, 3.0], "float32")
    weight = keras.Variable(start)
    optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
    expected, outside, velocity = start, start, 0.0
    for gradient in np.array([[1e-4, 0.5, -1e-3], [2e-4, -0.1, 1e-3]]):  # tiny ones, so that epsilon counts
        optimizer.apply([keras.ops.convert_to_tensor(gradient.astype("float32"))], [weight])
        velocity = 0.9 * velocity + 0.1 * gradient**2
        expected = expected - 1e-3 * gradient / np.sqrt(velocity + 1e-6)
        outside = outside - 1e-3 * gradient / (np.sqrt(velocity) + 1e-6)
    trained = keras.ops.convert_to_numpy(weight + 0)
    np.testing.assert_allclose(trained, expected, rtol=0, atol=5e-7)
    assert np.abs(trained - outside).max() > 1e-4


def test_training_lowers_the_loss_and_weights_survive(tmp_path):
    x = np.random.default_rng(0).normal(size=(10, 6, 8)).astype("float32")
    y = np.roll(x, -1, axis=1)
    model = gruv2015.network(8, 16, "gru", random_seed=0)
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, batch_size=5, epochs=10, verbose=0)
    assert model.evaluate(x, y, verbose=0) < before
    untrained = gruv2015.network(8, 16, "gru", random_seed=0)
    np.testing.assert_allclose(before, np.mean((outputs(untrained, x) - y) ** 2), rtol=1e-4)
    gruv2015.save_weights(model, tmp_path / "weights")
    loaded = gruv2015.load_network(tmp_path / "weights")
    np.testing.assert_array_equal(outputs(loaded, x), outputs(model, x))


def test_a_network_saves_as_any_keras_model(tmp_path):
    model = gruv2015.network(8, 4, "gru", random_seed=0)
    model.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    x = np.ones((1, 3, 8), "float32")
    np.testing.assert_array_equal(outputs(loaded, x), outputs(model, x))
    gruv2015.save_weights(loaded, tmp_path / "weights")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": 0}, "`features` must be a positive integer"),
        ({"features": 8, "hidden": 2.5}, "`hidden` must be a positive integer"),
        ({"features": 8, "layers": -1}, "`layers` must be a positive integer"),
        ({"features": 8, "cell": "rnn"}, "`cell` must be one of 'lstm', 'gru'"),
        ({"features": 8, "random_seed": "a"}, "`random_seed` must be"),
    ],
)
def test_network_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        gruv2015.network(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": np.zeros((2, 3, 8))}, r"`seed` must have shape \(1, T, 8\)"),
        ({"seed": np.zeros((3, 7))}, r"`seed` must have shape"),
        ({"steps": 0}, "`steps` must be a positive integer"),
        ({"mean": np.zeros(4)}, r"`mean` and `std` must be finite, of shape \(8,\)"),
        ({"std": np.zeros(8)}, "`std` positive"),
        ({"history": 3}, "`history` must be one of 'carry', 'full'"),
    ],
)
def test_generate_refuses(change, message):
    arguments = {"seed": np.zeros((1, 3, 8)), "steps": 2, "mean": np.zeros(8), "std": np.ones(8)} | change
    with pytest.raises(ValueError, match=message):
        gruv2015.generate(gruv2015.network(8, 4), **arguments)


def test_generate_names_the_layer_that_cannot_carry():
    model = keras.Sequential([keras.Input((None, 8)), keras.layers.Conv1D(8, 2, padding="causal", name="past")])
    arguments = (np.ones((1, 3, 8)), 2, np.zeros(8), np.ones(8))
    with pytest.raises(ValueError, match=r"'past' \(Conv1D\)"):
        gruv2015.generate(model, *arguments)
    assert gruv2015.generate(model, *arguments, history="full").shape == (4, 8)


def dense_lstm_dense(**options):
    lstm = keras.layers.LSTM(4, return_sequences=True, **options)
    return keras.Sequential([keras.Input((None, 8)), keras.layers.Dense(4), lstm, keras.layers.Dense(8)])


@pytest.mark.parametrize(
    "layers",
    [
        lambda: dense_lstm_dense().layers,
        lambda: dense_lstm_dense(recurrent_activation=gruv2015.hard_sigmoid_2015, activation="relu").layers,
        lambda: [*gruv2015.network(8, 4, "gru").layers[:-1], keras.layers.Dense(8, "tanh")],
        lambda: [keras.layers.Dense(8)],
        lambda: gruv2015.network(8, 8).layers[1:],
    ],
    ids=["gates", "candidate", "output", "dense", "no input layer"],
)
def test_save_weights_refuses_what_a_file_of_2015_cannot_say(tmp_path, layers):
    model = keras.Sequential([keras.Input((None, 8)), *layers()])
    with pytest.raises(ValueError, match=r"Only a network of 2015 fits.*Received: \['"):
        gruv2015.save_weights(model, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
    gruv2015.save_weights(dense_lstm_dense(recurrent_activation=gruv2015.hard_sigmoid_2015), tmp_path / "weights")


# ------------------------------------------------------------------------------------------- a model of today


@pytest.fixture(params=["lstm", "gru", "time"])
def old(tmp_path, request):
    """(network, x, mean, std, time_domain): as 2015 would leave them behind."""
    time_domain = request.param == "time"
    soundfile.write(tmp_path / "a.wav", 0.3 * np.sin(np.arange(400) / 7) + 0.2 * np.sin(np.arange(400) / 3), 8000)
    x, _, mean, std = gruv2015.prepare(tmp_path / "a.wav", 16, 6, time_domain)
    model = gruv2015.network(x.shape[-1], 8, "gru" if request.param == "gru" else "lstm", random_seed=0)
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(-0.5, 0.5, w.shape) for w in model.get_weights()])
    return model, x, mean, std, time_domain


def test_an_old_model_makes_the_same_sound_through_generator(old, tmp_path):
    model, x, mean, std, time_domain = old
    steps = 15
    frames = gruv2015.generate(model, x[1:2], steps, mean, std)
    song_of_2015 = gruv2015.to_samples(frames[-steps:], time_domain) * 32767.0
    seed_of_2015 = gruv2015.to_samples(x[1] * std + mean, time_domain) * 32767.0

    today = gruv2015.to_audio_model(model, mean, std, 8000, time_domain)
    seed = (seed_of_2015 / 32768).astype("float32")
    song = gl.Generator(today).extend(seed, steps=steps)
    # Compared as PCM: 32767 was full scale in 2015, 32768 is today. 1e-4 of full scale are 3.3 steps of 16 bits.
    np.testing.assert_allclose(song * 32768.0, song_of_2015, rtol=0, atol=1)
    assert np.abs(song).max() > 0.01
    # The control: without the factor between the two, the sound would be another.
    encoder = gl.TimeBlocks(16) if time_domain else gl.BlockDFT(16)
    naive = gl.AudioModel(encoder, gl.Standardizer(mean=mean, std=std), model, sample_rate=8000)
    assert np.abs(gl.Generator(naive).extend(seed, steps=steps) - song).max() > 1e-6

    today.save(tmp_path / "old.keras")
    loaded = gl.load(tmp_path / "old.keras")
    assert (loaded.sample_rate, loaded.encoder.hop) == (8000, 16)
    np.testing.assert_array_equal(gl.Generator(loaded).extend(seed, steps=steps), song)


def test_an_old_model_goes_on_training():
    today = gruv2015.to_audio_model(gruv2015.network(16, 8), np.zeros(16), np.ones(16), 8000, time_domain=True)
    today.compile("adam")
    pcm = (30_000 * np.sin(np.arange(4 * 7 * 16) / 5)).astype("int16").reshape(4, -1)
    losses = today.fit(pcm, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_a_saved_model_opens_where_gruv2015_was_never_imported(tmp_path):
    old = gruv2015.to_audio_model(gruv2015.network(8, 4), np.zeros(8), np.ones(8), 8000)
    old.save(tmp_path / "old.keras")
    code = "import gruvlike as gl, sys; gl.load(sys.argv[1]); assert 'gruvlike.gruv2015' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, tmp_path / "old.keras"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": np.zeros(3)}, r"`mean` and `std` must be finite, of shape \(9,\)"),
        ({"std": np.full(9, np.nan)}, "must be finite"),
        ({"time_domain": False}, "Received: F=9"),
        ({"sample_rate": 0}, "`sample_rate` must be a positive integer"),
    ],
)
def test_to_audio_model_refuses(change, message):
    arguments = {"mean": np.zeros(9), "std": np.ones(9), "sample_rate": 8000, "time_domain": True} | change
    with pytest.raises(ValueError, match=message):
        gruv2015.to_audio_model(gruv2015.network(9, 4), **arguments)
