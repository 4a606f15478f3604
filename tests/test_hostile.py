"""Models and run folders from strangers: they run nothing, open nothing, and take no more than an honest file.

Whatever is in a file, `load` and `fit` raise `ValueError` or `OSError` with its name, or go on.
"""

import io
import json
import os
import shutil
import signal
import time
import tracemalloc
import zipfile

import h5py
import keras
import numpy as np
import pytest
from _fuzz_models import RATE, members_of, write
from _fuzz_runs import FORGERIES, deciding, fit, forge, make_model, make_parts

import gruvlike as gl
from gruvlike.callbacks import _checkpoint, _previews
from gruvlike.listening import read_run

pytestmark = pytest.mark.usefixtures("plain_curves")

MB = 2**20


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The members of a small model file: {name: bytes}."""
    path = tmp_path_factory.mktemp("honest") / "model.keras"
    make_model().save(path)
    return members_of(path)


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
    return make_parts(tmp_path_factory.mktemp("folder"))


@pytest.fixture(scope="module")
def run(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "a"
    fit(parts, folder, 2, [keras.callbacks.ModelCheckpoint(folder.parent / "kept.keras", save_best_only=True)])
    return folder


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


NAMES = ("newest.keras", "best.keras", "history.jsonl", "history.csv", "config.json", "summary.txt", "lock")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_waits_for_a_pipe_in_a_run_folder(parts, run, tmp_path, name, caplog):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    previous = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"waits for {name}"))
    signal.alarm(20)
    try:
        if name == "config.json":
            with pytest.raises(FileNotFoundError, match=r"config\.json"):
                read_run(folder)
        else:
            assert read_run(folder).history.keys() >= ({"loss"} if name != "history.jsonl" else set())
        fit(parts, folder, 3)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    assert name in ("lock", "best.keras") or (folder / name).is_file()


def states_of(change):
    def changed(about):
        for state in about["states"]:
            if state[0] == "CosineOverTime":
                state[1] = change

    return changed


@pytest.mark.parametrize(
    "change",
    [
        states_of({"dict": {}}),
        states_of({"dict": {"seconds": "x", "updates": 1, "highest": 1.0}}),
        states_of({"dict": {"seconds": 1, "updates": float("inf"), "highest": 1.0}}),
    ],
    ids=["none", "text", "endless"],
)
def test_states_that_a_callback_cannot_take_are_refused_by_their_file(parts, tmp_path, change):
    fit(parts, tmp_path, 1, deciding())
    forge(tmp_path / "newest.keras", change)
    before = (tmp_path / "newest.keras").read_bytes()
    with pytest.raises(ValueError, match=r"states of a run must be .*newest\.keras"):
        fit(parts, tmp_path, 2, deciding())
    assert (tmp_path / "newest.keras").read_bytes() == before


def test_the_settings_and_the_history_of_a_strange_run_are_read_or_refused_by_its_name(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / "history.jsonl").write_bytes(b'{"epoch": 0, "loss": %d, "x": 1.5}\n\xff\xfe\n' % 10**400)
    history = read_run(folder).history
    assert np.isnan(history["loss"]).all()
    assert history["x"] == [1.5]
    config = json.loads((folder / "config.json").read_text())

    def refuses(match, **changes):
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises((ValueError, OSError), match=match) as caught:
            read_run(folder)
        assert str(folder) in str(caught.value)

    refuses("must be there", corpora={"train": "nowhere.h5"})
    refuses("must be known", corpora=7)
    track = config["parts"]["train"][0]
    refuses("must hold", parts={"train": [{**track, "hash": 1}]})
    refuses("lies within", parts={"train": [{**track, "stop": 10**400}]})


def test_measures_of_previews_that_are_no_table_are_left_out(tmp_path):
    path = tmp_path / "measures.csv"
    path.write_bytes(b'epoch,a\n1,2\n\xff\xb2,3\n4,"' + b"x" * 200_000 + b'"\n')
    assert _previews._rows_of(path)[0] == {"epoch": "1", "a": "2"}
    assert [_previews._epoch_of({"epoch": text}) for text in ("3", "²", "", "x")] == [3, np.inf, np.inf, np.inf]
    path.unlink()
    os.mkfifo(path)
    assert _previews._rows_of(path) == []
