"""The log spectrum: its promises in place of exact reconstruction."""

from pathlib import Path

import keras
import librosa
import numpy as np
import pytest

import gruvlike as gl

pytestmark = pytest.mark.backends


def magnitudes(x, encoder):
    return np.abs(librosa.stft(x, n_fft=encoder.frame_size, hop_length=encoder.hop, center=False))


def convergence(x, y, encoder):
    """Spectral convergence: the relative error of the magnitudes."""
    theirs = magnitudes(x, encoder)
    return np.linalg.norm(theirs - magnitudes(y[: len(x)], encoder)) / np.linalg.norm(theirs)


def with_random_phases(frames, encoder):
    """Returns a sound of these magnitudes, without a thought about its phases."""
    wanted = encoder.magnitudes(frames[None])[0].T
    turns = np.exp(2j * np.pi * np.random.default_rng(0).random(wanted.shape))
    size, hop = encoder.frame_size, encoder.hop
    return librosa.istft(wanted * turns, hop_length=hop, n_fft=size, center=False)[encoder.lap :].astype("float32")


def test_frames_are_logarithms_of_librosas_magnitudes(melody):
    encoder = gl.LogSpectrum(256, 64)
    theirs = magnitudes(melody, encoder) * 2 / np.hanning(257)[:256].sum()
    expected = np.log(np.sqrt(theirs**2 + 1e-10)).T
    np.testing.assert_allclose(encoder.encode(melody, padded=False), expected, atol=2e-2)


def test_a_full_scale_sine_is_zero_and_silence_is_the_floor():
    encoder = gl.LogSpectrum(256, 64, floor_db=-80)
    frames = encoder.encode(np.sin(2 * np.pi * np.arange(1024) * 16 / 256).astype("float32"), padded=False)
    np.testing.assert_allclose(frames.max(axis=1), 0, atol=1e-3)
    np.testing.assert_allclose(encoder.encode(np.zeros(300, "float32")), np.log(1e-4), atol=1e-5)
    mel = gl.LogSpectrum(256, 64, floor_db=-80, mels=10, sample_rate=8000)
    np.testing.assert_allclose(mel.encode(np.zeros(300, "float32")), np.log(1e-4), atol=1e-5)


@pytest.mark.parametrize("options", [{"hop": 128}, {"hop": 150}, {"hop": 256}])
def test_round_trip_has_nearly_the_same_spectrum(options, melody):
    encoder = gl.LogSpectrum(512, **options)
    frames = encoder.encode(melody)
    y = encoder.decode(frames)
    assert len(y) == len(frames) * encoder.hop - encoder.lap
    assert convergence(melody, y, encoder) < 0.1
    assert convergence(melody, with_random_phases(frames, encoder), encoder) > 0.2  # the control


def test_as_good_as_librosa(melody):
    encoder = gl.LogSpectrum(512, 128)
    theirs = librosa.griffinlim(
        magnitudes(melody, encoder), hop_length=128, n_fft=512, center=False, momentum=0.99, random_state=0
    )
    ours = encoder.decode(encoder.encode(melody, padded=False))
    inner = melody[encoder.lap : encoder.lap + len(ours)]
    assert convergence(inner, ours, encoder) < 1.3 * convergence(inner, theirs[encoder.lap :], encoder)


def test_music_comes_back_nearly():
    music = gl.tune.compose(3.0, sample_rate=8000)
    encoder = gl.LogSpectrum(512)
    frames = encoder.encode(music)
    assert convergence(music, encoder.decode(frames), encoder) < 0.12
    streamed = np.concatenate(list(encoder.decode_stream(np.array_split(frames, 5))))
    assert convergence(music, streamed, encoder) < 0.15
    mel = gl.LogSpectrum(512, mels=64, sample_rate=8000)
    assert convergence(music, mel.decode(mel.encode(music)), encoder) < 0.5


def test_mel_frames_keep_the_envelope(melody):
    encoder = gl.LogSpectrum(512, 128, mels=60, sample_rate=8000)
    frames = encoder.encode(melody)
    y = encoder.decode(frames)
    assert convergence(melody, y, encoder) < 0.4
    coarse = gl.LogSpectrum(512, 128, mels=10, sample_rate=8000)
    assert convergence(melody, coarse.decode(coarse.encode(melody)), encoder) > 0.5
    again = encoder.encode(y)[8 : len(frames) - 8]
    loud = frames[8:-8] > np.log(1e-2)
    assert np.median(np.abs(again - frames[8:-8])[loud]) < 0.2


def test_same_seed_same_sound(melody):
    frames = gl.LogSpectrum(256).encode(melody[:2000])
    first = gl.LogSpectrum(256, random_seed=1).decode(frames)
    np.testing.assert_array_equal(first, gl.LogSpectrum(256, random_seed=1).decode(frames))
    assert np.abs(first - gl.LogSpectrum(256, random_seed=2).decode(frames)).max() > 0.01


@pytest.mark.parametrize("length", [1, 7, 40])
def test_streamed_pieces_join(length, melody):
    encoder = gl.LogSpectrum(512, 128)
    frames = encoder.encode(melody[:12_000])
    pieces = list(encoder.decode_stream(frames[i : i + length] for i in range(0, len(frames), length)))
    y = np.concatenate(pieces)
    assert len(y) == len(frames) * 128 - encoder.lap
    assert convergence(melody[:12_000], y, encoder) < 0.25


@pytest.mark.parametrize("length", [1, 7])
def test_pieces_join_without_a_jump(length):
    """Half a frame of overlap: an error is audible if the samples before a piece are held fixed, not its frames."""
    encoder = gl.LogSpectrum(512, 256)
    steps, joints = [], []
    for random_seed in range(1, 9):
        frames = encoder.encode(gl.tune.compose(4, 8000, random_seed=random_seed))
        pieces = list(encoder.decode_stream(frames[i : i + length] for i in range(0, len(frames), length)))
        sizes = np.abs(np.diff(np.concatenate(pieces)))
        steps.append(sizes)
        joints.append(sizes[np.cumsum([len(piece) for piece in pieces])[:-1] - 1])
    steps, joints = np.concatenate(steps), np.concatenate(joints)
    assert np.quantile(joints, 0.99) < np.quantile(steps, 0.999)
    assert np.median(joints) < 1.2 * np.median(steps)


def test_streams_take_batches(melody):
    encoder = gl.LogSpectrum(64)
    frames = encoder.encode(np.stack([melody[:640], melody[640:1280]]))
    y = np.concatenate(list(encoder.decode_stream([frames[:, :9], frames[:, 9:]])), axis=1)
    assert y.shape == encoder.decode(frames).shape


def test_what_a_network_says_is_never_not_a_number(rng):
    encoder = gl.LogSpectrum(64)
    wild = rng.normal(size=(9, encoder.features)).astype("float32") * 1e4
    assert np.isfinite(encoder.decode(wild)).all()


def test_tensors_cannot_be_decoded():
    encoder = gl.LogSpectrum(64)
    for frames in (keras.ops.zeros((3, 33)), keras.Input((None, 33))):
        with pytest.raises(TypeError, match="numpy arrays only"):
            encoder.decode(frames)


def test_bad_mels_are_refused():
    with pytest.raises(ValueError, match="needs a `sample_rate`"):
        gl.LogSpectrum(64, mels=5)
    with pytest.raises(ValueError, match="Use fewer mels"):
        gl.LogSpectrum(64, mels=60, sample_rate=8000)
    with pytest.raises(ValueError, match="positive integer"):
        gl.LogSpectrum(64, mels=0, sample_rate=8000)
    with pytest.raises(ValueError, match="nearly"):
        gl.LogSpectrum(64, 64)


def make_generator(music, encoder):
    """A generator whose untrained network hardly matters: only the way from frames to sound is looked at."""
    stack = gl.recurrent_stack(encoder.features, units=(8,), random_seed=0)
    normalizer = gl.Standardizer().fit(music, encoder)
    return gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=8000)


@pytest.mark.parametrize("way", ["extend", "stream"])
@pytest.mark.parametrize("hop", [128, 256])
def test_a_song_joins_its_seed(way, hop, melody):
    generator = make_generator(melody, gl.LogSpectrum(512, hop))
    for size in (4000, 4111):
        seed = melody[:size]
        sound = song(generator, way, seed, steps=12, include_seed=True)
        assert len(sound) == size + 12 * hop
        kept = size - generator.encoder.lap  # after it the frames of the seed fade out
        np.testing.assert_allclose(sound[:kept], seed[:kept], atol=1e-5)
        steps = np.abs(np.diff(sound))
        assert steps[kept - 8 :].max() < 1.5 * steps[: kept - 8].max()
        np.testing.assert_allclose(song(generator, way, seed, steps=12), sound[size:], atol=1e-6)


def song(generator, way, seed, **options):
    made = getattr(generator, way)(seed, **options)
    return made if way == "extend" else np.concatenate(list(made))


def test_a_known_past_keeps_its_phases(melody):
    encoder = gl.LogSpectrum(512, 128)
    frames, past = encoder.encode(melody[:4096], padded=False), melody[:2048]
    known, guessed = (next(encoder.decode_stream([frames], given)) for given in (past, None))
    inside = past[encoder.lap : -encoder.lap]
    np.testing.assert_allclose(known[: len(inside)], inside, atol=1e-5)
    assert np.abs(guessed[: len(inside)] - inside).max() > 0.1
    assert convergence(melody[encoder.lap :][: len(known)], known, encoder) < 0.15


def test_real_music_comes_back_nearly():
    """On the music that games on this machine bring, if any; the tunes above are the package's own."""
    files = sorted(Path("/usr/share/games").glob("*/music/*.ogg"))
    if not files:
        pytest.skip("no music of games is installed here")
    encoder = gl.LogSpectrum(1024)
    for file in files[:: max(1, len(files) // 3)][:3]:
        music = gl.audio.read(file, 16_000)[20 * 16_000 : 23 * 16_000]
        frames = encoder.encode(music)
        assert convergence(music, encoder.decode(frames), encoder) < 0.28, file.name
        assert convergence(music, with_random_phases(frames, encoder), encoder) > 0.3, file.name  # the control
