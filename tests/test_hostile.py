"""Models and run folders from strangers: they run nothing, open nothing, and take no more than an honest file.

Whatever is in a file, `load` and `fit` raise `ValueError` or `OSError` with its name, or go on.
"""

import io
import json
import os
import shutil
import time
import tracemalloc
import zipfile

import h5py
import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike.callbacks import _checkpoint, run_callbacks

pytestmark = pytest.mark.usefixtures("plain_curves")

RATE = 8000
MB = 2**20


def make_model(optimizer="sgd"):
    encoder = gl.TimeBlocks(50)
    normalizer = gl.GlobalScale().fit(gl.tune.compose(1, RATE), encoder)
    start = keras.initializers.GlorotUniform(seed=5)
    layers = [keras.layers.Dense(4, kernel_initializer=start), keras.layers.Dense(50, kernel_initializer=start)]
    model = gl.AudioModel(encoder, normalizer, keras.Sequential([keras.Input((None, 50)), *layers]), RATE)
    model.compile(optimizer, run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The members of a small model file: {name: bytes}."""
    path = tmp_path_factory.mktemp("honest") / "model.keras"
    make_model().save(path)
    return members_of(path)


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def with_config(members, change):
    """The members with another `config.json`: `change` changes the settings of the model."""
    config = json.loads(members["config.json"])
    change(config["config"])
    return {**members, "config.json": json.dumps(config)}


def refused(path, match=None, seconds=5.0, megabytes=60):
    """Loads a file that must be refused by its name, at once, in little memory."""
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises((ValueError, OSError), match=match) as caught:
            gl.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert path.name in str(caught.value)
    assert time.monotonic() - start < seconds
    assert peak < megabytes * MB
    return str(caught.value)


def test_the_honest_file_loads_also_when_it_was_compressed_again(honest, tmp_path):
    for name, compression in (("a", zipfile.ZIP_STORED), ("b", zipfile.ZIP_DEFLATED)):
        assert gl.load(write(tmp_path / f"{name}.keras", honest, compression)).sample_rate == RATE


# --- bombs


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "assets/unneeded.bin", "readme.txt"])
def test_a_member_that_is_far_larger_than_the_file(honest, tmp_path, name):
    path = write(tmp_path / "bomb.keras", {**honest, name: b" " * (40 * MB)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < MB
    refused(path, "bytes")


def test_a_member_that_lies_about_its_size(honest, tmp_path):
    path = write(tmp_path / "lie.keras", honest)
    data = path.read_bytes()
    size = len(honest["config.json"])
    here = data.rfind(b"PK\x01\x02")  # the last entry of the table of contents
    changed = data[: here + 24] + (2**31).to_bytes(4, "little") + data[here + 28 :]
    assert size != 2**31
    path.write_bytes(changed)
    refused(path)


def test_a_table_of_contents_without_end(honest, tmp_path):
    with zipfile.ZipFile(write(tmp_path / "many.keras", honest), "a") as archive:
        for number in range(20_000):
            archive.writestr(f"{number:050d}", b"")
    refused(tmp_path / "many.keras", "table of contents", megabytes=20)
    write(tmp_path / "some.keras", {**honest, **{str(number): b"" for number in range(1500)}})
    refused(tmp_path / "some.keras", "members")


def test_a_member_twice(honest, tmp_path):
    path = write(tmp_path / "twice.keras", honest)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", b"{}")
    refused(path, "twice")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression(honest, tmp_path, compression):
    refused(write(tmp_path / "odd.keras", honest, compression), "unknown way")


@pytest.mark.parametrize("shape", [(2**40,), (2**20, 2**20), (30 * MB,)])
def test_weights_that_declare_more_than_is_there(honest, tmp_path, shape):
    data = io.BytesIO(honest["model.weights.h5"])
    with h5py.File(data, "a") as weights:
        weights.create_dataset("more", shape, "f4", chunks=tuple(min(1024, side) for side in shape))
    refused(write(tmp_path / "declared.keras", {**honest, "model.weights.h5": data.getvalue()}), "declares weights")


@pytest.mark.parametrize("units", [200_000, 2**40, 10**400])
def test_settings_that_ask_for_more_than_the_file_holds(honest, tmp_path, units):
    def widen(config):
        config["stack"]["config"]["layers"][1]["config"]["units"] = units

    refused(write(tmp_path / "wide.keras", with_config(honest, widen)))


@pytest.mark.parametrize("name", ["encoder", "normalizer"])
def test_parts_that_ask_for_more_than_the_file_holds(honest, tmp_path, name):
    def widen(config):
        sizes = config[name]["config"]
        sizes.update({key: 2**36 for key in sizes if key in ("features", "block_size")})

    refused(write(tmp_path / "wide.keras", with_config(honest, widen)), "its settings ask for about")


# --- damage of every kind


@pytest.mark.parametrize("text", ["[]", "null", "1", '"x"', "{", "{}", "[" * 100_000, '{"a":' * 500 + "1" + "}" * 500])
def test_a_config_that_is_none(honest, tmp_path, text):
    refused(write(tmp_path / "odd.keras", {**honest, "config.json": text}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sample_rate", 2**80),
        ("sample_rate", -1),
        ("high_pass_hz", -1),
        ("high_pass_hz", "x"),
        ("high_pass_hz", [1]),
        ("format_version", 0),
        ("format_version", "2"),
        ("scheduled_sampling", None),
        ("encoder", []),
        ("stack", {"class_name": 3}),
        ("head", {"class_name": "Point", "config": 1}),
        ("normalizer", None),
    ],
)
def test_settings_that_are_none(honest, tmp_path, name, value):
    refused(write(tmp_path / "odd.keras", with_config(honest, lambda config: config.update({name: value}))))


def test_weights_that_are_nan(honest, tmp_path):
    data = io.BytesIO(honest["model.weights.h5"])
    with h5py.File(data, "a") as weights:
        found = []
        weights.visititems(lambda name, one: found.append(one) if isinstance(one, h5py.Dataset) else None)
        next(one for one in found if one.ndim == 2)[0, 0] = np.nan
    refused(write(tmp_path / "nan.keras", {**honest, "model.weights.h5": data.getvalue()}), "NaN")


def test_bytes_that_are_missing_at_the_front(honest, tmp_path):
    path = write(tmp_path / "cut.keras", honest)
    path.write_bytes(path.read_bytes()[300:])
    refused(path)


def mutants(honest, count, random_seed=0):
    """Yields members of which one has changed bytes; they stand in a whole archive, so that nothing else notices."""
    random = np.random.default_rng(random_seed)
    for number in range(count):
        name = ("config.json", "model.weights.h5")[number % 2]
        data = bytearray(honest[name])
        for place in random.integers(0, len(data), 1 + number % 4):
            data[place] = (
                random.integers(0, 256) if name.endswith("h5") else random.choice(list(b'0123456789[]{}",:-eN'))
            )
        if number % 5 == 4:
            del data[int(random.integers(0, len(data))) :]
        yield {**honest, name: bytes(data)}


def outcome(path):
    """What loading comes to: "loaded", or "refused"; anything else is raised."""
    try:
        gl.load(path)
    except (ValueError, OSError) as error:
        return "refused" if path.name in str(error) else f"refused without its name: {error}"
    return "loaded"


def test_mutants_of_a_model(honest, tmp_path, caplog):
    path = tmp_path / "mutant.keras"
    found = [outcome(write(path, members)) for members in mutants(honest, 24)]
    assert {"loaded", "refused"} >= set(found)
    assert found.count("refused") > 5


@pytest.mark.slow
def test_many_mutants_of_a_model(honest, tmp_path, caplog):
    path, random = tmp_path / "mutant.keras", np.random.default_rng(1)
    found = {outcome(write(path, members)) for members in mutants(honest, 400, random_seed=1)}
    whole = write(path, honest).read_bytes()
    for _ in range(200):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(0, 256)
        path.write_bytes(data)
        found.add(outcome(path))
    assert found == {"loaded", "refused"}


# --- code, and files of others


def layer_of(kind, **config):
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def attacks(canary):
    """Parts that would touch the file `canary`, or read one, if they were believed."""
    touch = f"open({str(canary)!r}, 'w').close()"
    code = "4wEAAAAAAAAAAAAAAAAAAAAAAAAAAABzAAAAAA=="  # never decoded: a lambda is refused before
    yield layer_of("Lambda", function={"class_name": "__lambda__", "config": {"code": code}})
    for module, name in (("os", "system"), ("builtins", "eval"), ("builtins", "exec"), ("subprocess", "Popen")):
        yield {"module": module, "class_name": name, "config": {"command": touch}, "registered_name": name}
        yield {"module": module, "class_name": "function", "config": name, "registered_name": "function"}
    yield {"module": "keras.utils", "class_name": "get_file", "config": {"origin": "http://localhost:9/x"}}
    yield layer_of("StringLookup", vocabulary=str(canary.parent / "secret.txt"))
    yield layer_of("TextVectorization", vocabulary=str(canary.parent / "secret.txt"))
    yield layer_of("TorchModuleWrapper", module={"class_name": "__bytes__", "config": {"value": touch}})
    yield layer_of("TFSMLayer", filepath=str(canary.parent), call_endpoint="serve")
    yield layer_of("JaxLayer", call_fn={"class_name": "__lambda__", "config": {"code": code}})


@pytest.mark.parametrize("where", ["encoder", "normalizer", "head", "stack", "layer", "compilation"])
def test_nothing_in_a_file_runs_or_reads(honest, tmp_path, monkeypatch, where):
    canary, secret = tmp_path / "canary", tmp_path / "secret.txt"
    secret.write_text("a\nb\n")
    opened = []
    real = os.open
    monkeypatch.setattr(os, "system", lambda *_: opened.append("system"))
    monkeypatch.setattr(
        os, "open", lambda path, *rest, **options: (opened.append(path), real(path, *rest, **options))[1]
    )
    for number, attack in enumerate(attacks(canary)):
        config = json.loads(honest["config.json"])
        if where == "layer":
            config["config"]["stack"]["config"]["layers"][1] = attack
        elif where == "compilation":
            config["compile_config"] = {"optimizer": "sgd", "loss": attack}
        else:
            config["config"][where] = attack
        path = write(tmp_path / f"{number}.keras", {**honest, "config.json": json.dumps(config)})
        if where == "compilation":  # the model itself is honest
            assert not gl.load(path).compiled
        else:
            refused(path, seconds=20)
    assert not canary.exists()
    assert not [one for one in opened if "secret" in str(one) or one == "system"]


def test_members_with_paths_stay_inside(honest, tmp_path):
    names = ["../outside", "/tmp/outside-of-gruvlike", "assets/../../outside"]
    (tmp_path / "deep").mkdir()
    path = write(tmp_path / "deep" / "a.keras", {**honest, **dict.fromkeys(names, b"x")})
    assert outcome(path) in ("loaded", "refused")
    assert {one.name for one in tmp_path.iterdir()} == {"deep"}
    assert not os.path.exists("/tmp/outside-of-gruvlike")


# --- run folders


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    gl.audio.write(folder / "a.wav", gl.tune.compose(4, RATE), RATE)
    return gl.Corpus.build(folder, folder / "music.h5", sample_rate=RATE).split(validation=0.3)


def fit(parts, directory, epochs, extra=()):
    model = make_model()
    windows = [part.windows(model.encoder, steps=6, batch_size=16) for part in parts]
    callbacks = [*extra, *run_callbacks(directory, preview_every=0)]
    return model.fit(windows[0], validation_data=windows[1], epochs=epochs, verbose=0, callbacks=callbacks)


@pytest.fixture(scope="module")
def run(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "a"
    fit(parts, folder, 2, [keras.callbacks.ModelCheckpoint(folder.parent / "kept.keras", save_best_only=True)])
    return folder


def forge(path, change):
    """Changes the state of the training in a checkpoint."""
    members = members_of(path)
    about = json.loads(members["training.json"])
    about = change(about) or about
    return write(path, {**members, "training.json": about if isinstance(about, str) else json.dumps(about)})


FORGERIES = {
    "no progress": lambda about: {**about, "progress": {}},
    "a list": lambda about: "[]",
    "deep": lambda about: "[" * 100_000,
    "deep states": lambda about: '{"version":1,"states":' + '{"dict":' * 300 + "1" + "}" * 300 + "}",
    "rows": lambda about: about["progress"].update(rows="x"),
    "rows of numbers": lambda about: about["progress"].update(rows=[1]),
    "rows without an epoch": lambda about: about["progress"].update(rows=[{"loss": 1.0}]),
    "epoch": lambda about: about["progress"].update(epoch=-5),
    "epoch of text": lambda about: about["progress"].update(epoch="x"),
    "endless seconds": lambda about: about["progress"].update(seconds=float("inf")),
    "identity": lambda about: about["progress"].update(identity=[]),
    "identity of parts": lambda about: about["progress"]["identity"].update(optimizer=1),
    "more progress": lambda about: about["progress"].update(more=1),
    "states": lambda about: {**about, "states": [1]},
    "no states": lambda about: {**about, "states": []},
    "an array that is not there": lambda about: {**about, "states": [["metrics", {"array": 10**9}]]},
    "version": lambda about: {**about, "version": "1"},
    "unsaved": lambda about: {**about, "unsaved": 10**9},
    "checksum": lambda about: {**about, "checksum": []},
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forged_checkpoint_gives_way_to_the_one_before(parts, run, tmp_path, kind, caplog):
    folder = shutil.copytree(run, tmp_path / "run")
    forge(folder / "newest.keras", FORGERIES[kind])
    found = _checkpoint.read(folder / "newest.keras", folder / "previous.keras")
    assert found.path.name == "previous.keras"
    assert "The newest checkpoint is damaged" in caplog.text
    assert "newest.keras" in caplog.text
    forge(folder / "previous.keras", FORGERIES[kind])
    with pytest.raises(ValueError, match=r"whole checkpoint. Received: .*newest.keras.*previous.keras"):
        fit(parts, folder, 3)


def arrays(*found, header=None):
    buffer = io.BytesIO()
    np.savez(buffer, *found)
    if header is None:
        return buffer.getvalue()
    lie = io.BytesIO()
    np.lib.format.write_array_header_1_0(lie, {"descr": header[1], "fortran_order": False, "shape": header[0]})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("arr_0.npy", lie.getvalue())
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"raw bytes",
        arrays(),
        arrays(header=((2**40,), "<f4")),
        arrays(header=((4,), "|O")),
        arrays(np.array([{}], dtype=object)),
    ],
    ids=["empty", "raw", "none", "huge", "objects", "pickles"],
)
def test_forged_arrays_give_way_to_the_checkpoint_before(parts, run, tmp_path, data, caplog):
    folder = shutil.copytree(run, tmp_path / "run")
    members = members_of(folder / "newest.keras")
    write(folder / "newest.keras", {**members, "training.npz": data})
    found = _checkpoint.read(folder / "newest.keras", folder / "previous.keras")
    assert found.path.name == "previous.keras"
    assert "The newest checkpoint is damaged" in caplog.text


def test_a_run_folder_never_decides_where_a_callback_writes(parts, run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    elsewhere, kept = tmp_path / "elsewhere.keras", tmp_path / "kept.keras"
    given = {"filepath": str(elsewhere), "save_best_only": False, "on_epoch_end": "x", "best": "x", "_private": 1}

    def lie(about):
        for state in about["states"]:
            if state[0].startswith("ModelCheckpoint"):
                state[1] = {"dict": {**state[1]["dict"], **given}}

    for name in ("newest", "previous"):
        forge(folder / f"{name}.keras", lie)
    checkpoint = keras.callbacks.ModelCheckpoint(kept)
    fit(parts, folder, 3, [checkpoint])
    assert not elsewhere.exists()
    assert kept.exists()
    assert callable(checkpoint.on_epoch_end)
    assert not hasattr(checkpoint, "_private")


@pytest.mark.parametrize("name", ["history.jsonl", "history.csv", "config.json", "summary.txt", "best.keras"])
def test_links_in_a_run_folder_leave_their_targets_alone(parts, run, tmp_path, name):
    folder = shutil.copytree(run, tmp_path / "run")
    target = tmp_path / "target"
    target.write_bytes((folder / name).read_bytes())
    (folder / name).unlink()
    (folder / name).symlink_to(target)
    before = target.read_bytes()
    fit(parts, folder, 3)
    assert target.read_bytes() == before
