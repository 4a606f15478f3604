"""What is cut short or rotten is refused, or reported with the seconds; what a format cannot hold is not written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from _sounds import CODECS, ID3, RATE, SNDFILE, encode, music

from gruvlike import audio
from gruvlike.audio import _framing, _sndfile, _writing
from gruvlike.audio._sound import FaultError

SECONDS = 6
SAYS_SECONDS = re.compile(r"\d+\.\d\d s")


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """A folder with 6 s of `music` in many formats, and what `audio.read` makes of each: {name: samples}."""
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("sounds")
    for suffix in SNDFILE:
        audio.write(folder / f"s.{suffix}", music(SECONDS), RATE)
    for name, codec in CODECS.items():
        encode(folder / name, *codec, seconds=SECONDS)
    return folder, {path.name: audio.read(path, RATE) for path in sorted(folder.iterdir())}


def read_or_word(path, whole, caplog):
    """Returns the seconds that are missing; fails if there are some and nothing says so, with the file's name."""
    caplog.clear()
    samples, refused = None, ""
    try:
        samples = audio.read(path, RATE)
    except ValueError as error:
        refused = str(error)
    if samples is None:
        assert path.name in refused
        assert SAYS_SECONDS.search(refused) or "must be readable" in refused
        return None
    assert np.isfinite(samples).all()
    missing = (len(whole) - len(samples)) / RATE
    texts = [record.getMessage() for record in caplog.records]
    assert abs(missing) < 0.12 or any(path.name in text for text in texts), f"{missing:.2f} s are missing"
    return missing


NAMES = [*(f"s.{suffix}" for suffix in SNDFILE), *CODECS]
# Nothing in these files tells their length; a cut between two frames cannot be seen.
BARE = {"s.mp2", "s.aac", "s.ac3", "s.ts", "mp3.wav", "s.mp3", "s.amr"}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_cut_short_is_refused_or_reported(sounds, tmp_path, name, caplog):
    data = (sounds[0] / name).read_bytes()
    seen = []
    for share in (0.25, 0.5, 0.9):
        path = tmp_path / name
        path.write_bytes(data[: int(len(data) * share) | 1])
        seen.append(read_or_word(path, sounds[1][name], caplog))
    if name not in BARE:
        assert seen == [None, None, None]  # refused


@pytest.mark.parametrize("name", ["s.ogg", "s.opus", "s.mp3", "s.webm", "s.wma", "s.flac", "s.aac", "s.mkv", "s.avi"])
def test_holes_in_the_middle_are_refused_or_reported(sounds, tmp_path, name, caplog):
    data = (sounds[0] / name).read_bytes()
    middle = len(data) // 2
    said = 0
    for hole in (bytes(3000), np.random.default_rng(0).bytes(3000), b""):
        path = tmp_path / name
        path.write_bytes(data[:middle] + hole + data[middle + 3000 :])
        missing = read_or_word(path, sounds[1][name], caplog)
        said += missing is None or bool(caplog.records)
    assert said == 3


def test_packets_that_are_missing_are_seen_by_their_times(tmp_path, caplog):
    pytest.importorskip("av")
    encode(tmp_path / "gap.webm", "libopus", "webm", 48_000, without=range(50, 125))  # of 20 ms
    assert audio.read(tmp_path / "gap.webm", RATE).size / RATE == pytest.approx(1.5, abs=0.05)
    assert "gap.webm': 1.50 s are missing in it, the first of them after 0.99 s" in caplog.text


def test_a_webm_without_a_length_whose_blocks_break_off_is_reported(sounds, tmp_path, caplog):
    """FFmpeg ends there as if the file did; a recording of a browser has no length that would deny it."""
    data = (sounds[0] / "s.webm").read_bytes()
    live = data.replace(b"\x44\x89\x88", b"\xec\x40\x08")  # the length becomes an element without a meaning
    assert live != data
    path, whole = tmp_path / "live.webm", sounds[1]["s.webm"]
    path.write_bytes(live)
    assert read_or_word(path, whole, caplog) == 0
    assert not caplog.records
    starts = [found.start() for found in re.finditer(rb"\xa3(?:[\x80-\xff]|[\x40-\x7f].)\x81", live, re.DOTALL)]
    at = starts[-40]  # in the last cluster: FFmpeg goes on with the next one
    path.write_bytes(live[:at] + bytes(4) + live[at + 4 :])
    assert read_or_word(path, whole, caplog) > 0.5
    assert re.search(r"live\.webm.* after \d+\.\d\d s, at byte", caplog.text)


def test_the_words_about_a_hole_in_an_mp3_tell_where_it_is(sounds, tmp_path, caplog):
    data = bytearray((sounds[0] / "s.mp3").read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 6] = bytes(len(data) // 6)
    (tmp_path / "s.mp3").write_bytes(data)
    samples = audio.read(tmp_path / "s.mp3", RATE)
    (at, lost) = map(float, re.search(r"is damaged after (\d+\.\d+) s, where (\d+\.\d+) s", caplog.text).groups())
    assert at == pytest.approx(3, abs=0.15)
    assert lost == pytest.approx(1, abs=0.15)
    assert samples.size / RATE == pytest.approx(5, abs=0.2)


def test_a_page_of_ogg_that_is_gone_or_changed_is_named(sounds, tmp_path):
    pages = [b"OggS" + page for page in (sounds[0] / "s.ogg").read_bytes().split(b"OggS")[1:]]
    gone = pages[:4] + pages[5:]
    page = bytearray(pages[4])
    page[-9] ^= 1
    changed = [*pages[:4], bytes(page), *pages[5:]]
    for damaged, says in ((gone, "page 5 follows page 3"), (changed, "page 4 is damaged")):
        (tmp_path / "s.ogg").write_bytes(b"".join(damaged))
        with pytest.raises(ValueError, match=rf"s\.ogg', which breaks off after \d\.\d\d s: {says}"):
            audio.read(tmp_path / "s.ogg", RATE)


def test_an_ogg_without_its_last_page_is_read_with_a_word(sounds, tmp_path, caplog):
    data = (sounds[0] / "s.ogg").read_bytes()
    (tmp_path / "s.ogg").write_bytes(data[: data.rfind(b"OggS")])
    assert 4 < audio.read(tmp_path / "s.ogg", RATE).size / RATE < 6
    assert re.search(r"s\.ogg': ends after 5\.\d\d s without the mark of an end", caplog.text)


def test_an_mp3_with_fewer_frames_than_its_header_says(sounds, tmp_path, caplog):
    data = (sounds[0] / "s.mp3").read_bytes()
    assert data.find(b"Info") < 100
    half = len(data) // 2
    (tmp_path / "s.mp3").write_bytes(data[:half])
    samples = audio.read(tmp_path / "s.mp3", RATE)
    told = re.search(r"its header promises (\d\.\d\d) s, (\d\.\d\d) s are there", caplog.text)
    assert float(told[1]) == pytest.approx(6, abs=0.15)
    assert float(told[2]) == pytest.approx(samples.size / RATE, abs=0.15)


def test_an_mp3_whose_frames_cannot_be_counted_is_compared_with_its_header(sounds, tmp_path, monkeypatch):
    data = (sounds[0] / "s.mp3").read_bytes()
    monkeypatch.setattr(_framing, "look", lambda *_: None)
    (tmp_path / "s.mp3").write_bytes(data)
    np.testing.assert_array_equal(audio.read(tmp_path / "s.mp3", RATE), sounds[1]["s.mp3"])
    (tmp_path / "s.mp3").write_bytes(data[: len(data) // 2])
    with pytest.raises(FaultError, match=r"by its header it has 6\.\d\d s, [23]\.\d\d s were found"):
        list(_sndfile.chunks(tmp_path / "s.mp3", 1.0, counted=False))


def test_a_sample_rate_that_another_number_of_the_header_denies(sounds, tmp_path, caplog):
    for name, at, wrong in (("s.wav", 24, b"\x80\x3f\0\0"), ("s.w64", 68, b"\x80\x4e\0\0"), ("s.aiff", 21, b"\2")):
        data = bytearray((sounds[0] / name).read_bytes())
        data[at : at + len(wrong)] = wrong
        (tmp_path / name).write_bytes(data)
        caplog.clear()
        audio.read(tmp_path / name, RATE)
        assert ("Is its sample rate right?" in caplog.text) == (name != "s.wav")  # 1.6 % is too little to tell


# --- sound that would be wrong ----------------------------------------------------------------------------------------


def test_channels_that_cancel_each_other_give_way_to_one(tmp_path, caplog):
    tone = music(2)
    soundfile.write(tmp_path / "wide.wav", np.stack([0.5 * tone, -0.5 * tone, 0 * tone], axis=1), RATE, "FLOAT")
    np.testing.assert_allclose(audio.read(tmp_path / "wide.wav", RATE), 0.5 * tone, atol=1e-7)
    assert "its channels cancel each other. Channel 1 of 3 is taken" in caplog.text
    caplog.clear()
    noise = np.random.default_rng(1).uniform(-0.3, 0.3, (RATE, 2))  # the control: no relation at all
    soundfile.write(tmp_path / "noise.wav", noise, RATE, "DOUBLE")
    np.testing.assert_allclose(audio.read(tmp_path / "noise.wav", RATE), noise.mean(axis=1), atol=1e-7)
    assert not caplog.records


def test_channels_that_cancel_later_are_reported_and_the_mean_stays(tmp_path, caplog):
    tone = music(20)
    right = np.concatenate([tone[: 10 * RATE], -tone[10 * RATE :]])
    soundfile.write(tmp_path / "late.flac", np.stack([tone, right], axis=1), RATE)
    samples = audio.read(tmp_path / "late.flac", RATE)
    np.testing.assert_allclose(samples[: 10 * RATE], tone[: 10 * RATE], atol=1e-4)
    seconds = float(re.search(r"cancel each other in (\d+\.\d) s", caplog.text)[1])
    assert 0 < seconds <= 10


@pytest.mark.parametrize("rate", [44_100, 8000, 48_000])
def test_an_offset_makes_no_thump_at_either_end(tmp_path, rate):
    soundfile.write(tmp_path / "flat.wav", np.full(rate * 2, 0.5), rate, "FLOAT")
    filtered = audio.read(tmp_path / "flat.wav", RATE, high_pass_hz=20)
    assert np.abs(filtered).max() < 1e-5
    soundfile.write(tmp_path / "tone.wav", music(2, rate) + 0.5, rate, "FLOAT")
    soundfile.write(tmp_path / "pure.wav", music(2, rate), rate, "FLOAT")
    shifted, pure = (audio.read(tmp_path / name, RATE, high_pass_hz=20) for name in ("tone.wav", "pure.wav"))
    np.testing.assert_allclose(shifted, pure, atol=1e-4)


@pytest.mark.parametrize("target", [RATE, 8000])
def test_samples_that_would_overflow_are_refused(tmp_path, target):
    for number in (3e38, 1e10, -3e38):
        soundfile.write(tmp_path / "huge.wav", np.full((9000, 2), number), RATE, "FLOAT")
        with pytest.raises(ValueError, match=r"huge\.wav', where 9000 of 9000 are NaN or infinite, or beyond"):
            audio.read(tmp_path / "huge.wav", target)


def test_a_rate_that_is_no_music_is_refused_before_it_fills_the_memory(tmp_path):
    soundfile.write(tmp_path / "slow.wav", music(5), 3)
    with pytest.raises(ValueError, match=r"slow\.wav', whose header says 3, at sample_rate=16000"):
        audio.read(tmp_path / "slow.wav", RATE)
    assert audio.read(tmp_path / "slow.wav", 3).size == 5 * RATE


@pytest.mark.parametrize(
    "bad", [{"sample_rate": 10**9}, {"sample_rate": 2**31}, {"block_size": 10**11}, {"block_size": 2**40}]
)
def test_huge_rates_and_blocks_are_refused(tmp_path, bad):
    audio.write(tmp_path / "a.wav", music(0.1), RATE)
    with pytest.raises(ValueError, match=f"`{next(iter(bad))}` must be at most"):
        audio.stream(tmp_path / "a.wav", **{"sample_rate": RATE, **bad})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(ValueError, match=r"regular file. Received: .*pipe\.wav"):
        audio.read(tmp_path / "pipe.wav", RATE)


# --- what can be written ----------------------------------------------------------------------------------------------

LOSSLESS = {"PCM_16": 16, "PCM_24": 24, "PCM_32": 24, "FLOAT": 24, "DOUBLE": 24, "ALAC_16": 16, "ALAC_20": 20}
OFFERED = sorted(
    {(each.kind, subtype, suffix) for suffix, each in _writing._FORMATS.items() for subtype in each.subtypes}
)


@pytest.mark.parametrize(("kind", "subtype", "suffix"), OFFERED)
def test_all_that_is_offered_can_be_read_back(tmp_path, kind, subtype, suffix):
    pcm = np.round(music(0.3) * 32768).astype("int16")
    rate = RATE
    audio.write(tmp_path / f"a{suffix}", pcm, rate, subtype)
    info = soundfile.info(tmp_path / f"a{suffix}")
    assert (info.samplerate, info.frames) == (rate, pcm.size)
    back = audio.read(tmp_path / f"a{suffix}", rate) * 32768
    if subtype in LOSSLESS or subtype == "ALAC_24":
        np.testing.assert_array_equal(back, pcm)
    else:
        assert np.corrcoef(back, pcm)[0, 1] > 0.97
        assert np.abs(back - pcm).max() < 0.1 * 32768


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.caf", "ALAC_32"), ("a.xi", None), ("a.voc", None), ("a.sd2", None), ("a.wav", "IMA_ADPCM"), ("a.mat", None)],
)
def test_what_cannot_be_read_back_is_not_offered(tmp_path, name, subtype):
    with pytest.raises(ValueError, match="must"):
        audio.write(tmp_path / name, music(0.1), RATE, subtype)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "rate", "says"),
    [
        ("a.ogg", 384_000, "at most 200000"),
        ("a.ogg", 200_001, "at most 200000"),
        ("a.opus", 44_100, "one of 8000, 12000, 16000, 24000, 48000"),
        ("a.mp3", 96_000, "one of 8000, .*, 48000"),
        ("a.flac", 65_537, "up to 65535, or a multiple of 10"),
        ("a.flac", 655_360, "up to 65535, or a multiple of 10"),
        *((f"a.{suffix}", 2**31, "at most 1000000") for suffix in SNDFILE),
        ("a.wav", 0, "positive integer"),
    ],
)
def test_a_rate_that_a_format_cannot_hold_is_refused_before_the_codec_sees_it(tmp_path, name, rate, says):
    with pytest.raises(ValueError, match=f"`sample_rate`.*{says}.*Received: sample_rate={rate}"):
        audio.write(tmp_path / name, music(0.1), rate)
    assert not list(tmp_path.iterdir())


def test_rates_at_the_limits_are_written(tmp_path):
    for name, rate in (("a.ogg", 200_000), ("a.flac", 655_350), ("a.flac", 65_535), ("a.wav", 1_000_000)):
        audio.write(tmp_path / name, music(0.05), rate)
        assert audio.read(tmp_path / name, rate).size == music(0.05).size


def test_more_than_a_header_can_tell_is_refused():
    size = 2**31
    with pytest.raises(ValueError, match=r"less than 4 GiB. Received: 2147483648 samples.*\.w64"):
        _writing.checked(Path("a.wav"), None, RATE, size)
    assert _writing.checked(Path("a.w64"), None, RATE, size) == ("W64", "PCM_16")
    assert _writing.checked(Path("a.wav"), None, RATE, size - 4096) == ("WAV", "PCM_16")
    with pytest.raises(ValueError, match="less than 4 GiB"):
        _writing.checked(Path("a.wav"), "FLOAT", RATE, 2**30)


def test_the_process_survives_a_rate_that_the_codec_does_not(tmp_path):
    """In a process of its own: libsndfile ends it otherwise."""
    code = (
        "import sys, numpy as np; from gruvlike import audio\n"
        "try: audio.write(sys.argv[1], np.zeros(2000, 'float32'), 384_000)\n"
        "except ValueError: print('refused')"
    )
    result = subprocess.run([sys.executable, "-c", code, tmp_path / "a.ogg"], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "refused\n")


def test_a_tag_of_any_length_does_not_hide_damage(sounds, tmp_path):
    data = (sounds[0] / "s.wav").read_bytes()
    (tmp_path / "s.wav").write_bytes(ID3 + data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"promises 6\.00 s, 3\.00 s are there"):
        audio.read(tmp_path / "s.wav", RATE)
