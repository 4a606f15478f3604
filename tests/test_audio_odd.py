"""Files that players play are read, whatever their name, their header or what stands around the sound says."""

import struct
import sys

import numpy as np
import pytest
import soundfile
from _sounds import APE_TAG, CODECS, ID3, RATE, SNDFILE, TAG, encode, music

from gruvlike import audio
from gruvlike.audio import _containers, _pyav, _readers, _sndfile, _structure
from gruvlike.audio._sound import FaultError


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """A folder with 3 s of `music` in many formats, and what `audio.read` makes of each: {name: samples}."""
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("sounds")
    for suffix in SNDFILE:
        audio.write(folder / f"s.{suffix}", music(), RATE)
    for name, codec in CODECS.items():
        encode(folder / name, *codec)
    return folder, {path.name: audio.read(path, RATE) for path in sorted(folder.iterdir())}


NAMES = [*(f"s.{suffix}" for suffix in SNDFILE), *CODECS]


@pytest.fixture
def changed(sounds, tmp_path):
    """Returns a function that writes a changed copy of a sound, under another name if one is given."""

    def make(name, change, new=None):
        path = tmp_path / (new or name)
        path.write_bytes(change((sounds[0] / name).read_bytes()))
        return path

    return make


@pytest.mark.parametrize("name", NAMES)
def test_each_format_is_read_whole_and_without_a_word(sounds, name, caplog):
    samples = audio.read(sounds[0] / name, RATE)
    assert abs(samples.size / RATE - 3) < 0.1
    middle = samples[RATE : 2 * RATE]
    assert np.abs(np.fft.rfft(middle)).argmax() == 220
    assert not caplog.records


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "flac", "vox", "gsm", "txt", "wma", ""])
@pytest.mark.parametrize("name", ["s.m4a", "s.webm", "s.mp3", "s.flac", "s.aac", "s.wv"])
def test_the_content_counts_and_not_the_suffix(sounds, changed, name, suffix):
    path = changed(name, bytes, f"wrong.{suffix}")
    np.testing.assert_array_equal(audio.read(path, RATE), sounds[1][name])


@pytest.mark.parametrize("front", [bytes(5000), bytes(3), ID3, ID3 + bytes(700)], ids=["zeros", "three", "id3", "both"])
@pytest.mark.parametrize("name", NAMES)
def test_zeros_and_tags_in_front_of_a_sound(sounds, changed, name, front, caplog):
    path = changed(name, lambda data: front + data)
    assert audio.read(path, RATE).size == sounds[1][name].size
    assert not caplog.records


@pytest.mark.parametrize("junk", [b"x", b"\xff\xfejunk" * 20])
def test_an_mp3_behind_other_bytes(sounds, changed, junk):
    path = changed("s.mp3", lambda data: junk + data)
    assert abs(audio.read(path, RATE).size - sounds[1]["s.mp3"].size) < 1500


@pytest.mark.parametrize(
    "rest", [TAG, bytes(1), bytes(50_000), APE_TAG, APE_TAG + TAG], ids=["id3v1", "zero", "zeros", "ape", "tags"]
)
@pytest.mark.parametrize("name", NAMES)
def test_tags_and_zeros_behind_a_sound(sounds, changed, name, rest, caplog):
    path = changed(name, lambda data: data + rest)
    assert audio.read(path, RATE).size == sounds[1][name].size
    doubted = len(rest) > 1000 and name in ("s.aac", "s.ac3", "s.mp2")  # no length: a download may have stopped there
    assert ("zeros follow: is it cut off?" in caplog.text) == doubted
    assert len(caplog.records) == doubted


def test_chunks_behind_a_wav_are_no_sound(sounds, changed, caplog):
    chunk = b"LIST" + struct.pack("<I", 4000) + bytes(range(200)) * 20
    path = changed("s.wav", lambda data: data + chunk)
    assert audio.read(path, RATE).size == 3 * RATE
    assert not caplog.records


def lengths_of(name, data):
    """Returns where the length of the sound stands in a file, and how."""
    at, form = {"s.wav": (40, "<I"), "s.au": (8, ">I"), "s.w64": (96, "<Q"), "s.rf64": (28, "<Q")}.get(name, (0, ">I"))
    return (at, form) if at else (data.find(b"SSND") + 4, form)


@pytest.mark.parametrize("name", ["s.wav", "s.au", "s.w64", "s.rf64", "s.aiff"])
@pytest.mark.parametrize("length", [8, 3008, 32_032, 96_040], ids=["tiny", "small", "third", "large"])
def test_a_wrong_length_in_a_header_is_told_and_the_sound_is_read(sounds, changed, name, length, caplog):
    def shortened(data):
        at, form = lengths_of(name, data)
        return data[:at] + struct.pack(form, length) + data[at + struct.calcsize(form) :]

    path = changed(name, shortened)
    np.testing.assert_array_equal(audio.read(path, RATE), sounds[1]["s.wav"])
    (text,) = (record.getMessage() for record in caplog.records)
    assert name in text
    assert "; 3.00 s are there, and are read" in text


@pytest.mark.parametrize("length", [0, 2**32 - 1, 0x7FFFFFFF, 0x7FFFF000])
@pytest.mark.parametrize("name", ["s.wav", "s.au", "s.aiff"])
def test_a_length_that_was_never_written(sounds, changed, name, length):
    def unwritten(data):
        at, form = lengths_of(name, data)
        return data[:at] + struct.pack(form, length) + data[at + 4 :]

    np.testing.assert_array_equal(audio.read(changed(name, unwritten), RATE), sounds[1]["s.wav"])


def test_a_wav_of_more_than_the_header_can_tell_is_read_in_parts(sounds, changed, monkeypatch, caplog):
    monkeypatch.setattr(_containers, "_MOST_32", 50_000)
    monkeypatch.setattr(_containers, "_SEGMENT", 20_001)
    path = changed("s.wav", lambda data: data[:40] + struct.pack("<I", 96_000 - 65_536) + data[44:])
    assert len(_structure.look(path).parts) == 5
    np.testing.assert_array_equal(audio.read(path, RATE), sounds[1]["s.wav"])
    assert "promises 0.95 s; 3.00 s are there" in caplog.text


@pytest.mark.parametrize("total", [0, 8000, 47_999])
def test_a_wrong_length_in_a_flac_header(sounds, changed, total, caplog):
    def shortened(data):
        field = int.from_bytes(data[21:26], "big") & ~0xFFFFFFFFF | total
        return data[:21] + field.to_bytes(5, "big") + data[26:]

    for front in (b"", ID3):
        path = changed("s.flac", lambda data, front=front: front + shortened(data))
        np.testing.assert_array_equal(audio.read(path, RATE), sounds[1]["s.flac"])
    assert ("3.00 s are there, and are read" in caplog.text) == (total > 0)


@pytest.mark.parametrize("name", ["s.wav", "s.rf64", "s.aiff", "s.flac", "s.ogg", "s.opus", "s.mp3", "s.aac", "s.ac3"])
def test_files_end_to_end(sounds, changed, name):
    twice = audio.read(changed(name, lambda data: data + data), RATE)
    once = sounds[1][name]
    assert abs(twice.size - 2 * once.size) < 4096
    np.testing.assert_array_equal(twice[: RATE * 2], once[: RATE * 2])
    assert np.abs(np.fft.rfft(twice[-2 * RATE : -RATE])).argmax() == 220


@pytest.mark.parametrize("kind", ["aac", "ogg", "mp3"])
def test_a_rate_that_changes_in_a_file_is_resampled(tmp_path, kind):
    """At the rate of the first part, the tone of the second part would be another one."""
    pytest.importorskip("av")
    parts = []
    for rate, channels in ((44_100, 1), (48_000, 2)):
        path = tmp_path / f"{rate}.{kind}"
        if kind == "aac":
            encode(path, "aac", "adts", rate, channels)
        else:
            soundfile.write(path, np.stack([music(3, rate)] * channels, axis=1), rate)
        parts.append(path.read_bytes())
    (tmp_path / f"radio.{kind}").write_bytes(b"".join(parts))
    samples = audio.read(tmp_path / f"radio.{kind}", RATE)
    assert abs(samples.size / RATE - 6) < 0.3
    for start in (1, 4):
        assert np.abs(np.fft.rfft(samples[start * RATE : (start + 1) * RATE])).argmax() == 220


def test_a_recorded_radio_stream_begins_in_the_middle(sounds, changed, caplog):
    """The header pages come first, then the pages from where the radio was, and no page with the mark of an end."""

    def recorded(data):
        pages = [b"OggS" + page for page in data.split(b"OggS")[1:]]
        return b"".join([*pages[:2], *pages[3:-1]])

    path = changed("s.ogg", recorded)
    samples = audio.read(path, RATE)
    assert 0.5 * RATE < samples.size < 3 * RATE
    assert "without the mark of an end" in caplog.text


def test_more_than_eight_channels_that_come_apart(tmp_path):
    """PyAV reads behind its list of channels here, which ended the process for some files."""
    av = pytest.importorskip("av")
    layout = "hexadecagonal"
    with av.open(str(tmp_path / "a.wv"), "w") as out:
        stream = out.add_stream("wavpack", rate=RATE, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.repeat(music(0.5), 16)[None], "flt", layout)
        frame.sample_rate, frame.pts = RATE, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    np.testing.assert_allclose(audio.read(tmp_path / "a.wv", RATE), music(0.5), atol=1 / 127)


# --- one place for what readers raise ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [RuntimeError("odd"), KeyError("x"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "odd"), MemoryError()]
)
def test_whatever_readers_raise_the_error_names_the_file_and_both_reasons(sounds, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(_sndfile, "chunks", fail)
    assert audio.read(sounds[0] / "s.wav", RATE).size == 3 * RATE  # by PyAV
    monkeypatch.setattr(_pyav, "chunks", fail)
    with pytest.raises(ValueError, match=rf"s\.wav.*libsndfile: {type(error).__name__}.*PyAV: {type(error).__name__}"):
        audio.read(sounds[0] / "s.wav", RATE)
    monkeypatch.setattr(_structure, "look", fail)
    with pytest.raises(ValueError, match=rf"s\.wav.*its structure: {type(error).__name__}"):
        audio.read(sounds[0] / "s.wav", RATE)


def test_an_error_of_the_system_names_the_file(sounds, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(_structure, "look", fail)
    with pytest.raises(OSError, match=r"Input/output error.*s\.wav"):
        audio.read(sounds[0] / "s.wav", RATE)


def test_pyav_goes_on_where_libsndfile_stops(sounds, monkeypatch):
    whole = _sndfile.chunks

    def half(source, wanted, **_):
        for rate, block in whole(source, wanted):
            yield _readers.Chunk(rate, block[: len(block) // 2])
        raise FaultError("enough", at=1.5, promised=3.0)

    monkeypatch.setattr(_sndfile, "chunks", half)
    for name in ("s.wav", "s.flac"):
        np.testing.assert_allclose(audio.read(sounds[0] / name, RATE), sounds[1][name], atol=1e-6)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"s\.wav', which breaks off after 1\.50 s: libsndfile: enough"):
        audio.read(sounds[0] / "s.wav", RATE)


def test_text_that_names_other_files_opens_none_of_them(sounds, tmp_path, monkeypatch):
    """FFmpeg takes a playlist for sound, and opens the files that it names."""
    monkeypatch.chdir(sounds[0])
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{sounds[0] / 's.ts'}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nfile://{sounds[0] / 's.ts'}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{sounds[0] / 's.wav'}'\n",
        "ffconcat version 1.0\nfile 's.wav'\n",
    ):
        for name in ("list.m3u8", "list.mp3"):
            (tmp_path / name).write_text(text)
            with pytest.raises(ValueError, match=name):
                audio.read(tmp_path / name, RATE)
