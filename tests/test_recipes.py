"""Recipes: data that is checked at once, written in JSON, and built into a model and its windows.

After a change of options that is meant: `python tests/test_recipes.py` writes the table of docs/recipes.md anew.
"""

import dataclasses
import importlib
import inspect
import json
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import gruvlike as gl
from gruvlike import recipes
from gruvlike._contracts import as_batch
from gruvlike.cli import _options
from gruvlike.conditions import conditions_of
from gruvlike.recipes import Recipe, _signatures
from gruvlike.recipes._sources import SOURCES

pytestmark = pytest.mark.backends

PAGE = Path(__file__).resolve().parents[1] / "docs/recipes.md"
TINY = {
    "encoder": {"name": "block_dft", "block_size": 40},
    "network": {"units": (6,), "dropout": 0.2, "input_noise": 0.1},
    "windows": {"steps": 6, "batch_size": 4, "hop": 120},
    "split": {"validation": 0.3},
    "epochs": 1,
}
# A part of each name, small.
PARTS = [
    *[{"encoder": {"name": name, "block_size": 40}} for name in ("time_blocks", "half_dft", "mdct")],
    {"encoder": {"name": "stft", "frame_size": 40, "window": ("kaiser", 4.0)}},
    {"encoder": {"name": "log_spectrum", "frame_size": 64, "mels": 5}, "windows": {"steps": 6, "stateful": True}},
    {"normalizer": {"name": "global_scale"}, "network": {"units": (4,), "projection": 3, "cell": "gru"}},
    {"normalizer": {"name": "min_max"}, "optimizer": {"name": "SGD", "learning_rate": 0.1, "momentum": 0.9}},
    {"normalizer": {"name": "principal_components", "components": 7}},
    {"normalizer": {"name": "identity"}, "feedback": {"share": 0.5, "updates": 3, "rollout_steps": 2}},
    {"network": {"units": 4, "layer_norm": True, "skip": True, "forget_bias": 2.0}, "loss": "mae"},
    {"optimizer": {"name": "adam", "beta_1": 0.8}, "windows": {"steps": 6, "offset": 7, "shuffle": False}},
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    gl.audio.write(folder / "tune.wav", gl.tune.compose(2, 4000), 4000)
    return gl.Corpus.build(folder / "tune.wav", folder / "music.h5", sample_rate=4000)


def equal(one, other):
    return all(np.array_equal(x, y) for x, y in zip(one, other, strict=True))


# --- what it builds ---------------------------------------------------------------------------------------------------


def by_hand(corpus, random_seed):
    """The script that the tiny recipe stands for."""
    train, validation = corpus.split(validation=0.3)
    encoder = gl.BlockDFT(block_size=40)
    normalizer = gl.Standardizer().fit(train, encoder)
    stack = gl.recurrent_stack(80, units=(6,), dropout=0.2, input_noise=0.1, random_seed=random_seed)
    model = gl.AudioModel(encoder, normalizer, stack, corpus.sample_rate, corpus.high_pass_hz)
    model.compile("rmsprop")
    sizes = {"steps": 6, "batch_size": 4, "hop": 120}
    windows = train.windows(encoder, **sizes, random_seed=random_seed)
    return model, windows, validation.windows(encoder, **sizes, shuffle=False, offset=0)


def test_it_gives_the_weights_of_the_script_that_it_stands_for(corpus):
    ends = []
    for model, windows, held_out in (Recipe(**TINY, random_seed=3).build(corpus)[:3], by_hand(corpus, 3)):
        model.fit(windows, verbose=0)
        ends.append([*model.get_weights(), *(as_batch(batch)["pcm"] for (batch,) in held_out)])
    assert equal(*ends)
    control, first, _ = by_hand(corpus, 4)
    assert not equal(control.stack.get_weights(), by_hand(corpus, 3)[0].stack.get_weights())
    assert not np.array_equal(as_batch(first[0][0])["pcm"], as_batch(by_hand(corpus, 3)[1][0][0])["pcm"])


def test_the_paper_is_the_default(corpus):
    assert recipes.get("paper") == Recipe()
    recipe = Recipe(network={"units": 4}, windows={"steps": 1}, split={"validation": 0.4})
    model, windows, held_out, *_ = recipe.build(corpus)
    assert type(model.encoder).__name__ == "BlockDFT"
    assert model.encoder.block_size == 1000  # a quarter of a second
    assert type(model.normalizer).__name__ == "Standardizer"
    assert type(model.optimizer).__name__ == "RMSprop"
    assert (model.optimizer.global_clipnorm, float(model.optimizer.learning_rate)) == (1.0, pytest.approx(1e-3))
    assert (windows.batch_size, windows.span, held_out.shuffle) == (5, 2000, False)
    assert Recipe().network["units"] == (1024,)
    assert (Recipe().network["projection"], Recipe().epochs, Recipe().windows["steps"]) == (1024, 50, 40)
    assert (Recipe().split["validation"], Recipe().split["test"]) == (0.1, 0)


@pytest.mark.parametrize("changes", PARTS, ids=str)
def test_each_part_and_option_is_built(corpus, changes):
    recipe = Recipe.from_dict(json.loads(json.dumps(Recipe(**{**TINY, **changes}).to_dict())))
    recipe.check_parts()
    model, windows = recipe.build(corpus)[:2]
    for name, value in (changes.get("encoder") or {}).items():
        assert name == "name" or getattr(model.encoder, name) == value
    assert windows.stateful == changes.get("windows", {}).get("stateful", False)
    share = changes.get("feedback", {}).get("share", 0)
    assert (model.scheduled_sampling, model.random_seed) == (share, 0 if share else None)
    prediction, target = model(windows[0][0])
    width = changes.get("normalizer", {}).get("components", model.encoder.features)
    assert prediction.shape == target.shape == (recipe.windows["batch_size"], 6, width)
    assert np.isfinite(keras.ops.convert_to_numpy(prediction)).all()


def test_options_of_the_optimizer_arrive(corpus):
    schedule = keras.optimizers.schedules.CosineDecay(0.5, decay_steps=10)
    options = {"learning_rate": keras.optimizers.schedules.serialize(schedule), "beta_1": 0.8, "weight_decay": 0.1}
    recipe = Recipe(**TINY, optimizer={"name": "adam", **options, "global_clipnorm": None, "clipvalue": 2.0})
    optimizer = recipe.build(corpus).model.optimizer
    assert (optimizer.beta_1, optimizer.weight_decay) == (0.8, 0.1)
    assert (optimizer.global_clipnorm, optimizer.clipvalue) == (None, 2.0)
    assert float(optimizer.learning_rate) == pytest.approx(0.5)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_nothing_is_held_out_unless_asked_for(corpus):
    alone = Recipe(**{**TINY, "split": {"validation": 0}}).build(corpus)
    assert (alone.validation_windows, alone.validation, alone.test, alone.train) == (None, None, None, corpus)
    three = Recipe(**{**TINY, "split": {"validation": 0.2, "test": 0.2, "by": "time"}}).build(corpus)
    assert three.test.seconds == pytest.approx(0.2 * corpus.seconds, rel=0.1)


def test_music_that_is_too_short_says_so(corpus):
    with pytest.raises(ValueError, match=r"No window of steps=400 fits"):
        Recipe(**{**TINY, "windows": {"steps": 400}}).build(corpus)
    with pytest.raises(ValueError, match=r"held out for validation is too short.*Or hold out more"):
        Recipe(**{**TINY, "windows": {"steps": 60}, "split": {"validation": 0.05}}).build(corpus)


# --- the recipe that makes music --------------------------------------------------------------------------------------


def small_music(**changes):
    """The recipe that makes music, in sizes for a test."""
    return recipes.get("music").change(
        encoder={"frame_size": 64, "hop": 16, "iterations": 2},
        normalizer={"components": 5},
        head={"components": 2},
        network={"units": (6,)},
        windows={"steps": 6},
        split={"validation": 0.3},
        **changes,
    )


def test_the_recipe_that_makes_music_is_built_and_trained(corpus):
    recipe = small_music()
    recipe.check_parts()
    model, windows, held_out = recipe.build(corpus)[:3]
    assert [condition.name for condition in conditions_of(model.stack)] == ["clock", "lags", "anchor"]
    assert (model.head.components, model.head.temperature, model.normalizer.width) == (2, 0.6, 5)
    rate = float(model.optimizer.learning_rate)
    assert (rate, model.optimizer.beta_2, model.optimizer.global_clipnorm) == (pytest.approx(2e-3), 0.98, 1.0)
    losses = model.fit(windows, validation_data=held_out, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]


def test_the_names_are_recipes_that_json_can_hold():
    for name in ("music", "paper"):
        recipe = recipes.get(name)
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe == recipes.get(recipe)
    assert recipes.get("paper") == Recipe() != recipes.get("music")


def test_music_whose_beat_was_never_sought_is_refused_before_it_is_measured(corpus, tmp_path, monkeypatch):
    file = tmp_path / "old.h5"
    shutil.copy(corpus.file, file)
    with h5py.File(file, "r+") as h5:  # as format 1 had it
        h5.attrs["format_version"] = 1
        for dataset in h5["tracks"].values():
            for name in ("beat_seconds", "phase_seconds", "confidence"):
                del dataset.attrs[name]
    old = gl.Corpus(file)
    with monkeypatch.context() as patched:
        patched.setattr(gl.normalizers.PrincipalComponents, "fit", lambda *_: pytest.fail("the music was measured"))
        with pytest.raises(ValueError, match="1 of 1 tracks without one") as error:
            small_music().build(old)
    assert f"`gruvlike beats {file}`" in str(error.value)
    assert small_music(conditions={"clock": False, "lags": (), "anchor": 0}).build(old).validation_windows is not None
    old.add_beats()
    assert small_music().build(gl.Corpus(file)).model.normalizer.width == 5


# --- data -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, *PARTS])
def test_it_is_the_same_after_json(changes):
    recipe = Recipe(**{**TINY, **changes})
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert again.to_dict() == json.loads(json.dumps(recipe.to_dict()))
    assert again != recipe.change(random_seed=1)


def test_it_shows_the_defaults_that_were_left_out():
    recipe = Recipe(encoder={"name": "stft", "frame_size": 64}, windows={"steps": 3})
    assert recipe.encoder == {"name": "stft", "frame_size": 64, "hop": None, "window": "hann"}
    assert recipe.windows["batch_size"] == 5  # the paper's
    assert recipe.network["forget_bias"] == 1.0
    assert Recipe(network={"units": (8,)}).network["projection"] is None


def test_a_variant_changes_what_it_names():
    recipe = Recipe(**TINY)
    assert recipe.change(windows={"steps": 3}).windows == {**recipe.windows, "steps": 3}
    assert dataclasses.replace(recipe, windows={"steps": 3}).windows == Recipe(windows={"steps": 3}).windows
    assert recipe.change(encoder={"name": "mdct"}).encoder["block_size"] is None  # another part, from its beginning
    assert recipe.change(encoder={"name": "block_dft"}) == recipe == Recipe(**TINY)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 3


def test_a_file_of_a_recipe_and_of_a_run(tmp_path):
    recipe = Recipe(**TINY)
    (tmp_path / "mine.json").write_text(json.dumps(recipe.to_dict()))
    (tmp_path / "config.json").write_text(json.dumps({"versions": {}, "recipe": recipe.to_dict()}))
    (tmp_path / "old.json").write_text(json.dumps({"versions": {}, "windows": {}}))
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "text.json").write_text("no json")
    for file in (tmp_path / "mine.json", str(tmp_path / "config.json"), tmp_path):
        assert Recipe.from_file(file) == recipe
    for name, says in (("old", "without one"), ("list", "dictionary"), ("text", "file of JSON")):
        with pytest.raises(ValueError, match=says):
            Recipe.from_file(tmp_path / f"{name}.json")
    with pytest.raises(FileNotFoundError, match="There is no recipe"):
        Recipe.from_file(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"encoder": {"name": "mdtc"}}, "Did you mean 'mdct'?"),
        ({"encoder": {"name": "stft"}}, "`encoder.frame_size` of 'stft' must be given"),
        ({"encoder": {"frame_size": 64}}, "It belongs to stft, log_spectrum."),
        ({"encoder": {"blok_size": 64}}, "Did you mean 'block_size'?"),
        ({"encoder": {"block_size": True}}, "`encoder.block_size` must be an integer."),
        ({"encoder": "mdct"}, "`encoder` must be a dictionary"),
        ({"encoder": {"name": "log_spectrum", "frame_size": 64, "sample_rate": 8000}}, "sample_rate"),
        ({"network": {"features": 3}}, "network.features=3"),
        ({"network": {"units": ()}}, "`network.units` must be an integer or several"),
        ({"network": {"skip": 1}}, "`network.skip` must be true or false"),
        ({"windows": {"offset": "randm"}}, "`windows.offset` must be an integer or 'random'"),
        ({"windows": {"stateful": True, "hop": 3}}, "Leave it out"),
        ({"feedback": {"rollout_steps": 40}}, "must leave music to start from"),
        ({"split": {"validation": 0.5, "test": 0.5}}, "must leave music to train on"),
        ({"split": {"validation": 0, "test": 0.5}}, "needs music for validation"),
        ({"epochs": None}, "Training must end"),
        ({"decay": True}, "falls over the `minutes`"),
        ({"decay": True, "minutes": 1, "optimizer": {"name": "sgd", "learning_rate": {"a": 1}}}, "from which it falls"),
        ({"steps": 3}, "Did you mean 'windows'?"),
        ({"epoch": 3}, "Did you mean 'epochs'?"),
    ],
)
def test_mistakes_are_refused_with_a_hint(fields, says):
    with pytest.raises(ValueError, match="Received: ") as error:
        Recipe.from_dict(fields)
    assert says in str(error.value)


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'paper'"):
        recipes.get("papre")
    recipe = Recipe(**TINY)
    assert recipes.get(recipe) is recipe


# --- signatures -------------------------------------------------------------------------------------------------------


def imported(place):
    *path, name = place.split(".")
    for depth in range(len(path), 0, -1):  # the rest are classes
        try:
            found = importlib.import_module(".".join(["gruvlike", *path[:depth]]))
        except ModuleNotFoundError:
            continue
        for attribute in [*path[depth:], name]:
            found = getattr(found, attribute)
        return found
    raise AssertionError(place)


PLACES = [
    place
    for source in SOURCES.values()
    for place in (_signatures.names(source.place).values() if source.is_family else [source.place])
]


@pytest.mark.parametrize("place", PLACES)
def test_options_that_are_read_from_the_source_are_those_of_the_signature(place):
    parameters = inspect.signature(imported(place)).parameters
    found = _signatures.options(place)
    assert list(found) == [name for name in parameters if name in found]
    for name, option in found.items():
        assert option.is_required == (parameters[name].default is inspect.Parameter.empty)
        assert option.is_required or option.default == parameters[name].default
        assert option.help, f"{place} says nothing about {name}"


def test_no_setting_is_left_out():
    """Of all arguments only these are no settings: they are made of music, or of other parts, or belong to Keras."""
    no_settings = {"self", "kwargs", "encoder", "head", "mean", "std", "low", "high", "options", "corpus"}
    no_settings |= {"clock", "lags", "anchor", "conditions", "style"}  # of `recurrent_stack`: another field makes them
    for place in PLACES:
        missing = set(inspect.signature(imported(place)).parameters) - set(_signatures.options(place))
        assert missing <= no_settings, f"{place}: {missing - no_settings}"


@pytest.mark.parametrize(
    ("field", "module"), [("encoder", gl.encoders), ("normalizer", gl.normalizers), ("head", gl.heads)]
)
def test_names_are_those_of_the_family(field, module):
    assert list(SOURCES[field].parts()) == list(module._NAMES)


def test_names_of_optimizers_are_those_of_keras():
    def is_one(name):
        try:
            return isinstance(keras.optimizers.get(name), keras.optimizers.Optimizer)
        except (ValueError, TypeError, KeyError, NotImplementedError):
            return False

    known = _signatures.options("recipes._assembly.make_optimizer")["name"].choices
    assert sorted(known) == sorted(name.lower() for name in vars(keras.optimizers) if is_one(name.lower()))


# --- styles


@pytest.fixture
def two_folders(tmp_path):
    for number, label in enumerate(("rock", "jazz", "rock", "jazz")):
        (tmp_path / "music" / label).mkdir(parents=True, exist_ok=True)
        gl.audio.write(tmp_path / f"music/{label}/{number}.wav", gl.tune.compose(4, 4000, random_seed=number), 4000)
    return gl.Corpus.build(tmp_path / "music", tmp_path / "music.h5", sample_rate=4000)


def styled(**changes):
    changes = {"conditions": {"style": "folder", "style_size": 3}, **changes}
    return Recipe(encoder={"block_size": 100}, network={"units": (4,)}, windows={"steps": 8}, **changes)


def test_a_recipe_with_a_style_knows_the_labels_of_its_corpus(two_folders):
    assembly = styled(split={"validation": 0.3, "by": "time"}).build(two_folders)
    (style,) = gl.conditions.conditions_of(assembly.model.stack)
    assert (style.labels, style.by, style.size) == (("jazz", "rock"), "folder", 3)
    again = styled(split={"validation": 0.3, "by": "time"}).build(two_folders)
    for one, two in zip(assembly.model.stack.get_weights(), again.model.stack.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    history = assembly.model.fit(assembly.windows, validation_data=assembly.validation_windows, verbose=0).history
    assert np.isfinite(history["val_loss"][-1])


def test_a_style_whose_music_is_all_held_out_is_refused(two_folders):
    recipe = styled(conditions={"style": "track"}, split={"validation": 0.5, "by": "track"})
    with pytest.raises(ValueError, match=r"Each label of a style needs music to train on.*--split-by time"):
        recipe.build(two_folders)


# --- the page ---------------------------------------------------------------------------------------------------------


def table():
    """A line a field: its source, and the options with their flags."""
    lines = ["| field | purpose | options, and flags of another name |", "|---|---|---|"]
    words = _signatures._words(_signatures._find("recipes._recipe", "Recipe")[1])
    for field in dataclasses.fields(Recipe):
        flags = {flag.path.partition(".")[2]: flag.name for flag in _options.flags([field.name])}
        names = [
            f"`{flag}`" if flag == (option or field.name) else f"`{option}` (`--{flag.replace('_', '-')}`)"
            for option, flag in flags.items()
        ]
        lines.append(f"| `{field.name}` | {words[field.name]} | {', '.join(names)} |")
    return "\n".join(lines)


BEGIN, END = "<!-- fields: begin -->", "<!-- fields: end -->"


def test_the_page_shows_all_fields_options_and_flags():
    assert PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip() == table()


if __name__ == "__main__":
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", "utf-8")
