"""Generation: carried states equal the full history, on every stack; exact lengths; no seam between seed and song."""

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike._step import _loops

pytestmark = pytest.mark.backends

STACKS = {
    "lstm": {"units": (8,)},
    "deep lstm": {"units": (7, 6, 5)},
    "gru": {"cell": "gru", "units": (8, 5)},
    "projection": {"units": (8,), "projection": 5},
    "skip, norm": {"units": (6, 5), "skip": True, "layer_norm": True},
    "regularized": {
        "cell": "gru",
        "units": (6,),
        "input_dropout": 0.3,
        "dropout": 0.3,
        "input_noise": 0.5,
        "recurrent_dropout": 0.3,
    },
}


def shake(stack, rng):
    """Gives a stack weights large enough for its past to matter, small enough for rounding not to grow into chaos."""
    stack.set_weights([w + 0.2 * rng.standard_normal(w.shape) for w in stack.get_weights()])
    return stack


def make_generator(melody, rng, encoder=None, **options):
    encoder = encoder or gl.BlockDFT(block_size=16)
    normalizer = gl.Standardizer().fit(melody, encoder)
    options = {"units": (8,), **options}
    stack = shake(gl.recurrent_stack(encoder.features, random_seed=0, **options), rng)
    return gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=8000)


@pytest.fixture
def generator(melody, rng):
    return make_generator(melody, rng)


# --- the past


@pytest.mark.parametrize("options", STACKS.values(), ids=STACKS.keys())
def test_carrying_the_state_equals_feeding_the_full_history(melody, rng, options):
    generator = make_generator(melody, rng, **options)
    seed = melody[:400]
    carried = generator.extend(seed, steps=30)
    full = generator.extend(seed, steps=30, history="full")
    windowed = generator.extend(seed, steps=30, history=3)
    scale = np.abs(full).max()
    np.testing.assert_allclose(carried, full, atol=1e-4 * scale)
    assert np.abs(windowed - full).max() > 1e-2 * scale


def test_the_full_history_is_what_predict_over_the_growing_past_gives(generator, melody):
    seed = melody[:160]
    frames = np.asarray(generator.normalizer(generator.encoder.encode(seed, padded=False)))[None]
    for _ in range(6):
        frames = np.concatenate([frames, generator.stack.predict(frames, verbose=0)[:, -1:]], axis=1)
    expected = generator.encoder.decode(np.asarray(generator.normalizer.inverse(frames[0, 10:])))
    np.testing.assert_allclose(generator.extend(seed, steps=6, history="full"), expected, atol=1e-4)


def test_a_window_as_long_as_the_past_is_the_full_history(generator, melody):
    full = generator.extend(melody[:160], steps=6, history="full")
    np.testing.assert_allclose(generator.extend(melody[:160], steps=6, history=16), full, atol=1e-5)
    assert not np.allclose(generator.extend(melody[:160], steps=6, history=4), full, atol=1e-3)


def test_a_chunk_s_border_is_not_heard(generator, melody, monkeypatch):
    monkeypatch.setattr(_loops, "_CHUNK_BYTES", 0)  # chunks of 8 steps; the seed has 25
    chunked = generator.extend(melody[:400], steps=30)
    np.testing.assert_allclose(chunked, generator.extend(melody[:400], steps=30, history="full"), atol=1e-4)


def test_user_stacks_of_stock_layers_carry(melody, rng):
    """Sequential, nested, with residual additions, a SimpleRNN, stacked cells and a TimeDistributed layer."""
    layers = keras.layers
    encoder = gl.TimeBlocks(8)
    inner = keras.Sequential([keras.Input((None, 8)), layers.GRU(8, return_sequences=True)])
    inputs = keras.Input((None, 8))
    x = layers.Add()([inputs, inner(inputs)])
    x = x + layers.SimpleRNN(8, return_sequences=True)(x)
    x = layers.RNN([layers.LSTMCell(6), layers.GRUCell(5)], return_sequences=True)(x)
    stack = keras.Model(inputs, layers.TimeDistributed(layers.Dense(8))(x))
    generator = gl.Generator(shake(stack, rng), encoder=encoder, sample_rate=8000)
    carried = generator.extend(melody[:200], steps=20)
    np.testing.assert_allclose(carried, generator.extend(melody[:200], steps=20, history="full"), atol=1e-4)


def test_a_compiled_stack_and_training_between_songs(melody, rng):
    """The twin shares the weights: a song after more training is a song of the newer network."""
    generator = make_generator(melody, rng)
    generator.stack.compile("sgd", "mse")
    before = generator.extend(melody[:160], steps=6)
    shake(generator.stack, rng)
    after = generator.extend(melody[:160], steps=6)
    assert not np.allclose(before, after, atol=1e-3)
    np.testing.assert_allclose(after, generator.extend(melody[:160], steps=6, history="full"), atol=1e-4)


# --- shapes and lengths


@pytest.mark.parametrize(("length", "size"), [({"steps": 7}, 112), ({"seconds": 0.01}, 80), ({"seconds": 0.0123}, 98)])
def test_a_song_has_the_length_that_was_asked_for(generator, melody, length, size):
    song = generator.extend(melody[:333], **length)
    assert song.shape == (size,)
    assert song.dtype == np.float32
    with_seed = generator.extend(melody[:333], include_seed=True, **length)
    np.testing.assert_array_equal(with_seed[:333], melody[:333])
    np.testing.assert_array_equal(with_seed[333:], song)


def test_leading_samples_that_fill_no_frame_are_dropped(generator, melody):
    np.testing.assert_array_equal(
        generator.extend(melody[5:325], steps=4), generator.extend(melody[:325], steps=4)
    )  # 320 samples are 20 frames


@pytest.mark.parametrize("name", ["BlockDFT", "MDCT", "STFT"])
def test_a_stream_is_the_song_in_pieces(melody, rng, name):
    encoder = {"BlockDFT": lambda: gl.BlockDFT(16), "MDCT": lambda: gl.MDCT(16), "STFT": lambda: gl.STFT(32, 12)}[
        name
    ]()
    generator = make_generator(melody, rng, encoder=encoder)
    for include_seed in (False, True):
        pieces = list(generator.stream(melody[:500], seconds=0.7, include_seed=include_seed))
        assert len(pieces) > 1
        song = generator.extend(melody[:500], seconds=0.7, include_seed=include_seed)
        assert len(song) == 5600 + 500 * include_seed
        np.testing.assert_allclose(np.concatenate(pieces), song, atol=1e-6)


def test_a_stream_without_a_length_goes_on(generator, melody):
    stream = generator.stream(melody[:160])
    heard = 0
    while heard < 10_000:
        heard += len(next(stream))
    assert np.isfinite(next(stream)).all()


@pytest.mark.parametrize("encoder", [lambda: gl.MDCT(16), lambda: gl.STFT(32, 8), lambda: gl.STFT(30, 8)])
def test_a_lapped_seed_and_song_are_joined_by_the_lap(melody, rng, encoder):
    """A network that predicts the true next frame continues the true sound without a seam."""
    encoder = encoder()
    period = 40 * encoder.hop
    t = np.arange(8 * period) / period
    sound = (0.5 * np.sin(2 * np.pi * 3 * t) + 0.2 * np.sin(2 * np.pi * 17 * t)).astype("float32")
    generator = make_generator(melody, rng, encoder=encoder)
    truth = np.asarray(generator.normalizer(encoder.encode(sound[4 * period - encoder.lap :], padded=False)))

    class Oracle:
        chunk, at = 7, 0

        def take(self, steps):
            self.at += steps
            return truth[None, self.at - steps : self.at]

    generator._network.go_on = lambda *_: ([Oracle()], [0])
    song = generator.extend(sound[: 4 * period], steps=60, include_seed=True)
    np.testing.assert_allclose(song, sound[: len(song)], atol=1e-4)
    pieces = list(generator.stream(sound[: 4 * period], steps=60, include_seed=True))
    np.testing.assert_allclose(np.concatenate(pieces), sound[: len(song)], atol=1e-4)


# --- seeds


def test_each_song_is_brought_to_the_loudness_of_its_seed(generator, melody):
    def loudness(samples):
        return gl.audio.loudness(samples, generator.sample_rate)

    seeds, fade = [0.3 * melody[:2000], 0.01 * melody[:2000]], round(0.01 * generator.sample_rate)
    plain = generator.extend(seeds, seconds=1)
    songs = generator.extend(seeds, seconds=1, match_level=True)
    for seed, before, song in zip(seeds, plain, songs, strict=True):
        gain = np.divide(song, before, where=np.abs(before) > 1e-3, out=np.full_like(song, np.nan))
        assert np.nanstd(gain[fade:]) < 1e-4 * np.nanmean(gain[fade:])
        assert song[0] == before[0]  # it joins its seed
        assert abs(loudness(before) - loudness(seed)) > 1  # the control
        full = np.abs(song).max() > 0.99
        wanted = loudness(seed) + loudness(before[fade:]) - loudness(before)  # the beginning keeps its level
        assert full or loudness(song[fade:]) == pytest.approx(wanted, abs=0.2)
    whole = generator.extend(seeds[0], seconds=1, match_level=True, include_seed=True)
    np.testing.assert_allclose(whole[-len(songs[0]) :], songs[0], atol=1e-6)
    np.testing.assert_array_equal(whole[:1000], seeds[0][:1000])


def test_a_memory_has_no_level_to_match(generator, melody):
    with pytest.raises(ValueError, match="`match_level` needs the seed"):
        generator.extend(generator.listen(melody[:400]), steps=3, match_level=True)


def test_a_seed_can_be_a_file_at_another_rate(generator, melody, tmp_path):
    gl.audio.write(tmp_path / "seed.wav", np.repeat(melody[:2000], 2), 16_000)
    assert np.isfinite(generator.extend(tmp_path / "seed.wav", steps=3)).all()
    assert generator.extend(str(tmp_path / "seed.wav"), steps=3, include_seed=True).shape == (2000 + 48,)


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (np.zeros(15, "float32"), "at least 1 frame, 16 samples .*Received: 15 samples"),
        (np.zeros((2, 400), "float32"), r"mono samples of shape \(S,\).*shape=\(2, 400\)"),
        (np.zeros(0, "float32"), "mono samples"),
        (np.full(400, np.nan, "float32"), "must be finite. Received: 400"),
        (np.array(["a"] * 400), "float samples"),
    ],
)
def test_a_seed_that_is_none_is_refused(generator, seed, message):
    with pytest.raises(ValueError, match=message):
        generator.extend(seed, steps=3)


def test_a_seed_file_that_is_missing_is_an_error(generator, tmp_path):
    with pytest.raises(FileNotFoundError):
        generator.extend(tmp_path / "none.wav", steps=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs the length of the song"),
        ({"seconds": 1, "steps": 2}, "not both"),
        ({"steps": 0}, "`steps` must be a positive integer"),
        ({"steps": -3}, "Received: steps=-3"),
        ({"seconds": 0}, "`seconds`"),
        ({"seconds": float("inf")}, "`seconds`"),
        ({"steps": 2, "history": "none"}, "`history` must be one of 'carry', 'full'"),
        ({"steps": 2, "history": 0}, "`history` must be a positive integer"),
        ({"steps": 2, "clips": 0}, "`clips` must be a positive integer"),
    ],
)
def test_arguments_out_of_range_state_the_rule(generator, melody, options, message):
    with pytest.raises(ValueError, match=message):
        generator.extend(melody[:320], **options)


# --- networks


def convolution(padding):
    return keras.Sequential([keras.Input((None, 8)), keras.layers.Conv1D(8, 3, padding=padding, name="conv")])


def test_a_layer_whose_state_cannot_be_carried_is_named(melody):
    generator = gl.Generator(convolution("causal"), encoder=gl.TimeBlocks(8), sample_rate=8000)
    with pytest.raises(ValueError, match=r"layer 'conv' \(Conv1D\).*history=\"full\".*history=k"):
        generator.extend(melody[:80], steps=2)
    full = generator.extend(melody[:80], steps=4, history="full")
    np.testing.assert_allclose(generator.extend(melody[:80], steps=4, history=3), full, atol=1e-5)


def test_a_layer_that_sees_the_future_is_refused(melody):
    generator = gl.Generator(convolution("same"), encoder=gl.TimeBlocks(8), sample_rate=8000)
    with pytest.raises(ValueError, match="must read only the past"):
        generator.extend(melody[:80], steps=2, history="full")
    recurrent = keras.layers.LSTM(4, return_sequences=True)
    both = keras.Sequential([keras.Input((None, 8)), keras.layers.Bidirectional(recurrent)])
    with pytest.raises(ValueError, match=r"Bidirectional.*reads backwards"):
        gl.Generator(both, encoder=gl.TimeBlocks(8), sample_rate=8000)


def test_attention_and_subclassed_models_do_not_carry(melody):
    inputs = keras.Input((None, 8))
    attended = keras.layers.MultiHeadAttention(2, 4, name="attention")(inputs, inputs, use_causal_mask=True)
    generator = gl.Generator(keras.Model(inputs, attended), encoder=gl.TimeBlocks(8), sample_rate=8000)
    with pytest.raises(ValueError, match="'attention'"):
        generator.extend(melody[:80], steps=2)
    assert np.isfinite(generator.extend(melody[:80], steps=3, history="full")).all()

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.recurrent = keras.layers.LSTM(8, return_sequences=True)

        def call(self, frames):
            return self.recurrent(frames)

    generator = gl.Generator(Own(), encoder=gl.TimeBlocks(8), sample_rate=8000)
    with pytest.raises(ValueError, match="subclassed"):
        generator.extend(melody[:80], steps=2)
    assert np.isfinite(generator.extend(melody[:80], steps=3, history=4)).all()


def test_a_network_that_diverged_is_named(generator, melody):
    generator.stack.set_weights([np.full_like(w, np.nan) for w in generator.stack.get_weights()])
    with pytest.raises(
        ValueError, match=r"NaN or infinity within frames 0 to 5 of the song. Its training has diverged"
    ):
        generator.extend(melody[:320], steps=5)


def test_the_parts_must_be_complete_and_fit(melody, generator):
    stack = gl.recurrent_stack(8, units=(4,))
    with pytest.raises(ValueError, match="no encoder and no sample_rate"):
        gl.Generator(stack)
    with pytest.raises(ValueError, match=r"must give the 16 numbers .*Received: .*8"):
        gl.Generator(stack, encoder=gl.BlockDFT(8), sample_rate=8000)
    with pytest.raises(TypeError, match="Received: int"):
        gl.Generator(3)
    model = gl.AudioModel(generator.encoder, generator.normalizer, generator.stack, sample_rate=8000)
    with pytest.raises(ValueError, match=r"brings its own.*Received: encoder"):
        gl.Generator(model, encoder=generator.encoder)


def test_a_model_its_file_and_its_parts_make_the_same_song(generator, melody, tmp_path):
    model = gl.AudioModel(generator.encoder, generator.normalizer, generator.stack, sample_rate=8000)
    model.save(tmp_path / "run.keras")
    song = generator.extend(melody[:320], steps=5)
    for source in (model, tmp_path / "run.keras", str(tmp_path / "run.keras"), gl.load(tmp_path / "run.keras")):
        np.testing.assert_array_equal(gl.Generator(source).extend(melody[:320], steps=5), song)
