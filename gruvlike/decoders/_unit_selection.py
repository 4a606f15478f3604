"""Real sound in place of a rebuilt one: for each few frames, the passage of music that is nearest to them."""

from collections.abc import Iterable, Iterator

import numpy as np

from gruvlike import _checks
from gruvlike._contracts import AnyMusic
from gruvlike.decoders._decoder import Decoder
from gruvlike.decoders._grains import GrainEncoder, cut_grains
from gruvlike.decoders._pieces import short
from gruvlike.decoders._voice import Chooser, Follower, Voice

LONGEST = 256  # frames that get their grains at once: more of them would only take more memory


class UnitSelection(Decoder):
    """An overlap-add of real sound: each few frames are replaced by a grain of music with nearly the same spectrum.

    Grains are found by the principal components of their frames. Of the nearest ones, and of the grain that goes on
    from the one before, the one is taken whose frames are near and whose beginning is like the end of the grain before.
    Grains fade into each other where their waveforms agree. At last the loudness in 16 bands is drawn to that of the
    frames, so that the song keeps its own dynamics.

    Phases and fine structure are those of recorded sound: frames that a network has predicted sound clearer than by
    `GriffinLim`. Frames of real music lose more than by `GriffinLim`: they come back as a collage. The sound does not
    depend on how frames are cut into pieces; it comes about two grains late.

    Args:
        encoder: A `LogSpectrum` without mels.
        music: The music that grains are taken from: a `Corpus`, samples, or several tracks, at the encoder's rate.
        grain: Frames from grain to grain.
        neighbors: How many of the nearest grains are weighed against each other.
        continuity: The weight of a join that fits, against that of frames that fit.
        follow: How much of the difference in loudness is corrected, from 0 to 1.
        limit: Of grains, a bound of memory and time: of more music, evenly spread excerpts are used.

    Raises:
        ValueError: If an argument is out of its range, or no track is as long as a few grains.

    Example:
        >>> import numpy as np, gruvlike as gl
        >>> encoder = gl.LogSpectrum(frame_size=64)
        >>> music = np.sin(np.arange(4000) / 9).astype("float32")
        >>> decoder = gl.decoders.UnitSelection(encoder, music)
        >>> frames = encoder.encode(music[:800])
        >>> sound = np.concatenate(list(decoder.stream([frames[:20], frames[20:]])))
        >>> len(sound) == len(frames) * encoder.hop - encoder.lap
        True

    References:
        Hunt and Black, "Unit Selection in a Concatenative Speech Synthesis System", ICASSP 1996.
        Verhelst and Roelands, "An Overlap-Add Technique Based on Waveform Similarity", ICASSP 1993 (the joins).
        Schwarz, "Corpus-Based Concatenative Synthesis", IEEE Signal Processing Magazine 24, 2007.
    """

    def __init__(
        self,
        encoder: GrainEncoder,
        music: AnyMusic,
        grain: int = 4,
        neighbors: int = 64,
        continuity: float = 0.3,
        follow: float = 1.0,
        limit: int = 65_536,
    ):
        features = getattr(encoder, "features", 0)
        if not isinstance(encoder, GrainEncoder) or features != encoder.frame_size // 2 + 1:
            raise ValueError(
                "Grains are found by the magnitudes of a `LogSpectrum` without mels. Received: an encoder "
                f"{type(encoder).__name__} of {features} features. Use its own decoder."
            )
        super().__init__(context=-(-encoder.lap // encoder.hop))
        self.encoder = encoder
        self.grain = _checks.positive_int("grain", grain)
        self.neighbors = _checks.positive_int("neighbors", neighbors)
        self.continuity = _checks.number("continuity", continuity, 0.0)
        self.follow = _checks.number("follow", follow, 0.0, 1.0)
        self.limit = _checks.positive_int("limit", limit)
        grains = cut_grains(encoder, music, self.grain, self.limit)
        self._chooser = Chooser(encoder, grains, self.grain, self.neighbors, self.continuity)
        self._follower = Follower(encoder, self.follow)

    def stream(self, pieces: Iterable[np.ndarray], seed: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Yields the sound of frames that arrive in pieces, in constant memory; joined, it does not depend on them.

        Args:
            pieces: Frames (T, F) or (B, T, F), that together are consecutive frames.
            seed: Samples (S,) or (B, S) under the first `context` frames, where they are known: the first grain fades
                out of them.

        Yields:
            Float32 samples (S,) or (B, S).
        """
        voices: list[Voice] = []
        single = False
        for piece in short(pieces, LONGEST):
            single = piece.ndim == 2
            piece = piece[None] if single else piece
            if not voices:
                known = [None] * len(piece) if seed is None else np.atleast_2d(seed)
                voices = [Voice(self._chooser, self._follower, self.context, one) for one in known]
            sound = np.stack([voice.add(clip) for voice, clip in zip(voices, piece, strict=True)])
            if sound.shape[1]:
                yield sound[0] if single else sound
        sound = np.stack([voice.end() for voice in voices]) if voices else np.zeros((0, 0), "float32")
        if sound.size:
            yield sound[0] if single else sound
