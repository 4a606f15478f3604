"""Encoders against numpy, scipy, librosa and the formulas in the books."""

import librosa
import numpy as np
import pytest
import scipy.fft

import gruvlike as gl
from gruvlike.encoders import _mdct

pytestmark = pytest.mark.backends


@pytest.fixture
def noise(rng):
    return rng.normal(size=4000).astype("float32")


@pytest.mark.parametrize("size", [1, 2, 3, 10, 250])
def test_block_dft_is_the_transform_of_each_block(size, noise):
    spectra = np.fft.fft(np.pad(noise, (0, -len(noise) % size)).reshape(-1, size))
    expected = np.concatenate([spectra.real, spectra.imag], axis=1)
    np.testing.assert_allclose(gl.BlockDFT(size).encode(noise), expected, atol=2e-5)


def test_block_dft_gives_the_published_numbers():
    """The `frames` case of the 2015 program: 45 samples, blocks of 10, the last of 5 frames."""
    t = np.arange(45) / 8000
    x = (0.5 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.cos(2 * np.pi * 1000 * t)).astype("float32")
    real = [2.056102, 0.972682, 0.173022, 0.312896, 0.237748, 0.306485, 0.237748, 0.312896, 0.173022, 0.972682]
    imag = [0, -1.1497, -0.502927, -0.224381, -0.099819, 0, 0.099819, 0.224381, 0.502927, 1.1497]
    frames = gl.BlockDFT(10).encode(x)
    assert frames.shape == (5, 20)
    np.testing.assert_allclose(frames[-1], real + imag, atol=2e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 11])
def test_block_dft_decodes_any_numbers_as_2015(size, rng):
    frames = rng.normal(size=(5, 2 * size)).astype("float32")
    expected = np.fft.ifft(frames[:, :size] + 1j * frames[:, size:]).real.ravel()
    np.testing.assert_allclose(gl.BlockDFT(size).decode(frames), expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 11])
def test_half_dft_holds_the_numbers_of_block_dft(size, noise):
    full = gl.BlockDFT(size).encode(noise)
    kept = [*range(size // 2 + 1), *range(size + 1, size + (size + 1) // 2)]
    np.testing.assert_array_equal(gl.HalfDFT(size).encode(noise), full[:, kept])
    dropped = sorted(set(range(size, 2 * size)) - {*kept, *(3 * size - k for k in kept if k > size)})
    np.testing.assert_array_equal(full[:, dropped], 0)  # imaginary parts of 0 and of the highest frequency


def test_energies_agree_with_parseval(noise):
    blocks = noise.reshape(-1, 10)
    energy = np.sum(blocks.astype("float64") ** 2, axis=1)
    np.testing.assert_allclose(np.sum(gl.BlockDFT(10).encode(noise) ** 2, axis=1) / 10, energy, rtol=1e-5)
    weights = np.array([1, 2, 2, 2, 2, 1, 2, 2, 2, 2]) / 10
    np.testing.assert_allclose(gl.HalfDFT(10).encode(noise) ** 2 @ weights, energy, rtol=1e-5)
    for window in ("sine", "kbd", "vorbis"):
        frames = gl.MDCT(16, window).encode(noise)
        np.testing.assert_allclose(np.sum(frames.astype("float64") ** 2), energy.sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("size", "hop", "window"), [(64, 16, "hann"), (64, 32, "hamming"), (63, 20, "hann"), (64, 24, ("kaiser", 6.0))]
)
def test_stft_agrees_with_librosa(size, hop, window, noise):
    encoder = gl.STFT(size, hop, window)
    theirs = librosa.stft(noise, n_fft=size, hop_length=hop, window=window, center=False)
    frames = encoder.encode(noise, padded=False)
    half = size // 2 + 1
    np.testing.assert_allclose(frames[:, :half], theirs.real.T, atol=2e-5)
    np.testing.assert_allclose(frames[:, half:], theirs.imag.T[:, 1 : (size + 1) // 2], atol=2e-5)
    # Changed frames are no longer those of any sound: both must choose the same least-squares sound.
    gains = np.linspace(2, 0, len(frames)).astype("float32")
    y = librosa.istft(theirs * gains, n_fft=size, hop_length=hop, window=window, center=False)
    inner = slice(encoder.lap, len(frames) * hop)
    np.testing.assert_allclose(encoder.decode(frames * gains[:, None]), y[inner], atol=1e-5)


def test_stft_without_overlap_is_the_half_dft(noise):
    np.testing.assert_array_equal(gl.STFT(10, 10, "boxcar").encode(noise), gl.HalfDFT(10).encode(noise))


@pytest.mark.parametrize(("size", "hop", "window"), [(64, 64, "hann"), (64, 63, "hann"), (64, 60, "blackman")])
def test_stft_refuses_windows_that_lose_samples(size, hop, window):
    with pytest.raises(ValueError, match=rf"must not sum to \(nearly\) zero.*hop={hop}.*smaller hop"):
        gl.STFT(size, hop, window)


def test_stft_refuses_gaps_and_unknown_windows():
    with pytest.raises(ValueError, match="hop=65, frame_size=64"):
        gl.STFT(64, 65, "boxcar")
    with pytest.raises(ValueError, match="window='hat'"):
        gl.STFT(64, 32, "hat")


@pytest.mark.parametrize("size", [2, 10, 64, _mdct.LARGEST_MATRIX + 2])
@pytest.mark.parametrize("window", ["sine", "kbd", "vorbis"])
def test_mdct_is_its_formula(size, window, rng):
    encoder = gl.MDCT(size, window)
    x = rng.normal(size=encoder.span(3)).astype("float32")
    n, k = np.arange(2 * size), np.arange(size)[:, None]
    basis = np.sqrt(2 / size) * np.cos(np.pi / size * (n + (size + 1) / 2) * (k + 0.5))
    expected = [basis @ (encoder._window * x[t * size : (t + 2) * size]) for t in range(3)]
    np.testing.assert_allclose(encoder.encode(x, padded=False), expected, atol=1e-5)


@pytest.mark.parametrize("window", ["sine", "kbd", "vorbis"])
def test_mdct_windows_keep_the_power(window):
    w = gl.MDCT(32, window)._window.astype("float64")
    np.testing.assert_allclose(w[:32] ** 2 + w[32:] ** 2, 1, atol=1e-6)
    np.testing.assert_allclose(w, w[::-1], atol=1e-7)


@pytest.mark.parametrize("size", [2, 64, 1000])
def test_both_cosine_transforms_are_scipys(size, rng):
    from gruvlike.encoders._base import HOST

    x = rng.normal(size=(3, size)).astype("float32")
    expected = scipy.fft.dct(x.astype("float64"), type=4, norm="ortho")
    np.testing.assert_allclose(_mdct._matrix_dct(x, HOST), expected, atol=1e-5)
    np.testing.assert_allclose(_mdct._fast_dct(x, HOST), expected, atol=1e-5)


def test_mdct_refuses_odd_blocks_and_unknown_windows():
    with pytest.raises(ValueError, match=r"even.*block_size=9"):
        gl.MDCT(9)
    with pytest.raises(ValueError, match=r"'sine', 'kbd', 'vorbis'.*'hann'"):
        gl.MDCT(8, "hann")


def test_lapped_frames_join_without_a_tick_and_blocks_do_not(rng):
    """A network's error is noise on the frames: at block seams it jumps, under a lap it fades in and out."""
    x = np.sin(np.arange(64 * 400) / 9).astype("float32") / 2

    def jump(encoder):
        frames = encoder.encode(x)
        # An error that is a slow change of gain from frame to frame, as of a network that is slightly off.
        frames = frames * (1 + 0.3 * rng.normal(size=(len(frames), 1)).astype("float32"))
        steps = np.abs(np.diff(encoder.decode(frames)[: 64 * 399], append=0).reshape(-1, 64))
        return np.median(steps[:, -1]) / np.median(steps[:, 10:54])

    for lapped in (gl.STFT(128, 64), gl.MDCT(64)):
        assert jump(lapped) < 1.3
    assert jump(gl.HalfDFT(64)) > 1.5
