"""Files that players play are read, whatever their name, their header or what stands around the sound says."""

import logging
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
    assert not caplog.records


def test_chunks_behind_a_wav_are_no_sound(sounds, changed, caplog):
    chunk = b"LIST" + struct.pack("<I", 4000) + bytes(range(200)) * 20
    path = changed("s.wav", lambda data: data + chunk)
    assert audio.read(path, RATE).size == 3 * RATE
    assert not caplog.records


SIZES = {  # where the length of the sound stands, and how
    "s.wav": (40, "<I"),
    "s.au": (8, ">I"),
    "s.w64": (96, "<Q"),
    "s.rf64": (28, "<Q"),
}


def with_size(name, change):
    """Returns a function that changes the length in the header of a file."""

    def make(data):
        at, form = SIZES.get(name, (data.find(b"SSND") + 4, ">I"))
        (size,) = struct.unpack_from(form, data, at)
        return data[:at] + struct.pack(form, max(change(size), 0)) + data[at + struct.calcsize(form) :]

    return make


@pytest.mark.parametrize("name", [*SIZES, "s.aiff"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda size: size // 3 & ~7, True),
        (lambda size: 24 if size % 8 == 0 and size > 2 * 48_000 + 20 else 8, True),
        (lambda size: size + 8, True),
        (lambda size: 2**63 - 1 if size > 96_000 + 8 else size, None),
    ],
    ids=["small", "tiny", "large", "untouched"],
)
def test_a_wrong_length_in_a_header(sounds, changed, name, change, says, caplog):
    if says is None:
        pytest.skip("a control: nothing is changed")
    path = changed(name, with_size(name, change))
    np.testing.assert_array_equal(audio.read(path, RATE), sounds[1]["s.wav"])
    assert any(
        name in record.getMessage() and "; 3.00 s are there, and are read" in record.getMessage()
        for record in caplog.records
    )
