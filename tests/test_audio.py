"""`audio` reads the samples that a file holds, in blocks or whole, or refuses the file with a reason."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import wavfile
from scipy.signal import butter, sosfilt, sosfilt_zi

from gruvlike import audio


@pytest.fixture
def music(tmp_path, rng):
    """A file of 2.5 s of loud stereo noise at 44.1 kHz, and its samples (S, 2)."""
    samples = rng.uniform(-0.6, 0.6, (110_250, 2)).astype("float32")
    soundfile.write(tmp_path / "music.wav", samples, 44_100, "FLOAT")
    return tmp_path / "music.wav", samples


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.au", "a.caf", "a.w64"])
def test_lossless_round_trip(tmp_path, melody, name):
    audio.write(tmp_path / name, melody, 8000)
    back = audio.read(tmp_path / name, 8000)
    assert back.dtype == np.float32
    assert np.abs(back - melody).max() <= 0.5 / 32768 + 1e-7
    assert soundfile.info(tmp_path / name).subtype == "PCM_16"


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3", "a.opus"])
def test_lossy_round_trip(tmp_path, melody, name):
    audio.write(tmp_path / name, melody, 8000)
    back = audio.read(tmp_path / name, 8000)
    assert abs(len(back) - len(melody)) <= 1
    assert np.corrcoef(back[:15_900], melody[:15_900])[0, 1] > 0.98


def test_float_round_trip_is_exact(tmp_path, melody):
    audio.write(tmp_path / "a.wav", melody, 8000, subtype="FLOAT")
    np.testing.assert_array_equal(audio.read(tmp_path / "a.wav", 8000), melody)


def test_int16_round_trip_is_exact(tmp_path):
    pcm = np.arange(-32768, 32768).astype("int16")
    audio.write(tmp_path / "a.wav", pcm, 8000)
    np.testing.assert_array_equal(audio.read(tmp_path / "a.wav", 8000) * 32768, pcm)


@pytest.mark.parametrize(("subtype", "top"), [("PCM_16", 32767 / 32768), ("PCM_24", 1.0), ("FLOAT", 1.0)])
def test_write_clips_and_counts_and_never_wraps(tmp_path, subtype, top):
    with pytest.warns(UserWarning, match="2 of 4 samples were beyond full scale"):
        audio.write(tmp_path / "a.wav", np.array([1.2, -1.5, 0.5, 1.0]), 8000, subtype)
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav", 8000), [top, -1, 0.5, top], atol=2e-7)


@pytest.mark.parametrize(
    ("samples", "words"),
    [(np.zeros((2, 5)), "shape"), (np.zeros(0), "S > 0"), (np.array([0, np.nan, np.inf]), "2 NaN or infinite")],
)
def test_write_refuses_what_is_not_samples(tmp_path, samples, words):
    with pytest.raises(ValueError, match=words):
        audio.write(tmp_path / "a.wav", samples, 8000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "subtype", "words"), [("a.xyz", None, "suffix"), ("a", None, "suffix"), ("a.flac", "FLOAT", "must be one")]
)
def test_write_refuses_formats_that_cannot_be(tmp_path, name, subtype, words):
    with pytest.raises(ValueError, match=words):
        audio.write(tmp_path / name, np.zeros(5, "float32"), 8000, subtype)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_named(tmp_path, melody, monkeypatch):
    monkeypatch.setattr(
        audio._sndfile, "file_name", lambda _: "/dev/full"
    )  # libsndfile itself only says "System error"
    with pytest.raises(OSError, match=r"a\.wav' could not be written: .*disk full"):
        audio.write(tmp_path / "a.wav", melody, 8000)


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path, melody, monkeypatch):
    audio.write(tmp_path / "a.wav", melody, 8000)
    before = (tmp_path / "a.wav").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    with pytest.raises(OSError, match=r"No space .*a\.wav"):
        audio.write(tmp_path / "a.wav", -melody, 8000)
    assert (tmp_path / "a.wav").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("rate", [44_100, 16_000, 48_000, 1000])
def test_read_mixes_down_and_resamples_as_soxr_does(music, rate):
    path, samples = music
    expected = soxr.resample(samples.mean(axis=1), 44_100, rate, quality="HQ")
    np.testing.assert_allclose(audio.read(path, rate), np.clip(expected, -1, 1), atol=1e-6)


@pytest.mark.parametrize("block_size", [1, 777, 65_536, 10**6])
def test_stream_is_read_in_blocks(music, block_size):
    path, _ = music
    if block_size == 1:
        path = path.with_name("short.wav")
        audio.write(path, np.full(500, 0.25), 44_100)
    blocks = list(audio.stream(path, 16_000, block_size, high_pass_hz=20))
    assert {len(block) for block in blocks[:-1]} <= {block_size}
    np.testing.assert_array_equal(np.concatenate(blocks), audio.read(path, 16_000, high_pass_hz=20))


@settings(max_examples=15, deadline=None)
@given(
    rate=st.integers(500, 96_000),
    target=st.integers(500, 96_000),
    size=st.integers(1, 3000),
    channels=st.integers(1, 8),
)
def test_any_rate_and_number_of_channels(tmp_path_factory, rate, target, size, channels):
    path = tmp_path_factory.mktemp("any") / "a.wav"
    samples = np.random.default_rng(size).uniform(-0.3, 0.3, (size, channels)).astype("float32")
    soundfile.write(path, samples, rate, "FLOAT")
    expected = soxr.resample(samples.mean(axis=1), rate, target, quality="HQ")
    if len(expected):
        np.testing.assert_allclose(audio.read(path, target), expected, atol=1e-5)
    else:
        with pytest.raises(ValueError, match="decodes to none"):
            audio.read(path, target)


def test_high_pass_is_a_causal_butterworth_that_starts_settled(tmp_path, melody):
    audio.write(tmp_path / "a.wav", melody + np.float32(0.3), 8000, "FLOAT")
    sections = butter(2, 20, "highpass", fs=8000, output="sos")
    shifted = melody.astype("float64") + np.float64(np.float32(0.3))
    expected, _ = sosfilt(sections, shifted, zi=sosfilt_zi(sections) * shifted[0])
    filtered = audio.read(tmp_path / "a.wav", 8000, high_pass_hz=20)
    np.testing.assert_allclose(filtered, expected, atol=1e-6)
    assert abs(filtered.mean()) < 1e-3 < 0.29 < audio.read(tmp_path / "a.wav", 8000).mean()


def test_samples_beyond_full_scale_are_clipped_unless_asked(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([0.5, 1.5, -2.0], "float32"), 8000, "FLOAT")
    assert audio.read(tmp_path / "a.wav", 8000).tolist() == [0.5, 1.0, -1.0]
    assert audio.read(tmp_path / "a.wav", 8000, clip=False).tolist() == [0.5, 1.5, -2.0]


def test_non_finite_samples_are_counted_and_refused(tmp_path):
    samples = np.zeros((300_000, 2), "float32")
    samples[5], samples[250_000, 0], samples[299_999] = np.nan, np.inf, (np.inf, -np.inf)
    soundfile.write(tmp_path / "a.wav", samples, 8000, "FLOAT")
    with pytest.raises(ValueError, match=r"a\.wav', where 3 of 300000 are NaN or infinite"):
        audio.read(tmp_path / "a.wav", 16_000)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "flac", "ogg"])
def test_a_file_that_breaks_in_the_middle_names_the_place(tmp_path, rng, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, rng.uniform(-0.1, 0.1, 400_000), 8000)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + rng.bytes(30_000) + data[middle + 30_000 :] if suffix == "ogg" else data[:middle])
    with pytest.raises(ValueError, match=rf"a\.{suffix}', which breaks off (after|between) \d+\.\d+"):
        audio.read(path, 8000)


def test_a_wav_written_to_a_pipe_has_no_length_and_is_read(tmp_path, melody):
    audio.write(tmp_path / "a.wav", melody, 8000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "a.wav").write_bytes(data)
    assert len(audio.read(tmp_path / "a.wav", 8000)) == len(melody)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "0 bytes"), (b"no audio at all " * 100, "a.wav"), (b"RIFF\0\0\0\0WAVE", "a.wav")],
)
def test_what_is_no_audio_is_refused(tmp_path, content, words):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        audio.read(tmp_path / "a.wav", 8000)


def test_a_file_without_samples_is_refused(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 8000)
    with pytest.raises(ValueError, match="decodes to none"):
        audio.read(tmp_path / "a.wav", 8000)


def test_errors_of_the_system_and_of_arguments(tmp_path, music):
    with pytest.raises(FileNotFoundError, match="none"):
        audio.stream(tmp_path / "none.wav", 8000)
    with pytest.raises(IsADirectoryError):
        audio.read(tmp_path, 8000)
    for bad in ({"sample_rate": 0}, {"sample_rate": 8000.5}, {"block_size": 0}, {"high_pass_hz": 4000}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            audio.stream(music[0], **{"sample_rate": 8000, **bad})


def test_names_with_emoji_newlines_and_no_utf8(tmp_path, melody):
    names = ["🤔 שלום.wav", "two\nlines.wav"]
    if sys.platform == "linux":
        names.append(os.fsdecode(b"latin-\xf8.wav"))
    for name in names:
        audio.write(tmp_path / name, melody, 8000)
        assert len(audio.read(str(tmp_path / name), 8000)) == len(melody)
    assert sorted(path.name for path in audio.find(tmp_path)) == sorted(names)


def test_find_is_recursive_sorted_and_survives_loops(tmp_path):
    for name in ("b/z.wav", "b/A.FLAC", "x.wav/in.mp3", "a.ogg", "notes.txt", "._a.ogg", ".hidden/a.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dead.wav").symlink_to(tmp_path / "nowhere")
    found = [path.relative_to(tmp_path).as_posix() for path in audio.find(str(tmp_path))]
    assert found == ["a.ogg", "b/A.FLAC", "b/z.wav", "x.wav/in.mp3"]
    assert audio.find(tmp_path / ".hidden") == [tmp_path / ".hidden" / "a.wav"]


def test_find_needs_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        audio.find(tmp_path / "nothing")
    (tmp_path / "a.wav").touch()
    with pytest.raises(NotADirectoryError, match="which is a file"):
        audio.find(tmp_path / "a.wav")


# Test files of other projects that are refused, and the reasons; all their other files are read.
_REFUSED = {
    "corruptheadertestsrc.wav": "No 'data' chunk",
    "splitvideo00.ogg": "unimplemented",
    "splitvideo01.ogg": "unimplemented",
    "splitvideo02.ogg": "unimplemented",
    "test-44100Hz-le-1ch-4bytes-early-eof-no-data.wav": "No 'data' chunk",
    "test-44100Hz-le-1ch-4bytes-early-eof.wav": "breaks off after 0.01 s",
    "test-44100Hz-le-1ch-4bytes-incomplete-chunk.wav": "No 'data' chunk",
    "test-8000Hz-le-3ch-5S-36bit.wav": "unimplemented",
    "test-8000Hz-le-3ch-5S-45bit.wav": "unimplemented",
    "test-8000Hz-le-3ch-5S-53bit.wav": "unimplemented",
}


def test_odd_files_are_read_or_refused(shared):
    pytest.importorskip("av")
    paths = audio.find(shared / "oddaudio")
    assert len(paths) > 40
    for path in paths:
        if path.name in _REFUSED:
            with pytest.raises(ValueError, match=_REFUSED[path.name]) as error:
                audio.read(path, 16_000)
            assert path.name in str(error.value)
        else:
            samples = audio.read(path, 16_000)
            assert np.isfinite(samples).all()
            assert np.abs(samples).max() <= 1
            assert (np.abs(samples).max() > 0) != path.name.startswith("input-")


def test_odd_wavs_are_scaled_as_scipy_scales_them(shared):
    pytest.importorskip("av")  # one of 64 bits is read by PyAV alone
    compared = 0
    for path in sorted((shared / "oddaudio" / "scipy").glob("*.wav")):
        if path.name in _REFUSED:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rate, expected = wavfile.read(path)
        except ValueError:  # scipy reads neither the inconsistent header nor mu-law
            continue
        if expected.dtype == np.uint8:
            expected = (expected.astype("float64") - 128) / 128
        elif expected.dtype.kind == "i":
            expected = expected / 2.0 ** (8 * expected.dtype.itemsize - 1)
        expected = expected.reshape(len(expected), -1).mean(axis=1)
        np.testing.assert_allclose(audio.read(path, rate), expected, atol=1e-6, err_msg=path.name)
        compared += 1
    assert compared == 14
    folder = shared / "oddaudio" / "scipy"
    consistent = audio.read(folder / "test-8000Hz-le-3ch-5S-24bit.wav", 8000)
    np.testing.assert_array_equal(audio.read(folder / "test-8000Hz-le-3ch-5S-24bit-inconsistent.wav", 8000), consistent)


def test_an_mp3_that_goes_on_after_its_estimated_end_is_read_to_the_end(shared, tmp_path, melody, monkeypatch):
    """libsndfile ends at the length that it guesses from the first frame, or that the first of several files has."""
    av = pytest.importorskip("av")
    path = shared / "oddaudio" / "gst-plugins-good" / "vbr_stream.mp3"
    assert soundfile.info(path).frames == 6989  # the file has 30 frames of 1152 samples
    samples = audio.read(path, 44_100, clip=False)
    assert len(samples) == 30 * 1152
    with av.open(str(path)) as container:
        expected = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    np.testing.assert_allclose(samples, expected, atol=1e-5)
    audio.write(tmp_path / "one.mp3", melody, 8000)
    one = (tmp_path / "one.mp3").read_bytes()
    (tmp_path / "three.mp3").write_bytes(3 * one)
    three, whole = (audio.read(tmp_path / name, 8000) for name in ("three.mp3", "one.mp3"))
    assert len(three) > 2.9 * len(melody)
    np.testing.assert_array_equal(three[: len(whole)], whole)
    (tmp_path / "tagged.mp3").write_bytes(one + b"TAG" + bytes(125))
    monkeypatch.setitem(sys.modules, "av", None)
    np.testing.assert_array_equal(audio.read(tmp_path / "tagged.mp3", 8000), whole)
    with pytest.raises(ImportError, match=r'three\.mp3.*pip install "gruvlike\[av\]"'):
        audio.read(tmp_path / "three.mp3", 8000)


def test_one_clip_in_five_formats_sounds_the_same(shared):
    pytest.importorskip("av")
    clips = {path.suffix: audio.read(path, 22_050) for path in audio.find(shared / "oddaudio" / "miniaudio")}
    assert set(clips) == {".mp3", ".ogg", ".wav", ".flac", ".m4a"}
    np.testing.assert_array_equal(clips[".wav"], clips[".flac"])
    for suffix in (".ogg", ".m4a"):  # these files hold a longer part of the same music
        assert np.corrcoef(clips[suffix][:200_000], clips[".mp3"][:200_000])[0, 1] > 0.95


def test_formats_of_the_extra(tmp_path, melody):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mka"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray((melody * 32768).astype("int16")[None], format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    np.testing.assert_allclose(audio.read(tmp_path / "a.mka", 8000), melody, atol=1 / 32768)
    container = (tmp_path / "a.mka").read_bytes()
    (tmp_path / "b.mka").write_bytes(container[:30])
    with pytest.raises(ValueError, match=r"b\.mka"):
        audio.read(tmp_path / "b.mka", 8000)


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(ImportError, match=r'a\.m4a.*pip install "gruvlike\[av\]"'):
        audio.read(tmp_path / "a.m4a", 8000)


def rms(samples):
    return np.sqrt(np.mean(np.square(samples, dtype="float64")))


@given(seed=st.integers(0, 99), level=st.floats(0.001, 4), wanted=st.floats(0.001, 1))
@settings(max_examples=40, deadline=None)
def test_a_level_is_matched_by_one_gain_within_full_scale(seed, level, wanted):
    random = np.random.default_rng(seed)
    song = level * random.standard_normal(500).astype("float32")
    like = wanted * random.uniform(-1, 1, 300).astype("float32")
    matched = audio.match_level(song, like)
    peak = np.abs(matched).max()
    assert peak <= 1
    np.testing.assert_allclose(matched * rms(song), song * rms(matched), atol=1e-5)  # nothing but a gain
    if peak < 0.999:
        assert rms(matched) == pytest.approx(rms(like), rel=1e-5)
    else:
        assert rms(matched) <= rms(like) * (1 + 1e-5)


def test_silence_has_no_level_to_match(rng):
    noise, silence = rng.uniform(-1, 1, 100).astype("float32"), np.zeros(50, "float32")
    for song, like in ((noise, silence), (silence, noise)):
        matched = audio.match_level(song, like)
        np.testing.assert_array_equal(matched, song)
        assert not np.shares_memory(matched, song)


def test_pcm_has_a_level_and_other_shapes_have_none():
    pcm = np.array([100, -100], "int16")
    np.testing.assert_allclose(audio.match_level(pcm, np.array([0.5])), [0.5, -0.5], rtol=1e-6)
    with pytest.raises(ValueError, match="`like` must be mono"):
        audio.match_level(np.ones(3), np.ones((2, 3)))
    with pytest.raises(ValueError, match="`samples` must be finite"):
        audio.match_level(np.array([np.nan]), np.ones(3))


def test_audio_and_corpus_need_no_keras():
    code = "import sys, gruvlike as gl; gl.audio.read; gl.Corpus; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_streaming_takes_constant_memory(tmp_path):
    pytest.importorskip("resource")
    with soundfile.SoundFile(tmp_path / "long.wav", "w", 44_100, 2, "PCM_16") as file:
        for _ in range(60):  # 10 minutes, 106 MB; as float32 mono 106 MB again
            file.write(np.zeros((441_000, 2), "int16") + 1000)
    code = (
        "import sys, resource; from gruvlike import audio\n"
        "next(audio.stream(sys.argv[1], 44100)); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "total = sum(map(len, audio.stream(sys.argv[1], 44100, high_pass_hz=20)))\n"
        "print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    result = subprocess.run([sys.executable, "-c", code, tmp_path / "long.wav"], capture_output=True, check=True)
    total, grown = map(int, result.stdout.split())
    assert total == 60 * 441_000
    assert grown < 30_000 * (1024 if sys.platform == "darwin" else 1)
