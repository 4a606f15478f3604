"""Sound files of many formats for tests, all synthesized."""

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np

RATE = 16_000
TAG = b"TAG" + b"Title".ljust(125, b"\0")  # ID3v1, behind the sound
ID3 = b"ID3\x04\0\0\0\0\x02\x00" + bytes(256)  # ID3v2, in front of it
APE_TAG = b"APETAGEX" + struct.pack("<4I8x", 2000, 32, 0, 0)
SNDFILE = ("wav", "w64", "rf64", "aiff", "au", "caf", "flac", "ogg", "opus", "mp3")
CODECS = {  # name: codec, container, rate. The codecs that PyAV brings along.
    "s.m4a": ("aac", "ipod", RATE),
    "s.aac": ("aac", "adts", RATE),
    "s.webm": ("libopus", "webm", 48_000),
    "s.mkv": ("aac", "matroska", RATE),
    "s.mov": ("pcm_s16le", "mov", RATE),
    "s.3gp": ("aac", "3gp", RATE),
    "s.wma": ("wmav2", "asf", 44_100),
    "s.wv": ("wavpack", "wv", RATE),
    "s.tta": ("tta", "tta", RATE),
    "s.ac3": ("ac3", "ac3", 48_000),
    "s.mp2": ("mp2", "mp2", RATE),
    "s.avi": ("libmp3lame", "avi", RATE),
    "s.ts": ("aac", "mpegts", RATE),
    "s.amr": ("libopencore_amrnb", "amr", 8000),
    "mp3.wav": ("libmp3lame", "wav", RATE),
    "ac3.wav": ("ac3", "wav", 48_000),
    "adpcm.wav": ("adpcm_ms", "wav", RATE),
}


def music(seconds: float = 3.0, rate: int = RATE) -> np.ndarray:
    """Returns a tone of 220 Hz that rises and falls, with a little noise: float32 samples (S,)."""
    t = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(t.size)
    return ((0.3 + 0.1 * np.sin(4 * np.pi * t)) * np.sin(440 * np.pi * t) + 0.02 * noise).astype("float32")


def encode(
    path: Path,
    codec: str,
    container: str,
    rate: int,
    channels: int = 1,
    seconds: float = 3.0,
    without: range = range(0),
) -> None:
    """Writes `music` by PyAV, in a codec and container that libsndfile does not write.

    Args:
        path: The file.
        codec: The name of the codec.
        container: The name of the format.
        rate: Samples per second.
        channels: How many channels have the same samples.
        seconds: The length.
        without: The numbers of packets that are left out.
    """
    import av

    layout = "stereo" if channels == 2 else "mono"
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 12_200 if container == "amr" else 96_000
        frame = av.AudioFrame.from_ndarray(np.stack([music(seconds, rate)] * channels), "fltp", layout)
        frame.sample_rate, frame.pts = rate, 0
        size = stream.codec_context.frame_size or 1024
        cut = av.AudioResampler(stream.format, layout, rate, frame_size=size)
        packets, done = [], 0
        for piece in [*cut.resample(frame), *cut.resample(None)]:
            piece.pts, piece.time_base = done, Fraction(1, rate)
            packets += stream.encode(piece)
            done += piece.samples
        packets += stream.encode(None)
        out.mux([packet for number, packet in enumerate(packets) if number not in without])
