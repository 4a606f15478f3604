"""Weights in half precision or another layout, and the step compiled by torch: the songs that they change or keep."""

import shutil

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike._step import _layouts
from gruvlike._step._loops import make_loop
from gruvlike._step._step import Step
from gruvlike.generation._memory import Sampling, Wish

pytestmark = pytest.mark.backends
HALVES = ("bfloat16", "float16")
STACKS = {
    "lstm": {"units": (8, 6), "projection": 5},
    "gru": {"cell": "gru", "units": (8,), "layer_norm": True, "recurrent_dropout": 0.3},
}


def make_stack(features=32, **options):
    stack = gl.recurrent_stack(features, random_seed=0, **options)
    rng = np.random.default_rng(0)
    stack.set_weights([w + 0.2 * rng.standard_normal(w.shape) for w in stack.get_weights()])
    return stack


@pytest.fixture
def make(melody):
    encoder = gl.BlockDFT(block_size=16)
    normalizer = gl.Standardizer().fit(melody, encoder)

    def make(stack, **options):
        return gl.Generator(stack, encoder=encoder, normalizer=normalizer, sample_rate=8000, **options)

    return make


def distance(song, other):
    return float(np.sqrt(np.mean((song - other) ** 2) / np.mean(other**2)))


GAINS = _layouts._gains


@pytest.fixture(autouse=True)
def small_matrices_gain(monkeypatch):
    """All of them, and 5 columns are a strip: most matrices are cut unevenly, that of the projection is one strip."""
    monkeypatch.setattr(_layouts, "_gains", lambda *_: True)
    monkeypatch.setattr(_layouts, "STRIP", 5)


def layouts():
    """Those that are read for so many clips."""
    return {1: None, 2: "transposed"} if keras.backend.backend() == "torch" else {1: "transposed", 2: "strips"}


# --- half precision


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("options", STACKS.values(), ids=STACKS.keys())
def test_the_song_is_near_that_in_float32_and_not_the_same(make, melody, options, dtype):
    stack = make_stack(**options)
    song = make(stack, dtype=dtype).extend(melody[:160], steps=4)
    plain = make(stack).extend(melody[:160], steps=4)
    assert 0 < distance(song, plain) < (0.1 if dtype == "bfloat16" else 0.01)


@pytest.mark.parametrize("options", STACKS.values(), ids=STACKS.keys())
def test_copies_are_read_in_place_of_the_weights(make, melody, options):
    """Where all of them are spoiled after the song has begun, it goes on; so it does not where they are shared."""
    for dtype, clips in (("bfloat16", 1), (None, 1), (None, 2)):
        unharmed = dtype is not None or layouts()[clips] is not None
        generator = make(make_stack(**options), dtype=dtype)
        memory = generator.listen(melody[:48], clips=clips)
        (song,), _ = generator._network.go_on(memory, Wish(None, "carry", False, Sampling(1.0, 0), None))
        for layer in generator.stack._flatten_layers():
            for name in ("_kernel", "kernel", "recurrent_kernel"):
                if isinstance(vars(layer).get(name), keras.Variable):
                    weight = vars(layer)[name]
                    weight.assign(np.full(weight.shape, np.nan, "float32"))
        song.take(1)
        assert np.isfinite(song.take(3)).all() == unharmed


def test_states_stay_float32(make, melody):
    generator = make(make_stack(units=(8,)), dtype="bfloat16")
    generator.extend(melody[:160], steps=2)
    loop = generator._network._programs._loops[1, None, False]
    frame, states = loop.run(2, loop.start())[1]
    assert [keras.backend.standardize_dtype(x.dtype) for x in (frame, *states)] == ["float32"] * 3


def test_a_song_after_more_training_is_of_the_newer_network(make, melody):
    stack = make_stack(units=(8,))
    generator = make(stack, dtype="float16")
    before = generator.extend(melody[:160], steps=4)
    stack.set_weights([1.5 * w for w in stack.get_weights()])
    after = generator.extend(melody[:160], steps=4)
    np.testing.assert_array_equal(after, make(stack, dtype="float16").extend(melody[:160], steps=4))
    assert distance(after, before) > 0.05


def test_other_layers_and_clips(melody):
    """Cells in an RNN and a SimpleRNN are left as they are; a Dense layer is found inside TimeDistributed."""
    layers = keras.layers
    stack = keras.Sequential(
        [
            keras.Input((None, 8)),
            layers.SimpleRNN(6, return_sequences=True),
            layers.RNN(layers.LSTMCell(5), return_sequences=True),
            layers.LSTM(5, return_sequences=True, use_bias=False),
            layers.TimeDistributed(layers.Dense(8, activation="tanh", use_bias=False)),
        ]
    )
    halves, plain = (
        gl.Generator(stack, encoder=gl.TimeBlocks(8), sample_rate=8000, dtype=dtype) for dtype in ("float16", None)
    )
    seeds = [melody[:80], melody[400:440]]
    songs = halves.extend(seeds, steps=4)
    assert len(halves._network._programs._loops[2, None, False].step.stack._copies) == 3
    assert 0 < distance(songs, plain.extend(seeds, steps=4)) < 0.01
    np.testing.assert_allclose(halves.extend(seeds[1], steps=4), songs[1], atol=1e-4)


def test_a_stack_in_mixed_precision(make, melody):
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        generator = make(make_stack(units=(8,)), dtype="bfloat16")
    finally:
        keras.config.set_dtype_policy(before)
    assert np.isfinite(generator.extend(melody[:160], steps=4)).all()


def test_what_half_precision_is_not_for(make, melody):
    with pytest.raises(ValueError, match=r"`dtype` must be one of 'bfloat16', 'float16'. Received: dtype='int8'"):
        make(make_stack(units=(4,)), dtype="int8")
    with pytest.raises(ValueError, match=r"for `history=\"carry\"`. Received: dtype='float16', history='full'"):
        make(make_stack(units=(4,)), dtype="float16").extend(melody[:160], steps=2, history="full")


# --- copies in another layout


@pytest.mark.parametrize("options", STACKS.values(), ids=STACKS.keys())
def test_copies_are_read_and_the_song_is_the_same(make, melody, options):
    """The same as that of the weights themselves, to rounding."""
    seeds, stack = [melody[:160], melody[80:240]], make_stack(**options)
    plain = make(stack).extend(seeds, steps=6, history="full")
    for clips, layout in layouts().items():
        generator = make(stack)
        songs = generator.extend(seeds[:clips], steps=6)
        np.testing.assert_allclose(songs, plain[:clips], atol=1e-5)
        assert list(generator._network._programs._stacks) == [layout]
        copies = getattr(generator._network._programs._loops[clips, None, False].step.stack, "_copies", [])
        assert len(copies) == (2 * len(options["units"]) + ("projection" in options) + 1 if layout else 0)
        for parts, weight in copies:
            shapes = [part.shape for part in parts]
            rows, columns = weight.shape
            widths = [5] * (columns // 5) + [columns % 5] * (columns % 5 > 0)
            expected = [(rows, width) for width in widths] if layout == "strips" else [(columns, rows)]
            assert shapes == expected


def test_copies_follow_more_training(make, melody):
    for clips, layout in layouts().items():
        stack = make_stack(units=(8,))
        generator = make(stack)
        before = generator.extend(melody[:160], steps=4, clips=clips)
        stack.set_weights([1.5 * w for w in stack.get_weights()])
        after = generator.extend(melody[:160], steps=4, clips=clips)
        np.testing.assert_array_equal(after, make(stack).extend(melody[:160], steps=4, clips=clips), str(layout))
        assert distance(after, before) > 0.05


def test_a_song_copies_the_weights_once(make, melody, monkeypatch):
    refreshed, refresh = [], _layouts.LaidOutStack.refresh
    monkeypatch.setattr(_layouts.LaidOutStack, "refresh", lambda self: refreshed.append(self) or refresh(self))
    generator = make(make_stack(units=(8,)), dtype="bfloat16")
    generator.extend(melody[:160], steps=4)
    assert len(refreshed) == 1
    memory = generator.listen(melody[:160])
    assert len(refreshed) == 2
    generator.extend(memory, steps=4)
    assert len(refreshed) == 3


def test_layers_of_another_type_are_not_copied_to_float32(make, melody):
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        generator = make(make_stack(units=(8,)))
    finally:
        keras.config.set_dtype_policy(before)
    for clips in (1, 2):
        generator.extend(melody[:160], steps=4, clips=clips)
        copied = getattr(generator._network._programs._loops[clips, None, False].step.stack, "_copies", [])
        assert [weight.shape for _, weight in copied] in ([], [(8, 32)])  # at most the head, which computes in float32


def test_only_what_gains_is_copied(make, melody, monkeypatch):
    """Of an LSTM here its kernel, 32 x 24, has the fewest columns for its rows."""
    monkeypatch.setattr(_layouts, "_gains", lambda rows, columns: columns < rows)
    stack = make_stack(units=(6,))
    seeds = [melody[:160], melody[80:240]]
    plain = make(stack).extend(seeds, steps=6, history="full")
    for clips, layout in layouts().items():
        generator = make(stack)
        song = generator.extend(seeds[:clips], steps=6)
        copies = getattr(generator._network._programs._loops[clips, None, False].step.stack, "_copies", [])
        assert [weight.shape for _, weight in copies] == ([(32, 24)] if layout else [])
        np.testing.assert_allclose(song, plain[:clips], atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "columns", "gains"),
    [(22050, 1024, True), (1024, 4096, True), (1024, 64, True), (1023, 64, False), (1024, 4097, False)],
)
def test_tall_matrices_gain(rows, columns, gains):
    """As measured; on torch all of them do."""
    assert GAINS(rows, columns) == (gains or keras.backend.backend() == "torch")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it is XLA as in TensorFlow that fuses them")
def test_no_product_is_fused_with_what_is_added_to_it(monkeypatch):
    """XLA computes such a fusion on one core. The control: sums are fused."""

    def fused():
        loop = make_loop(Step(_layouts.lay_out(stack, None, "transposed"), gl.heads.Point(), 32), 1)
        program, inputs = loop._function, []
        loop._function = lambda *given: inputs.extend(given) or program(*given)
        loop.run(4, loop.start())
        compiled = program.experimental_get_compiler_ir(*inputs)(stage="optimized_hlo")
        assert compiled.count(" dot(") == 4
        return compiled.count("kind=kOutput")

    stack = make_stack(units=(8,), projection=5)
    assert fused() == 0
    monkeypatch.setattr(_layouts, "_sum", lambda product, other: product + other)
    assert fused() > 0


# --- torch.compile


@pytest.fixture
def on_torch():
    if keras.backend.backend() != "torch":
        pytest.skip("torch alone has a choice")
    return pytest.importorskip("torch")


def test_the_step_is_compiled_once_where_there_is_a_compiler(make, melody, monkeypatch, on_torch):
    stack, compiled = make_stack(units=(8,)), []
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(on_torch, "compile", lambda step, **_: compiled.append(step) or step)
    plain = make(stack).extend(melody[:160], steps=4)
    assert compiled == []
    generator = make(stack, torch_compile=True)
    for _ in range(2):
        np.testing.assert_allclose(generator.extend(melody[:160], steps=4), plain, atol=1e-5)
    assert len(compiled) == 1


@pytest.mark.parametrize("compiler", [True, False])
def test_what_cannot_be_compiled_runs_as_it_is(make, melody, monkeypatch, on_torch, compiler):
    def fails(step, **_):
        def call(*_):
            raise RuntimeError("no way\nat all")

        return call

    monkeypatch.setenv("CXX", "some-compiler -O3")
    monkeypatch.setattr(
        shutil, "which", lambda name: "/bin/some-compiler" if compiler and name == "some-compiler" else None
    )
    monkeypatch.setattr(on_torch, "compile", fails)
    stack = make_stack(units=(8,))
    why = "RuntimeError: no way.$" if compiler else "there is no C\\+\\+ compiler 'some-compiler -O3'"
    with pytest.warns(RuntimeWarning, match=f"is not compiled, and slower for it: {why}"):
        song = make(stack, torch_compile=True).extend(melody[:160], steps=4)
    np.testing.assert_array_equal(song, make(stack).extend(melody[:160], steps=4))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch warns of parts of its own
def test_torch_compiles_the_step(make, melody, on_torch):
    if not shutil.which("g++"):
        pytest.skip("no C++ compiler")
    stack = make_stack(units=(8,))
    song = make(stack, torch_compile=True).extend(melody[:160], steps=6)
    np.testing.assert_allclose(song, make(stack).extend(melody[:160], steps=6), atol=1e-4)


def test_the_other_backends_compile_anyway(make, melody):
    if keras.backend.backend() == "torch":
        pytest.skip("torch has a choice")
    stack = make_stack(units=(8,))
    song = make(stack, torch_compile=True).extend(melody[:160], steps=4)
    np.testing.assert_array_equal(song, make(stack).extend(melody[:160], steps=4))
