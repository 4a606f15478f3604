"""The way back: one contract over all decoders, those of a user among them, and a song that joins its seed."""

import numpy as np
import pytest
from _parts import Loudness, OverlappingLoudness, shaken

import gruvlike as gl

pytestmark = pytest.mark.backends

ENCODERS = {
    "BlockDFT": lambda: gl.BlockDFT(16),
    "MDCT": lambda: gl.MDCT(16),
    "STFT": lambda: gl.STFT(32, 12),
    "LogSpectrum": lambda: gl.LogSpectrum(64, 16, iterations=4),
    "Loudness": lambda: Loudness(16),
    "OverlappingLoudness": lambda: OverlappingLoudness(16),
}


@pytest.fixture(params=ENCODERS.values(), ids=ENCODERS.keys())
def encoder(request):
    return request.param()


def generator_of(encoder, melody, **options):
    normalizer = gl.Standardizer().fit(melody, encoder)
    stack = shaken(gl.recurrent_stack(encoder.features, units=(6,), random_seed=0))
    return gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=8000, **options)


def test_the_context_is_the_frames_that_reach_into_the_next_sample(encoder):
    decoder = encoder.decoder()
    assert isinstance(decoder, gl.decoders.Decoder)
    assert decoder.context * encoder.hop >= encoder.lap > (decoder.context - 1) * encoder.hop


def test_pieces_join_to_as_many_samples_as_the_frames_cover(encoder, melody):
    frames = encoder.encode(melody[:700])
    size = len(frames) * encoder.hop - encoder.lap
    for cuts in ([len(frames)], [3, 4], [1, 9, 10, 25]):
        pieces = list(encoder.decoder().stream(np.split(frames, cuts)))
        assert sum(map(len, pieces)) == size
        batch = list(encoder.decoder().stream(np.split(np.stack([frames, frames[::-1]]), cuts, axis=1)))
        assert sum(piece.shape[1] for piece in batch) == size
        if not encoder.decoder().whole:  # else the sound depends on the pieces
            np.testing.assert_allclose(np.concatenate(pieces), encoder.decode(frames), atol=1e-5)
        np.testing.assert_allclose(np.concatenate(batch, axis=1)[0], np.concatenate(pieces), atol=1e-4)


def test_a_song_and_a_stream_of_any_encoder(encoder, melody):
    """A user's own encoder that cannot be inverted crashed the generator before there were decoders."""
    generator = generator_of(encoder, melody)
    song = generator.extend(melody[:700], seconds=0.05)
    assert song.shape == (400,)
    assert np.isfinite(song).all()
    pieces = list(generator.stream(melody[:700], seconds=0.05, frames_at_once=3))
    assert sum(map(len, pieces)) == 400
    if not generator.decoder.whole:
        np.testing.assert_allclose(np.concatenate(pieces), song, atol=1e-5)
    joined = generator.extend(melody[:700], seconds=0.05, include_seed=True)
    assert joined.shape == (1100,)
    np.testing.assert_array_equal(joined[: 700 - generator.decoder.context * encoder.hop - 1][:500], melody[:500])


def test_a_decoder_of_ones_own_takes_the_place_of_the_encoders(melody):
    encoder = gl.BlockDFT(16)

    class Quiet(gl.decoders.OverlapAdd):
        def stream(self, pieces, seed=None):
            return (0.5 * samples for samples in super().stream(pieces, seed))

    plain, quiet = (
        generator_of(encoder, melody, decoder=one).extend(melody[:320], steps=4) for one in (None, Quiet(encoder))
    )
    np.testing.assert_allclose(quiet, 0.5 * plain, atol=1e-6)
    assert np.abs(plain).max() > 1e-3


def test_the_seed_decides_the_phases_that_a_song_begins_with(melody):
    """The sound of a whole song fades out of the seed: without the seed its beginning is another."""
    encoder = gl.LogSpectrum(64, 16, iterations=8)
    frames = encoder.encode(melody[:640], padded=False)
    context = encoder.decoder().context
    known = np.concatenate(list(encoder.decoder().stream([frames], melody[: encoder.span(context)])))
    guessed = np.concatenate(list(encoder.decoder().stream([frames])))
    truth = melody[encoder.lap : encoder.lap + 32]
    assert np.abs(known[:32] - truth).mean() < 0.5 * np.abs(guessed[:32] - truth).mean()


def error(sound, frames, encoder):
    """The relative error of the magnitudes of a sound that was made of the frames, against those of the frames."""
    made = encoder.magnitudes(encoder.encode(sound, padded=False)[None])[0]
    wanted = encoder.magnitudes(frames[None, encoder.decoder().context :][:, : len(made)])[0]
    return np.linalg.norm(made - wanted) / np.linalg.norm(wanted)


def test_pieces_of_music_are_nearly_as_good_as_the_whole():
    encoder = gl.LogSpectrum(512, 128)
    frames = encoder.encode(gl.tune.compose(4, 8000, random_seed=2))
    decoder = encoder.decoder()
    whole, *pieces = (
        error(np.concatenate(list(decoder.stream(np.split(frames, range(size, len(frames), size))))), frames, encoder)
        for size in (len(frames), 32, 4)
    )
    assert whole < 0.1
    assert max(pieces) < whole + 0.05


def test_long_pieces_are_cut_so_that_memory_is_constant(melody, monkeypatch):
    encoder = gl.LogSpectrum(64, 16, iterations=4)
    frames = encoder.encode(melody[:2000])
    cut = np.concatenate(list(encoder.decoder().stream(np.split(frames, range(50, len(frames), 50)))))
    monkeypatch.setattr("gruvlike.decoders._griffin_lim.LONGEST", 50)
    np.testing.assert_array_equal(np.concatenate(list(encoder.decoder().stream([frames]))), cut)
    np.testing.assert_array_equal(encoder.decode(frames), cut)


def test_each_clip_of_a_batch_sounds_as_it_does_alone(melody):
    encoder = gl.LogSpectrum(64, 16, iterations=4)
    frames = encoder.encode(np.stack([melody[:640], melody[640:1280]]))
    for one, together in zip(frames, encoder.decode(frames), strict=True):
        np.testing.assert_array_equal(encoder.decode(one), together)


@pytest.mark.parametrize("hertz", [500, 777.7])
def test_a_steady_sine_needs_no_iterations_to_speak_of(hertz):
    """The start alone is right for sines: it finds the frequency between the bins, and lets the phase run on."""
    encoder = gl.LogSpectrum(256, 64, iterations=1)
    frames = encoder.encode(np.sin(2 * np.pi * hertz * np.arange(8000) / 8000).astype("float32"), padded=False)
    assert error(encoder.decode(frames), frames, encoder) < 0.05


def test_sound_begins_after_a_silent_seed(melody):
    """Silence has no phases that could go on."""
    encoder = gl.LogSpectrum(64, 16)
    frames = encoder.encode(melody[:640], padded=False)
    after_silence = np.concatenate(list(encoder.decoder().stream([frames], np.zeros(encoder.span(3), "float32"))))
    assert np.std(after_silence[100:]) > 0.5 * np.std(melody[100:640])


@pytest.fixture(scope="module")
def units():
    """A decoder of grains, and music that it does not hold."""
    encoder = gl.LogSpectrum(256, 64)
    music = gl.tune.compose(12, 8000, random_seed=3)
    return gl.decoders.UnitSelection(encoder, music[: 9 * 8000]), music[9 * 8000 :]


@pytest.mark.parametrize("steps", [1, 4, 5, 41])
def test_grains_do_not_depend_on_the_pieces(units, steps):
    decoder, music = units
    frames = np.stack([decoder.encoder.encode(music[start:])[:steps] for start in (0, 4000)])
    for seed in (None, np.stack([music, music])[:, : decoder.encoder.span(decoder.context)]):
        whole, *others = (
            np.concatenate([np.zeros((2, 0)), *decoder.stream(np.split(frames, range(size, steps, size), 1), seed)], 1)
            for size in (steps, 1, 3, 7)
        )
        assert whole.shape == (2, max(0, steps * 64 - decoder.encoder.lap))
        for other in others:
            np.testing.assert_allclose(other, whole, atol=1e-5)
        alone = np.concatenate([np.zeros(0), *decoder.stream([frames[1]], None if seed is None else seed[1])])
        np.testing.assert_allclose(alone, whole[1], atol=1e-5)


def test_music_of_the_table_comes_back_as_it_is(units):
    """Its own grains are the nearest, each goes on from the one before, and nothing is left to correct."""
    decoder, _ = units
    music = gl.tune.compose(12, 8000, random_seed=3)[640 : 640 + 6400]
    frames = decoder.encoder.encode(music, padded=False)
    sound = np.concatenate(list(decoder.stream([frames])))
    lap = decoder.encoder.lap
    np.testing.assert_allclose(sound[: -2 * lap], music[lap : lap + len(sound)][: -2 * lap], atol=1e-3)


def test_other_music_keeps_its_loudness(units):
    decoder, music = units
    swelling = music[:16_000] * np.linspace(0.1, 1, 16_000, dtype="float32")
    frames = decoder.encoder.encode(swelling, padded=False)
    following, still = (
        np.concatenate(list(gl.decoders.UnitSelection(decoder.encoder, music, follow=follow).stream([frames])))
        for follow in (1.0, 0.0)
    )
    levels = [np.log(np.std(x[: 64 * 240].reshape(-1, 960), axis=1)) for x in (swelling[192:], following, still)]
    assert np.abs(levels[1] - levels[0]).mean() < 0.2
    assert np.abs(levels[1] - levels[0]).mean() < 0.7 * np.abs(levels[2] - levels[0]).mean()


def test_a_song_of_grains_joins_its_seed_and_streams(units):
    decoder, music = units
    generator = generator_of(decoder.encoder, music, decoder=decoder)
    seed = music[:4000]
    song = generator.extend(seed, steps=20, include_seed=True)
    assert song.shape == (4000 + 20 * 64,)
    kept = 4000 - decoder.encoder.lap
    np.testing.assert_allclose(song[:kept], seed[:kept], atol=1e-6)
    assert np.abs(np.diff(song[kept - 8 :])).max() < 1.5 * np.abs(np.diff(seed)).max()
    pieces = list(generator.stream(seed, steps=20, frames_at_once=3))
    np.testing.assert_allclose(np.concatenate(pieces), song[4000:], atol=1e-4)


def test_a_table_of_grains_is_bounded():
    music = [(0.1 * np.random.default_rng(k).normal(size=4000)).astype("float32") for k in range(4)]
    encoder = gl.LogSpectrum(64, 16)
    many, few = (gl.decoders.UnitSelection(encoder, music, limit=limit)._chooser.grains for limit in (9999, 100))
    assert len(few.starts) <= 100 < len(many.starts)
    assert len(few.samples) < 0.5 * len(many.samples)
    pcm = [(32768 * one).astype("int16") for one in music]
    like = gl.decoders.UnitSelection(encoder, pcm)._chooser.grains
    np.testing.assert_allclose(like.samples, many.samples, atol=1e-4)
    with pytest.raises(ValueError, match="a few grains"):
        gl.decoders.UnitSelection(encoder, music[0][:200])


def test_decoders_by_name():
    encoder = gl.MDCT(16)
    assert gl.decoders.get("overlap_add", encoder=encoder).encoder is encoder
    assert gl.decoders.get("griffin_lim", encoder=gl.LogSpectrum(64), iterations=3).iterations == 3
    with pytest.raises(ValueError, match=r"must be a Decoder or one of overlap_add, griffin_lim.*Did you mean"):
        gl.decoders.get("griffin")
    with pytest.raises(ValueError, match="`iterations`"):
        gl.decoders.GriffinLim(gl.LogSpectrum(64), iterations=0)
    with pytest.raises(NotImplementedError, match="Decoder must define `stream"):
        gl.decoders.Decoder().stream([])
