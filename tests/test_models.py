"""The factory, the model that owns its encoder, and its file."""

import errno
import zipfile

import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike import _files
from gruvlike.models import recurrent_stack

pytestmark = pytest.mark.backends


def small_model(melody, random_seed=0, encoder=None, **options):
    encoder = encoder or gl.BlockDFT(block_size=16)
    normalizer = gl.Standardizer().fit(melody, encoder)
    stack = recurrent_stack(encoder.features, **{"units": (8,), "random_seed": random_seed, **options})
    return gl.AudioModel(encoder, normalizer, stack, sample_rate=8000)


def pcm_of(melody, encoder, steps=10, windows=7):
    span = encoder.span(steps + 1)
    return (melody[: windows * span] * 32767).astype("int16").reshape(windows, span)


def weights(model):
    return [np.array(w) for w in model.get_weights()]


# --- the factory


def test_the_paper_s_network_has_the_paper_s_number_of_parameters():
    assert recurrent_stack(220, units=(10,), projection=10).count_params() == 220 * 10 + 10 + 840 + 10 * 220 + 220


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    "options",
    [
        {"units": (5, 6)},
        {"units": 5, "projection": 7},
        {"units": (5, 6), "skip": True, "layer_norm": True},
        {"units": (5,), "input_dropout": 0.2, "dropout": 0.1, "input_noise": 0.1, "recurrent_dropout": 0.1},
    ],
)
def test_every_stack_maps_frames_to_frames_and_travels_as_a_config(cell, options, rng):
    stack = recurrent_stack(4, cell=cell, random_seed=1, **options)
    frames = rng.standard_normal((2, 9, 4)).astype("float32")
    assert stack(frames).shape == (2, 9, 4)
    twin = keras.Model.from_config(stack.get_config())
    twin.set_weights(stack.get_weights())
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(twin(frames)), keras.ops.convert_to_numpy(stack(frames)))


def test_the_random_seed_decides_the_weights():
    first, same, other = (weights(recurrent_stack(4, units=(5, 5), random_seed=s)) for s in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    assert not np.array_equal(first[0], other[0])
    layers = [w for w in first if w.shape == (5, 20)]
    assert not np.array_equal(layers[0], layers[1])  # no two layers draw the same numbers


def test_without_a_random_seed_the_global_one_of_keras_decides():
    def draw():
        keras.utils.set_random_seed(7)
        return weights(recurrent_stack(4, units=(5,)))

    assert all(np.array_equal(a, b) for a, b in zip(draw(), draw(), strict=True))


@pytest.mark.parametrize("forget_bias", [1.0, 3.0])
def test_the_forget_gate_starts_open(forget_bias):
    bias = recurrent_stack(4, units=(5,), forget_bias=forget_bias).get_layer("lstm_0").get_weights()[2]
    np.testing.assert_array_equal(bias, np.repeat([0.0, forget_bias, 0.0, 0.0], 5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": 0}, "`features` must be a positive integer. Received: features=0"),
        ({"cell": "rnn"}, "`cell` must be one of 'lstm', 'gru'"),
        ({"units": ()}, "at least one recurrent layer"),
        ({"units": (8, -1)}, "`units` must be a positive integer"),
        ({"projection": 2.5}, "`projection` must be a positive integer"),
        ({"dropout": 1.0}, "must be less than 1"),
        ({"input_dropout": -0.1}, "`input_dropout` must be a finite number"),
        ({"input_noise": float("nan")}, "`input_noise`"),
        ({"cell": "gru", "forget_bias": 2.0}, "a GRU has none"),
        ({"random_seed": 1.5}, "`random_seed`"),
    ],
)
def test_the_factory_states_the_rule(options, message):
    with pytest.raises(ValueError, match=message):
        recurrent_stack(**{"features": 4, **options})


# --- the model


def test_the_model_encodes_normalizes_and_shifts_by_one_frame(melody):
    model = small_model(melody)
    pcm = pcm_of(melody, model.encoder)
    prediction, target = model.predict(pcm, verbose=0)
    frames = np.asarray(model.normalizer(model.encoder.encode(pcm / np.float32(32768), padded=False)))
    np.testing.assert_allclose(target, frames[:, 1:], atol=1e-4)
    np.testing.assert_allclose(prediction, keras.ops.convert_to_numpy(model.stack(frames[:, :-1])), atol=1e-4)


def test_training_lowers_the_loss_and_reports_it_against_the_mean(melody):
    model = small_model(melody)
    model.compile(keras.optimizers.Adam(0.01))
    pcm = pcm_of(melody, model.encoder)
    history = model.fit(pcm, epochs=12, batch_size=3, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    logs = model.evaluate(pcm, batch_size=4, verbose=0, return_dict=True)
    prediction, target = model.predict(pcm, verbose=0)
    error = np.square(prediction - target).mean()
    assert logs["loss"] == pytest.approx(error, rel=1e-4)
    assert logs["relative_loss"] == pytest.approx(error / np.square(target).mean(), rel=1e-3)


def test_relative_loss_is_one_for_a_network_that_says_the_mean(melody):
    encoder = gl.TimeBlocks(16)
    normalizer = gl.MinMax().fit(melody + 0.1, encoder)  # where the mean is not 0
    center = keras.ops.convert_to_numpy(normalizer.center)
    stack = recurrent_stack(16, units=(4,))
    stack.get_layer("frame").set_weights([np.zeros((4, 16)), center])
    model = gl.AudioModel(encoder, normalizer, stack, sample_rate=8000)
    model.compile("sgd")
    logs = model.evaluate(pcm_of(melody, encoder), verbose=0, return_dict=True)
    assert logs["relative_loss"] == pytest.approx(1.0, abs=1e-5)


def test_an_optimizer_given_by_name_clips_and_an_object_is_left_alone(melody):
    model = small_model(melody)
    model.compile("adam")
    assert model.optimizer.global_clipnorm == 1.0
    model.compile(keras.optimizers.Adam())
    assert model.optimizer.global_clipnorm is None


def test_a_stack_of_other_features_is_refused(melody):
    encoder = gl.BlockDFT(block_size=16)
    normalizer = gl.Standardizer().fit(melody, encoder)
    with pytest.raises(ValueError, match=r"map \(B, T, 32\) to .*Received: a stack that reads \(None, None, 30\)"):
        gl.AudioModel(encoder, normalizer, recurrent_stack(30, units=(4,)), sample_rate=8000)


def test_an_unfitted_normalizer_is_refused():
    with pytest.raises(ValueError, match="must be fitted first"):
        gl.AudioModel(gl.BlockDFT(16), gl.Standardizer(), recurrent_stack(32, units=(4,)), sample_rate=8000)


@pytest.mark.parametrize("sample_rate", [0, -8000, 8000.5, "8000"])
def test_a_sample_rate_that_is_none_is_refused(melody, sample_rate):
    model = small_model(melody)
    with pytest.raises(ValueError, match="`sample_rate` must be a positive integer"):
        gl.AudioModel(model.encoder, model.normalizer, model.stack, sample_rate=sample_rate)


def test_windows_of_another_sample_rate_are_refused(melody):
    class Foreign(keras.utils.PyDataset):
        sample_rate = 44_100

    model = small_model(melody)
    model.compile("sgd")
    for use in (model.fit, model.evaluate, model.baselines):
        with pytest.raises(ValueError, match=r"8000 Hz. Received: 44100 Hz"):
            use(Foreign())


def test_a_normalizer_of_other_frames_is_refused(melody):
    normalizer = gl.Standardizer().fit(melody, gl.BlockDFT(10))
    with pytest.raises(ValueError, match=r"frames of 32 features. Received: one for 20"):
        gl.AudioModel(gl.BlockDFT(16), normalizer, recurrent_stack(32, units=(4,)), sample_rate=8000)


# --- the file


def test_a_saved_model_is_the_same_model_and_goes_on_training(melody, tmp_path):
    model = small_model(melody, dropout=0.1, skip=True, units=(6, 5), cell="gru")
    model.high_pass_hz = 20.0
    model.compile("adam")
    pcm = pcm_of(melody, model.encoder)
    model.fit(pcm, epochs=2, verbose=0)
    model.save(tmp_path / "run.keras")
    loaded = gl.load(tmp_path / "run.keras")
    for before, after in zip(model.predict(pcm, verbose=0), loaded.predict(pcm, verbose=0), strict=True):
        np.testing.assert_array_equal(before, after)
    assert (loaded.sample_rate, loaded.high_pass_hz) == (8000, 20.0)
    assert int(loaded.optimizer.iterations.value) == int(model.optimizer.iterations.value) == 2
    assert loaded.optimizer.global_clipnorm == 1.0
    loaded.fit(pcm, verbose=0)
    assert int(loaded.optimizer.iterations.value) == 3


def test_a_model_that_was_never_trained_is_saved_with_its_statistics(melody, tmp_path):
    model = small_model(melody)
    model.save(tmp_path / "new.keras")
    pcm = pcm_of(melody, model.encoder)
    loaded = gl.load(tmp_path / "new.keras")
    one, other = (keras.ops.convert_to_numpy(each({"pcm": pcm})[0]) for each in (model, loaded))
    np.testing.assert_array_equal(one, other)


def test_a_missing_model_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no model file"):
        gl.load(tmp_path / "run.keras")


@pytest.mark.parametrize("keep", [0.2, 0.9, 0.999])
def test_a_model_file_cut_short_is_an_error(melody, tmp_path, keep):
    path = tmp_path / "run.keras"
    small_model(melody).save(path)
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"run.keras.*cut short or damaged"):
        gl.load(path)


def test_a_model_file_with_a_flipped_byte_is_an_error(melody, tmp_path):
    path = tmp_path / "run.keras"
    small_model(melody).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"whole `.keras` archive"):
        gl.load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"RIFF\0\0\0\0WAVE", "a WAV file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"", "0 bytes"),
        (b"hello", "not a"),
    ],
)
def test_a_foreign_file_is_named(tmp_path, content, message):
    path = tmp_path / "run.keras"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        gl.load(path)


def test_a_zip_that_is_no_model_and_a_folder_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match=r"it holds .*readme.txt"):
        gl.load(tmp_path / "a.keras")
    with pytest.raises(ValueError, match="Received: the folder"):
        gl.load(tmp_path)


def test_somebody_else_s_network_is_refused_with_the_way_to_use_it(tmp_path):
    recurrent_stack(4, units=(4,)).save(tmp_path / "stack.keras")
    with pytest.raises(ValueError, match=r"holds a 'Functional'.*Generator\(stack, encoder="):
        gl.load(tmp_path / "stack.keras")


def test_loading_never_runs_code_from_the_file(melody, tmp_path):
    encoder = gl.BlockDFT(16)
    inputs = keras.Input((None, 32))
    stack = keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2, output_shape=(None, 32))(inputs))
    model = gl.AudioModel(encoder, gl.Standardizer().fit(melody, encoder), stack, sample_rate=8000)
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(ValueError, match="could not be loaded"):
        gl.load(tmp_path / "lambda.keras")


def test_a_model_of_a_newer_format_is_refused(melody, tmp_path, monkeypatch):
    monkeypatch.setattr("gruvlike.models._audio_model.FORMAT_VERSION", 99)
    small_model(melody).save(tmp_path / "run.keras")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"up to format 2. Received: format 99"):
        gl.load(tmp_path / "run.keras")


def test_a_full_disk_leaves_the_earlier_model_intact(melody, tmp_path, monkeypatch):
    path = tmp_path / "run.keras"
    model = small_model(melody)
    model.save(path)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_files.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        model.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.keras"]


def test_saving_says_what_is_wrong_with_the_name(melody, tmp_path):
    model = small_model(melody)
    with pytest.raises(ValueError, match=r"ends in `.keras`"):
        model.save(tmp_path / "run.h5")
    with pytest.raises(FileNotFoundError, match="The folder to write in must exist"):
        model.save(tmp_path / "nowhere" / "run.keras")
    model.save(tmp_path / "run.keras")
    with pytest.raises(FileExistsError, match="The file exists"):
        model.save(tmp_path / "run.keras", overwrite=False)


def test_a_training_step_encodes_once(melody, monkeypatch):
    """Input and target are two views of the same frames."""
    encoder = gl.MDCT(block_size=16)
    model = gl.AudioModel(encoder, gl.Identity(), gl.recurrent_stack(16, units=(4,), random_seed=0), sample_rate=8000)
    model.compile("adam", run_eagerly=True)
    shapes, encode = [], gl.MDCT.encode

    def counted(self, samples, padded=True):
        shapes.append(tuple(samples.shape))
        return encode(self, samples, padded)

    pcm = np.stack([melody[: encoder.span(9)]] * 4)
    model.train_on_batch(pcm[:1])
    monkeypatch.setattr(gl.MDCT, "encode", counted)
    model.train_on_batch(pcm[:1])  # a layer that is not built would have Keras trace the model here again
    assert shapes == [pcm[:1].shape]
    model.fit(pcm, batch_size=1, verbose=0)
    assert shapes == [pcm[:1].shape] * 5


def test_the_relative_loss_is_that_of_the_plain_loss(melody):
    """Loss weights and weight penalties change the minimized loss, not the relative loss."""
    encoder = gl.TimeBlocks(8)

    def relative_loss(penalty=0.0, **options):
        keras.utils.set_random_seed(0)
        dense = keras.layers.Dense(8, kernel_regularizer=keras.regularizers.L2(penalty))
        model = gl.AudioModel(encoder, gl.Identity(), keras.Sequential([keras.Input((None, 8)), dense]), 8000)
        model.compile("sgd", **options)
        return model.evaluate(melody[None, :80], verbose=0, return_dict=True)

    plain, weighted, penalized = relative_loss(), relative_loss(loss_weights=0.5), relative_loss(penalty=0.1)
    assert weighted["loss"] == pytest.approx(0.5 * plain["loss"], rel=1e-5)
    assert penalized["loss"] > 1.01 * plain["loss"]
    for other in (weighted, penalized):
        assert other["relative_loss"] == pytest.approx(plain["relative_loss"], rel=1e-5)


@pytest.mark.parametrize("call", ["fit", "validation", "evaluate", "predict"])
def test_music_that_cannot_be_read_is_named_whatever_the_backend_makes_of_it(melody, tmp_path, call):
    # The first batches are whole: Keras itself reads one before the backend does.
    for name, level in (("a.wav", 1.0), ("tone.wav", 0.5)):
        gl.audio.write(tmp_path / name, level * melody[:8000], 8000)
    corpus = gl.Corpus.build([tmp_path / "a.wav", tmp_path / "tone.wav"], tmp_path / "music.h5", sample_rate=8000)
    model = small_model(melody)
    model.compile("adam")
    with open(tmp_path / "music.h5", "r+b") as file:
        file.seek(file.read().find(corpus[1].pcm[100:200].tobytes()))
        file.write(b"rotten")
    bad = gl.Corpus(tmp_path / "music.h5").windows(model.encoder, steps=10, batch_size=8, offset=0, shuffle=False)
    calls = {
        "fit": lambda: model.fit(bad, verbose=0),
        "validation": lambda: model.fit(melody[None, :176], validation_data=bad, verbose=0),
        "evaluate": lambda: model.evaluate(bad, verbose=0),
        "predict": lambda: model.predict(bad, verbose=0),
    }
    with pytest.raises(ValueError, match=r"tone\.wav.*music\.h5"):
        calls[call]()
