"""Styles: each window of training has the label of its track, and a song the labels that are asked for."""

from dataclasses import dataclass

import numpy as np
import pytest
from _parts import Piece, Pieces
from keras import ops

import gruvlike as gl
from gruvlike.conditions import Meter, Style, Supply, conditions_of

pytestmark = pytest.mark.backends

RATE, HOP = 8000, 40
METER = Meter(10.0, 0.0)


@dataclass
class FromFile(Piece):
    source: str = ""


@pytest.fixture
def music(rng):
    """Two kinds of music: low tones and noise."""
    low = 8000 * np.sin(np.arange(9000) / 6)
    noise = 8000 * rng.standard_normal(7001)
    tracks = (("a.wav", "music/low/a.wav", low), ("b.wav", "music/noise/b.wav", noise))
    return Pieces([FromFile(name, pcm.astype("int16"), RATE, source) for name, source, pcm in tracks])


@pytest.fixture
def encoder():
    return gl.MDCT(HOP)


def make_model(music, encoder, units=(12,), head=None, **options):
    normalizer = gl.Standardizer().fit(music, encoder)
    head = head or gl.heads.Mixture(components=2)
    style = options.pop("style", None) or Style.of(music, size=4, random_seed=0)
    stack = gl.recurrent_stack(
        normalizer.width, cell="gru", units=units, head=head, style=style, random_seed=0, **options
    )
    model = gl.AudioModel(encoder, normalizer, stack, sample_rate=RATE, head=head)
    model.compile("adam")
    return model


def windows_of(music, encoder, **options):
    return gl.Windows(music, span=encoder.span(9), hop=8 * HOP, batch_size=4, **options)


# --- labels


def test_labels_of_music(music):
    assert Style.of(music).labels == ("low", "noise")
    assert Style.of(music, by="track").labels == ("a.wav", "b.wav")
    assert Style.of(music, by={"a.wav": "x", "b.wav": "x"}).labels == ("x",)
    with pytest.raises(ValueError, match=r"Received: 'b.wav', without one in `by`"):
        Style.of(music, by={"a.wav": "x"})
    with pytest.raises(ValueError, match=r"A style by folder needs tracks of a corpus. Received: 'own'"):
        Style.of([Piece("own", np.zeros(9, "int16"))])
    with pytest.raises(ValueError, match="`by` must be one of 'folder', 'track'"):
        Style(("a",), by="year")
    for labels in ((), ("a", "a"), "jazz"):
        with pytest.raises(ValueError, match="one or more labels, each once"):
            Style(labels)


def test_blends_of_labels():
    style = Style(("jazz", "pop", "rock"))
    np.testing.assert_allclose(style.blend("pop"), [0, 1, 0])
    np.testing.assert_allclose(style.blend({"rock": 3, "jazz": 1}), [0.25, 0, 0.75])
    np.testing.assert_allclose(style.blend(None), [1 / 3] * 3)
    with pytest.raises(ValueError, match=r"must be one of 'jazz', 'pop', 'rock'. Received: style='rok'.*mean 'rock'"):
        style.blend({"rok": 1})
    with pytest.raises(ValueError, match="`style` must be a finite number"):
        style.blend({"rock": -1, "jazz": 2})
    with pytest.raises(ValueError, match="that do not all equal 0"):
        style.blend({"rock": 0})


@pytest.mark.parametrize(
    "given", [3, ["jazz"], ("jazz", "rock"), [(0, "jazz"), 3], [(0, 3)], {}, "", [(0, "a", 1)], [0]]
)
def test_no_style(given):
    style = Style(("jazz", "rock"))
    with pytest.raises(ValueError, match="`style` must be a label, weights by label, or pairs of a second"):
        style.along(given, frame_rate=10.0)


def test_a_style_changes_evenly_along_a_song():
    path = Style(("jazz", "rock")).along([(1, "jazz"), (3, {"rock": 1})], frame_rate=10.0)
    np.testing.assert_allclose(path.at(np.array([-5, 10, 15, 20, 30, 99]), METER)[:, 1], [0, 0, 0.25, 0.5, 1, 1])
    with pytest.raises(ValueError, match="seconds of `style` must rise"):
        Style(("jazz",)).along([(3, "jazz"), (1, "jazz")], frame_rate=10.0)
    with pytest.raises(ValueError, match="seconds of `style` must rise"):
        Style(("jazz",)).along([], frame_rate=10.0)


def test_the_vector_of_a_blend_is_the_blend_of_vectors():
    style = Style(("jazz", "rock"), size=3, random_seed=1)
    jazz, rock, half = (
        ops.convert_to_numpy(style(style.blend(one)[None, None]))[0, 0]
        for one in ("jazz", "rock", {"jazz": 1, "rock": 1})
    )
    np.testing.assert_allclose(half, (jazz + rock) / 2, atol=1e-6)
    assert np.abs(jazz - rock).max() > 0.1
    np.testing.assert_array_equal(style.vectors, Style(("jazz", "rock"), size=3, random_seed=1).vectors)


# --- training


def test_each_window_has_the_label_of_its_track(music, encoder):
    style = Style.of(music)
    windows = windows_of(music, encoder)
    windows.supply = Supply((style,), encoder)
    for index in range(len(windows)):
        (batch,) = windows[index]
        for row, weights in enumerate(batch["conditions"]["style"]):
            track, _ = windows.position(index, row)
            expected = [1, 0] if track.name == "a.wav" else [0, 1]
            np.testing.assert_array_equal(weights, [expected] * 8)


def test_every_recurrent_layer_reads_the_style(music, encoder):
    model = make_model(music, encoder, units=(6, 5))
    assert [condition.name for condition in conditions_of(model.stack)] == ["style"]
    widths = [layer.cell.kernel.shape[0] for layer in model.stack.layers if hasattr(layer, "cell")]
    assert widths == [model.width + 4, 6 + 4]


def test_a_styled_model_learns_its_vectors_and_is_saved(music, encoder, tmp_path):
    model = make_model(music, encoder, clock=None)
    (style,) = conditions_of(model.stack)
    before = np.array(style.vectors)
    model.fit(windows_of(music, encoder), epochs=2, verbose=0)
    assert np.abs(before - np.array(style.vectors)).max() > 1e-4
    model.save(tmp_path / "run.keras")
    copy = gl.load(tmp_path / "run.keras")
    (again,) = conditions_of(copy.stack)
    assert again.labels == ("low", "noise")
    held_out = windows_of(music, encoder, shuffle=False, offset=0)
    results = [one.evaluate(held_out, verbose=0, return_dict=True)["loss"] for one in (model, copy)]
    np.testing.assert_allclose(*results, rtol=1e-5)
    seed = (music[0].pcm[:1000] / 32768).astype("float32")
    songs = [gl.Generator(one).extend(seed, steps=20, style="noise") for one in (model, copy)]
    np.testing.assert_array_equal(*songs)


# --- songs


def test_a_style_decides_on_the_song_and_may_change_along_it(music, encoder):
    model = make_model(music, encoder, head=gl.heads.Point(), residual=False)
    model.fit(windows_of(music, encoder), epochs=25, verbose=0)
    generator = gl.Generator(model)
    silence = np.zeros(1000, "float32")
    low, noise, between, first = (
        generator.extend(silence, steps=20, style=style)
        for style in ("low", "noise", {"low": 1, "noise": 1}, [(0, "low"), (5, "noise")])
    )
    assert np.abs(low - noise).max() > 1e-3
    np.testing.assert_array_equal(between, generator.extend(silence, steps=20))  # equal parts
    assert np.abs(first[:80] - low[:80]).max() < np.abs(first[:80] - noise[:80]).max()
    late = generator.extend(silence, steps=20, style=[(0, "low"), (0.01, "noise")])  # two frames
    assert np.abs(late[-80:] - noise[-80:]).max() < np.abs(late[-80:] - low[-80:]).max()


def test_a_style_reaches_streams_takes_memories_and_morphs(music, encoder):
    generator = gl.Generator(make_model(music, encoder))
    seed = (music[0].pcm[:4000] / 32768).astype("float32")
    song = generator.extend(seed, seconds=0.25, style="noise")
    assert not np.allclose(song, generator.extend(seed, seconds=0.25), atol=1e-4)
    np.testing.assert_allclose(
        np.concatenate(list(generator.stream(seed, seconds=0.25, style="noise"))), song, atol=1e-5
    )
    memory = generator.listen(seed, style="noise")
    np.testing.assert_array_equal(generator.extend(memory, seconds=0.25, style="noise"), song)
    alone = generator.extend(seed, seconds=0.25, style="noise", choices=1)
    np.testing.assert_array_equal(generator.morph([seed], seconds=0.25, style="noise"), alone)
    (take,) = generator.takes(seed, 1, seconds=0.25, style="noise")
    np.testing.assert_array_equal(take.song, song)


def test_a_function_is_asked_for_the_style_before_each_piece(music, encoder):
    generator = gl.Generator(make_model(music, encoder, head=gl.heads.Point(), residual=False))
    seed, options = np.zeros(1000, "float32"), {"steps": 24, "frames_at_once": 4}
    low, noise, middle = (
        np.concatenate(list(generator.stream(seed, style=style, **options)))
        for style in ("low", "noise", {"low": 0.5, "noise": 0.5})
    )
    assert np.abs(low - noise).max() > 1e-4
    now = ["low"]
    stream = generator.stream(seed, style=lambda: now[0], **options)
    first = [next(stream) for _ in range(3)]
    now[0] = "noise"
    song = np.concatenate([*first, *stream])
    begin = sum(map(len, first))
    np.testing.assert_array_equal(song[:begin], low[:begin])
    assert np.abs(song[begin + 4 * HOP :] - low[begin + 4 * HOP :]).max() > 1e-5
    np.testing.assert_array_equal(np.concatenate(list(generator.stream(seed, style=lambda: None, **options))), middle)
    with pytest.raises(ValueError, match="must be one of 'low', 'noise'"):  # before the first piece
        generator.stream(seed, style=lambda: "jazz", **options)
    now[0] = "low"
    stream = generator.stream(seed, style=lambda: now[0], **options)
    next(stream)
    now[0] = "jazz"
    with pytest.raises(ValueError, match="must be one of 'low', 'noise'"):
        list(stream)


def test_a_style_of_a_network_without_styles(music, encoder):
    normalizer = gl.Standardizer().fit(music, encoder)
    stack = gl.recurrent_stack(normalizer.width, units=(4,))
    generator = gl.Generator(gl.AudioModel(encoder, normalizer, stack, sample_rate=RATE))
    with pytest.raises(ValueError, match=r"for a network that reads one style. Received: style='jazz', for one.* 0"):
        generator.extend(np.zeros(1000, "float32"), steps=4, style="jazz")
    styled = gl.Generator(make_model(music, encoder))
    with pytest.raises(ValueError, match="must be one of 'low', 'noise'"):
        styled.extend(np.zeros(1000, "float32"), steps=4, style="jazz")
