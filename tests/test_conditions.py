"""The clock, lags and the anchor: the right numbers for windows of training and for frames of a song."""

import keras
import numpy as np
import pytest
from _parts import shaken
from keras import ops

import gruvlike as gl
from gruvlike.conditions import Meter, Schedule, Supply, conditions_of
from gruvlike.conditions._frames import Frames, known, numbers_at, reach
from gruvlike.rhythm import Beat

pytestmark = pytest.mark.backends

RATE, HOP = 8000, 40  # 200 frames a second
BEAT = Beat(beat_seconds=0.05, phase_seconds=0.0123, confidence=1.0)  # 10 frames


class Track:
    """A track of the user's own, in memory, whose beat is known."""

    name, sample_rate, beat = "mine", RATE, BEAT

    def __init__(self, pcm):
        self.pcm = pcm

    def __len__(self):
        return len(self.pcm)


class Music(list):
    sample_rate, high_pass_hz = RATE, None


@pytest.fixture
def music(rng):
    return Music([Track((8000 * rng.standard_normal(n)).astype("int16")) for n in (9000, 7001)])


@pytest.fixture
def encoder():
    return gl.MDCT(HOP)


def make_model(music, encoder, head=None, **options):
    normalizer = gl.Standardizer().fit(music, encoder)
    head = head or gl.heads.Mixture(components=2)
    options = {"clock": gl.Clock(), "lags": gl.Lags(beats=(1, 2.5)), "anchor": gl.Anchor(beats=4, bars=2), **options}
    stack = gl.recurrent_stack(normalizer.width, cell="gru", units=(12,), head=head, random_seed=0, **options)
    model = gl.AudioModel(encoder, normalizer, stack, sample_rate=RATE, head=head)
    model.compile("adam")
    return model


def windows_of(music, encoder, **options):
    return gl.Windows(music, span=encoder.span(9), hop=8 * HOP, batch_size=4, **options)


# --- the numbers themselves


def test_the_clock_turns_once_a_bar_and_once_a_beat():
    clock = gl.Clock(harmonics=(0.25, 1))
    beats = clock.at(np.arange(0, 41, 10), Meter(period=10.0, first=1.0))
    np.testing.assert_allclose(beats[:, 0], [1, 2, 3, 0, 1], atol=1e-6)
    read = ops.convert_to_numpy(clock(ops.convert_to_tensor(beats[None])))[0]
    angles = 2 * np.pi * np.array([1, 2, 3, 0, 1])
    np.testing.assert_allclose(read[:, 0], np.sin(angles / 4), atol=1e-5)
    np.testing.assert_allclose(read[:, 3], np.cos(angles), atol=1e-5)


def test_without_a_beat_the_clock_is_silent_and_lags_count_half_seconds():
    meter = Meter.of(None, frame_rate=200.0, seconds=1.0)
    clock, lags = gl.Clock(), gl.Lags(beats=(1, 4))
    read = ops.convert_to_numpy(clock(ops.convert_to_tensor(clock.at(np.arange(3), meter)[None])))
    np.testing.assert_array_equal(read, 0)
    assert lags.sources(np.array([0]), meter).tolist() == [[-100, -400]]


def test_a_lag_counts_from_the_frame_to_come():
    assert gl.Lags(frames=(1, 5)).sources(np.array([7]), Meter(10.0, 0.0)).tolist() == [[6, 2]]


def test_the_anchor_reads_only_the_end_of_the_seed_in_step_with_the_beat():
    anchor, meter = gl.Anchor(beats=4), Meter(period=10.3, first=0.0)
    to_come = np.arange(1000)
    sources = anchor.sources(to_come, meter)[:, 0]
    assert sources.max() == -1
    assert sources.min() >= -anchor.reach(meter)
    distance = (to_come - sources) / (4 * meter.period)
    np.testing.assert_allclose(distance, np.round(distance), atol=1.01 / (4 * meter.period))


def test_frames_of_a_song_are_kept_in_constant_memory():
    frames = Frames(np.arange(-5, 0)[:, None].astype("float32"))
    for start in range(0, 1000, 4):
        frames.append(np.arange(start, start + 4)[:, None])
        assert frames.at(np.array([start + 3, start - 1, -1, -5])).ravel().tolist() == [start + 3, start - 1, -1, -5]
    assert len(frames._song) == 5


def test_only_frames_that_there_are_can_be_read():
    meter, lags = Meter(period=10.0, first=0.0), gl.Lags(beats=(1, 2))
    assert known([lags, gl.Clock()], meter, done=30, steps=256) == 10
    assert known([gl.Clock()], meter, done=30, steps=256) == 256
    assert reach([lags, gl.Anchor(beats=4)], meter) == 41


# --- windows of training


@pytest.mark.parametrize("stateful", [False, True])
def test_windows_hold_the_numbers_of_their_place(music, encoder, stateful):
    conditions = (gl.Clock(), gl.Lags(beats=(1, 2.5)), gl.Anchor(beats=4, bars=2))
    windows = windows_of(music, encoder, stateful=stateful)
    windows.supply = Supply(conditions, encoder)
    for index in range(len(windows)):
        (batch,) = windows[index]
        for row in range(len(batch["pcm"])):
            track, start = windows.position(index, row)
            middles = (start + np.arange(1, 9) * HOP + HOP) / RATE  # a frame covers two hops
            beats = (middles - BEAT.phase_seconds) / BEAT.beat_seconds
            np.testing.assert_allclose(batch["conditions"]["clock"][row, :, 0], beats % 4, atol=1e-4)
            silence = np.zeros(1000, "int16")
            padded = np.concatenate([silence, track.pcm])
            for lag, pcm in zip((10, 25), batch["conditions"]["lags"][row], strict=True):
                first = 1000 + start + (1 - lag) * HOP
                np.testing.assert_array_equal(pcm, padded[first : first + encoder.span(8)])
            (anchored,) = batch["conditions"]["anchor"][row]
            found = [m for m in (1, 2) if np.array_equal(
                anchored, (np.concatenate([np.zeros(4000, "int16"), track.pcm]))[
                    4000 + start + (1 - 40 * m) * HOP :][: encoder.span(8)])]  # fmt: skip
            assert found


def test_the_same_batch_holds_the_same_numbers_whatever_was_read_before(music, encoder):
    def read(order):
        windows = windows_of(music, encoder, random_seed=3)
        windows.supply = Supply((gl.Anchor(beats=4),), encoder)
        return {index: windows[index][0]["conditions"]["anchor"] for index in order}

    forward, backward = read(range(5)), read(reversed(range(5)))
    for index in forward:
        np.testing.assert_array_equal(forward[index], backward[index])


def test_shards_and_a_later_start_hold_the_same_numbers(music, encoder):
    windows = windows_of(music, encoder, random_seed=3)
    windows.supply = Supply((gl.Anchor(beats=4),), encoder)
    expected = windows[3][0]["conditions"]["anchor"]
    windows.go_to(0, first_batch=3)
    np.testing.assert_array_equal(windows[0][0]["conditions"]["anchor"], expected)


def test_music_without_a_beat_is_refused_where_one_is_needed(music, encoder):
    music[0].beat = None
    with pytest.raises(ValueError, match=r"needs music whose beat was found.*add_beats"):
        make_model(music, encoder).fit(windows_of(music, encoder, shuffle=False, offset=0), verbose=0)


def test_arrays_are_refused_by_a_model_that_reads_its_past(music, encoder):
    with pytest.raises(ValueError, match="needs windows of a corpus"):
        make_model(music, encoder).fit(np.zeros((4, encoder.span(9)), "int16"), verbose=0)


# --- the model


def test_lagged_frames_of_training_are_frames_of_the_track(music, encoder):
    model = make_model(music, encoder, anchor=None)
    windows = windows_of(music, encoder, shuffle=False, offset=0)
    windows.supply = Supply((gl.Clock(), gl.Lags(beats=(1, 2.5))), encoder)
    index, row = 2, 1
    reading, _ = model.read(windows[index][0])
    track, start = windows.position(index, row)
    frames = np.asarray(model.normalizer(encoder.encode(track.pcm[start % HOP :], padded=False)))
    first = start // HOP
    lagged = ops.convert_to_numpy(reading.given["lags_input"])[row].reshape(8, 2, -1)
    for number, lag in enumerate((10, 25)):
        np.testing.assert_allclose(lagged[:, number], frames[first + 1 - lag : first + 9 - lag], atol=1e-4)


def test_a_conditioned_model_learns_and_is_saved(music, encoder, tmp_path):
    model = make_model(music, encoder, input_noise=0.3)
    windows = windows_of(music, encoder)
    model.fit(windows, validation_data=windows_of(music, encoder, shuffle=False, offset=0), epochs=2, verbose=0)
    model.save(tmp_path / "run.keras")
    copy = gl.load(tmp_path / "run.keras")
    assert [c.get_config() for c in conditions_of(copy.stack)] == [c.get_config() for c in conditions_of(model.stack)]
    held_out = windows_of(music, encoder, shuffle=False, offset=0)
    results = [one.evaluate(held_out, verbose=0, return_dict=True)["loss"] for one in (model, copy)]
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_every_way_to_ask_a_model_gives_windows_their_numbers(music, encoder):
    model = make_model(music, encoder)
    fresh = [windows_of(music, encoder, shuffle=False, offset=0) for _ in range(3)]  # no `fit` has seen them
    outputs, target = model.predict(fresh[0], verbose=0)
    assert outputs.shape[:2] == target.shape[:2] == (fresh[0].count, 8)
    assert np.isfinite(model.evaluate(fresh[1], verbose=0)).all()
    with pytest.raises(ValueError, match=r"reads 'clock' besides the frames.*`fit`, `evaluate` or `predict`"):
        model.frame_losses(fresh[2][0][0])
    model.evaluate(fresh[2], verbose=0)
    assert model.frame_losses(fresh[2][0][0]).shape == (4, 8)


def test_noise_that_is_told_must_be_there(encoder):
    with pytest.raises(ValueError, match=r"`told_noise` is the level of the input noise.*input_noise=0.0"):
        gl.recurrent_stack(8, units=(4,), told_noise=0.2)


def test_noise_and_first_guess_follow_the_spread_of_the_music(music, encoder):
    class Doubled(gl.Standardizer):
        @property
        def spread(self):
            return np.full(self.width, 2.0, "float32")

    normalizer = Doubled().fit(music, encoder)
    head = gl.heads.Mixture(2)
    stack = gl.recurrent_stack(normalizer.width, units=(4,), head=head, input_noise=0.5, random_seed=0)
    gl.AudioModel(encoder, normalizer, stack, sample_rate=RATE, head=head)
    zeros = ops.zeros((64, 32, normalizer.width))
    noise = ops.convert_to_numpy(stack.get_layer("input_noise")(zeros, training=True))
    assert noise.std() == pytest.approx(1.0, rel=0.02)
    _, log_deviations, _ = head.parts(stack.get_layer("residual").first)
    np.testing.assert_allclose(np.exp(ops.convert_to_numpy(log_deviations)), 1.2, rtol=1e-4)


def test_a_network_that_is_told_the_level_of_its_noise(music, encoder):
    model = make_model(music, encoder, input_noise=0.6, told_noise=0.15)
    layer, width = model.stack.get_layer("input_noise"), model.width
    assert layer.shares == (1, 1, 1, pytest.approx(1 / 3))  # frame, two lags, anchor
    zeros = ops.zeros((200, 50, 4 * width))
    quiet, noisy = (ops.convert_to_numpy(layer(zeros, training=training)) for training in (False, True))
    np.testing.assert_allclose(quiet[..., -1], 0.15)
    np.testing.assert_array_equal(quiet[..., :-1], 0)
    levels = noisy[:, 0, -1]
    np.testing.assert_array_equal(noisy[..., -1], np.repeat(levels[:, None], 50, axis=1))
    assert levels.min() < 0.05
    assert 0.55 < levels.max() <= 0.6
    deviations = noisy[..., :-1].reshape(200, 50, 4, width).std(axis=(1, 3))
    np.testing.assert_allclose(deviations[:, 0], levels, rtol=0.15, atol=0.01)
    np.testing.assert_allclose(deviations[:, 3], levels / 3, rtol=0.15, atol=0.01)


def test_scheduled_sampling_draws_as_a_song_does(music, encoder):
    head = gl.heads.Mixture(components=2, temperature=0.7)
    plain = make_model(music, encoder, head)
    model = gl.AudioModel(
        encoder, plain.normalizer, plain.stack, RATE, head=head, scheduled_sampling=1.0, random_seed=0
    )
    outputs = ops.convert_to_tensor(
        np.random.default_rng(0).standard_normal((4, 6, head.outputs(model.width))), "float32"
    )
    drawn = ops.convert_to_numpy(model._sampling.draw(head, outputs, model.width))
    assert np.abs(drawn - ops.convert_to_numpy(head.mean(outputs))).mean() > 0.1
    model.compile("adam")
    assert np.isfinite(model.fit(windows_of(music, encoder), verbose=0).history["loss"][-1])


def test_a_condition_by_name():
    for name, options in (("clock", {"harmonics": (2.0,)}), ("lags", {"frames": (3,)}), ("anchor", {"beats": 4})):
        made = gl.conditions.get(name, **options)
        assert type(made).__name__.lower() == name
        assert gl.conditions.get(made) is made
        for option, value in options.items():
            assert getattr(made, option) == value
    with pytest.raises(ValueError, match=r"must be a Condition or one of clock, lags, anchor, style\..*mean 'lags'"):
        gl.conditions.get("lag")
    for name, options in (("clock", {"harmonics": 2}), ("lags", {"beats": 4}), ("lags", {"frames": "44"})):
        with pytest.raises(TypeError, match=rf"must be several values.*Received: {next(iter(options))}="):
            gl.conditions.get(name, **options)


# --- the song


def song_by_hand(model, seed, song, noise, temperature, first):
    """The frames that follow the seed and each frame of the song, by the stack as it is, from all frames at once.

    If each frame follows from those before it, the song is what the stack sings.
    """
    encoder, stack, steps = model.encoder, model.stack, len(song)
    before = np.asarray(model.normalizer(encoder.encode(seed, padded=False)))
    count, frames = len(before), np.concatenate([before, song])
    period = BEAT.beat_seconds * RATE / HOP
    middle = (len(seed) - encoder.span(1) / 2 + HOP) / RATE
    meter = Meter(period, (middle - BEAT.phase_seconds) / BEAT.beat_seconds)
    past = Frames(frames)
    past.at = lambda numbers: frames[numbers + count]
    given = numbers_at(conditions_of(stack), meter, past, np.arange(first + 1, count + steps) - count)
    inputs = [given.get(one.name, frames[first:-1])[None].astype("float32") for one in stack.inputs]
    outputs = stack([ops.convert_to_tensor(one) for one in inputs], training=False)[0, -steps:]
    return ops.convert_to_numpy(model.head.next_frame(outputs, ops.convert_to_tensor(noise[:steps]), temperature))


def test_a_song_reads_the_beat_and_its_own_past(music, encoder, monkeypatch):
    monkeypatch.setattr(gl.rhythm, "tempo", lambda samples, rate, bpm=None: BEAT)
    monkeypatch.setattr(gl.generation._memory, "fault", lambda *_: None)  # the shaken network blows up
    model = make_model(music, encoder)
    shaken(model.stack, by=0.1)
    seed = (music[0].pcm[:4000] / 32768).astype("float32")
    generator = gl.Generator(model)
    memory = generator.listen(seed)
    (past,) = generator._network.go_on(memory, gl.generation._memory.Wish(None, "carry", False, sampling(), None))[0]
    found = np.concatenate([past.take(7), past.take(64)], axis=1)[0]
    noise = sampling().noise([0], 0, 71, model.head.draws(model.width))[0]
    wanted = song_by_hand(model, seed, found, noise, np.float32(0.8), first=memory.past[0].shape[0] - 1)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def sampling():
    from gruvlike.generation._memory import Sampling

    return Sampling(0.8, 5)


def test_a_clip_is_the_same_alone_and_beside_others_of_other_lengths(music, encoder, monkeypatch):
    monkeypatch.setattr(gl.rhythm, "tempo", lambda samples, rate, bpm=None: BEAT)
    model = make_model(music, encoder)
    seeds = [(track.pcm[:size] / 32768).astype("float32") for track, size in zip(music, (4000, 3000), strict=True)]
    generator = gl.Generator(model)
    both = generator.extend(seeds, steps=50, random_seed=2, leash=0.2)
    first = generator.extend(seeds[0], steps=50, random_seed=2, leash=0.2)
    np.testing.assert_allclose(both[0], first, atol=1e-4)
    pieces = np.concatenate(list(generator.stream(seeds[0], steps=50, random_seed=2, leash=0.2, frames_at_once=3)))
    np.testing.assert_allclose(pieces, first, atol=1e-4)


def test_a_short_seed_is_refused_or_padded(music, encoder, monkeypatch):
    monkeypatch.setattr(gl.rhythm, "tempo", lambda samples, rate, bpm=None: BEAT)
    generator = gl.Generator(make_model(music, encoder))
    seed = (music[0].pcm[:800] / 32768).astype("float32")
    with pytest.raises(ValueError, match=r"must reach back as far as the network reads: 0\.2\d s.*Received: 0\.10 s"):
        generator.extend(seed, steps=5)
    assert generator.extend(seed, steps=5, pad_seed=True).shape == (200,)


def test_the_generator_says_how_long_a_seed_is_enough(encoder, monkeypatch, rng):
    track = Track((8000 * rng.standard_normal(6 * RATE)).astype("int16"))
    generator = gl.Generator(make_model(Music([track]), encoder))
    slowest = BEAT._replace(beat_seconds=60 / gl.rhythm._beat.LOW)
    monkeypatch.setattr(gl.rhythm, "tempo", lambda samples, rate, bpm=None: slowest)
    size = round(generator.seed_seconds * RATE)
    music = (track.pcm / 32768).astype("float32")
    assert generator.extend(music[:size], steps=5).shape == (200,)
    with pytest.raises(ValueError, match="must reach back"):
        generator.extend(music[: size - 1], steps=5)


def test_without_conditions_a_seed_needs_a_frame(music, encoder):
    model = make_model(music, encoder, clock=None, lags=None, anchor=None)
    generator = gl.Generator(model)
    assert generator.seed_seconds == encoder.span(generator.decoder.context or 1) / RATE


def test_a_seed_without_a_beat_is_said(music, encoder, monkeypatch):
    monkeypatch.setattr(gl.rhythm, "tempo", lambda samples, rate, bpm=None: BEAT._replace(confidence=0.0))
    generator = gl.Generator(make_model(music, encoder, lags=None, anchor=None))
    with pytest.warns(RuntimeWarning, match="no clear beat"):
        generator.extend((music[0].pcm / 32768).astype("float32"), steps=5)


def test_conditions_need_carried_states(music, encoder, monkeypatch):
    monkeypatch.setattr(gl.rhythm, "tempo", lambda samples, rate, bpm=None: BEAT)
    generator = gl.Generator(make_model(music, encoder))
    with pytest.raises(ValueError, match=r'clock, lags, anchor: only for `history="carry"`'):
        generator.extend((music[0].pcm / 32768).astype("float32"), steps=5, history="full")


def test_a_stack_of_the_users_own_reads_a_condition_of_the_users_own(music, encoder, monkeypatch):
    @keras.saving.register_keras_serializable(package="tests")
    class Bar(Schedule):
        """The number of the bar."""

        needs_beat = True

        def numbers(self, width):
            return 1

        def at(self, frames, meter):
            return np.floor(meter.at(frames) / 4)[:, None]

    monkeypatch.setattr(gl.rhythm, "tempo", lambda samples, rate, bpm=None: BEAT)
    normalizer = gl.Standardizer().fit(music, encoder)
    frames, bar = keras.Input((None, normalizer.width)), Bar(name="bar")
    number = bar.input(normalizer.width)
    x = keras.layers.Concatenate()([frames, bar(number)])
    stack = keras.Model(
        [frames, number], keras.layers.Dense(normalizer.width)(keras.layers.GRU(4, return_sequences=True)(x))
    )
    model = gl.AudioModel(encoder, normalizer, stack, sample_rate=RATE)
    model.compile("adam")
    model.fit(windows_of(music, encoder), verbose=0)
    assert gl.Generator(model).extend((music[0].pcm / 32768).astype("float32"), steps=5).shape == (200,)


# --- the leash


def test_a_leash_keeps_the_running_mean_near_the_seed(music, encoder):
    head = gl.heads.Mixture(components=2)
    model = make_model(music, encoder, head, clock=None, lags=None, anchor=None)
    seed = (music[0].pcm[:4000] / 32768).astype("float32")
    generator = gl.Generator(model)
    memory = generator.listen(seed)

    def distance(leash):
        wish = gl.generation._memory.Wish(None, "carry", False, sampling()._replace(leash=leash), None)
        (past,) = generator._network.go_on(memory, wish)[0]
        frames = np.concatenate([past.take(200) for _ in range(6)], axis=1)[0]
        return np.abs(frames[400:].mean(axis=0) - memory.usual.mean[0]).mean()

    assert distance(0.3) < 0.8 * distance(0.0)


def test_a_leash_is_checked(music, encoder):
    generator = gl.Generator(make_model(music, encoder, clock=None, lags=None, anchor=None))
    seed = (music[0].pcm / 32768).astype("float32")
    with pytest.raises(ValueError, match="leash"):
        generator.extend(seed, steps=5, leash=-0.1)
    with pytest.raises(ValueError, match="leash: only for"):
        generator.extend(seed, steps=5, leash=0.1, history="full")


@pytest.mark.parametrize("clock", [gl.Clock(), None], ids=["with a clock", "without"])
def test_a_network_with_conditions_is_leashed_unless_told_otherwise(music, encoder, monkeypatch, clock):
    monkeypatch.setattr(gl.rhythm, "tempo", lambda *_, **__: BEAT)
    generator = gl.Generator(make_model(music, encoder, clock=clock, lags=None, anchor=None))
    seed = (music[0].pcm[:4000] / 32768).astype("float32")
    usual, leashed, free = (generator.extend(seed, steps=40, leash=leash) for leash in (None, 0.6, 0.0))
    assert np.abs(leashed - free).max() > 1e-3
    np.testing.assert_array_equal(usual, leashed if clock else free)
