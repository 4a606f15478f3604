"""The options of the command line: where they come from, and that a bad value is refused before anything is opened."""

import dataclasses
import json
import sys

import pytest

import gruvlike as gl
from gruvlike import cli, recipes
from gruvlike.cli import _options
from gruvlike.recipes import Recipe
from gruvlike.recipes._sources import SOURCES

FLAGS = {flag.name.replace("_", "-"): flag for fields in _options.GROUPS.values() for flag in _options.flags(fields)}
RUN = {name.replace("_", "-") for name in _options.run_options()}
# Of 2015 and of the first version: their names and meanings are promises.
PROMISED = """
    encoder block-size normalizer steps hop batch-size cell units projection dropout input-dropout input-noise
    optimizer learning-rate epochs minutes validation test patience preview-every random-seed
"""

PAPER = ["--recipe", "paper"]  # its parts are those of the flags that were first
# Bad values of each option, refused without Keras: of a wrong type, out of range, unknown. Words before them are those
# of a part that has the option.
STFT, LOG = ["--encoder", "stft", "--frame-size", "512"], ["--encoder", "log_spectrum", "--frame-size", "512"]
BAD = {
    "recipe": ([], "papre", "none.json"),
    "validation": ([], "-0.1", "1.5", "1", "x", "nan"),
    "test": ([], "-0.1", "1", "x"),
    "split-by": ([], "tracks"),
    "gap-seconds": ([], "-1", "inf"),
    "steps": ([], "0", "-3", "2.5", "x", "none"),
    "batch-size": ([], "0", "x"),
    "hop": ([], "0", "x"),
    "offset": ([], "-1", "randm"),
    "shuffle": ([], "=x"),
    "stateful": (["--hop", "100"], "", "=x"),
    "encoder": ([], "mdtc", "none"),
    "block-size": ([], "0", "-3", "x"),
    "frame-size": (STFT, "0", "x"),
    "encoder-hop": (STFT, "0", "x"),
    "window": (["--encoder", "mdct"], "hann", "kaiser,8"),
    "mels": (LOG, "0", "x"),
    "floor-db": (LOG, "1", "x"),
    "iterations": (LOG, "0", "x"),
    "encoder-momentum": (LOG, "-1", "2"),
    "encoder-random-seed": (LOG, "-1", "x"),
    "normalizer": ([], "standard"),
    "normalizer-components": (["--normalizer", "principal_components"], "0", "2.5", "x"),
    "cell": ([], "rnn"),
    "units": ([], "0", "8,x", "8,-8", ",", "none"),
    "projection": ([], "-1", "x"),
    "input-dropout": ([], "-0.1", "2", "x"),
    "dropout": ([], "-0.1", "2", "x"),
    "input-noise": ([], "-0.1", "x"),
    "told-noise": ([], "-0.1", "x"),
    "recurrent-dropout": ([], "-0.1", "2", "x"),
    "layer-norm": ([], "=x"),
    "skip": ([], "=x"),
    "forget-bias": ([], "nan", "x"),
    "residual": ([], "=x"),
    "head": ([], "pointt"),
    "head-components": (["--head", "mixture"], "0", "2.5", "x"),
    "temperature": (["--head", "mixture"], "-1", "nan", "x"),
    "clock": ([], "=x"),
    "lags": ([], "0", "-1", "1,x"),
    "anchor": ([], "-1", "x"),
    "style": ([], "year", "1"),
    "style-size": ([], "0", "x"),
    "optimizer": ([], "adm"),
    "learning-rate": ([], "0", "-1", "nan", "x"),
    "optimizer-momentum": ([], "-1", "2", "x"),
    "weight-decay": ([], "-1", "x"),
    "global-clipnorm": ([], "0", "x"),
    "scheduled-sampling": ([], "-1", "2", "x"),
    "sampling-updates": ([], "0", "x"),
    "rollout-steps": ([], "-1", "40", "x"),
    "epochs": ([], "0", "-1", "x", "none"),
    "minutes": ([], "0", "-1", "nan", "x"),
    "decay": ([], "=x"),
    "patience": ([], "0", "-1", "x"),
    "choose-by": ([], "melody", "1"),
    "random-seed": ([], "-1", "x", "none"),
    "preview-every": ([], "-1", "x"),
    "preview-seconds": ([], "0", "x"),
    "save-minutes": ([], "0", "x"),
}  # fmt: skip
# Only the part itself can refuse these.
BY_PARTS = {
    "window": [*STFT, "--window", "banana"],
    "encoder-hop": [*STFT, "--encoder-hop", "513"],
    "mels": [*LOG, "--mels", "2000"],
    "block-size": ["--encoder", "mdct", "--block-size", "101"],
    "forget-bias": ["--cell", "gru", "--forget-bias", "2"],
    "dropout": ["--dropout", "1"],
    "loss": ["--loss", "banana"],
    "optimizer-momentum": ["--optimizer", "adam", "--optimizer-momentum", "0.9"],
}


def parsed(*words):
    """The recipe of a command line."""
    return _options.recipe_of(vars(cli.parser().parse_args(["train", "music.h5", "runs/a", *words])))


def of_paper(*words):
    """The recipe of a command line that begins with the paper's."""
    return parsed(*PAPER, *words)


def refused(capsys, words):
    """Runs a command that must end with exit code 2 and one line, and returns that."""
    try:
        code = cli.main(words)
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert (code, said.out) == (2, "")
    assert line.startswith("gruvlike: error: ")
    return line


def test_each_option_of_a_recipe_has_a_flag_of_its_own():
    paths = {flag.path for flag in FLAGS.values()}
    known = {
        f"{field}.{option}"
        for field, source in SOURCES.items()
        for part in (source.parts() if source.is_family else [""])
        for option in source.options(part)
    }
    assert paths == known | {field.name for field in dataclasses.fields(Recipe)} - set(SOURCES)
    assert len(paths) == len(FLAGS) == sum(1 for fields in _options.GROUPS.values() for _ in _options.flags(fields))
    assert set(PROMISED.split()) <= set(FLAGS) | RUN
    assert not RUN & set(FLAGS)


def test_without_options_it_is_the_recipe_that_makes_music():
    assert parsed() == parsed("--recipe", "music") == recipes.get("music")
    assert parsed("--steps", "41") != parsed() == parsed("--steps", "64")
    assert of_paper() == Recipe() != parsed()


def test_the_defaults_in_the_help_are_those_of_a_line_without_options(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for default in (
        "256,256",
        "log_spectrum",
        "principal_components",
        "mixture",
        "gru",
        "adam",
        "0.002",
        "1.0,4.0,8.0",
    ):
        assert f"(default: {default})" in text
    assert "--lags X,X" in text


def test_an_option_of_the_paper_s_parts_is_refused_with_the_way_to_them(capsys):
    words = ["train", "none.h5", "run", "--block-size", "100"]
    line = refused(capsys, words)
    assert "It belongs to time_blocks, block_dft" in line
    assert line.endswith("add `--recipe paper`.")
    assert "There is no file" in refused(capsys, [*words, *PAPER])
    for other in (["--block-size", "0"], ["--epochs", "3", "--minutes", "none"], ["--steps", "0"]):
        assert "--recipe paper" not in refused(capsys, [*words[:3], *other])


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("--block-size 100", "encoder", {"name": "block_dft", "block_size": 100}),
        ("--encoder mdct --block-size 9 --window kbd", "encoder", {"name": "mdct", "block_size": 9, "window": "kbd"}),
        (
            "--encoder stft --frame-size 512 --encoder-hop 128 --hop 1280",
            "encoder",
            {"name": "stft", "frame_size": 512, "hop": 128, "window": "hann"},
        ),
        (
            "--encoder stft --frame-size 512 --window kaiser,8",
            "encoder",
            {"name": "stft", "frame_size": 512, "hop": None, "window": ("kaiser", 8)},
        ),
        ("--normalizer min_max", "normalizer", {"name": "min_max"}),
        (
            "--normalizer principal_components --normalizer-components 9",
            "normalizer",
            {"name": "principal_components", "components": 9},
        ),
        ("--test 0.2 --split-by time", "split", {"validation": 0.1, "test": 0.2, "by": "time", "gap_seconds": 1.0}),
        ("--epochs 3", "epochs", 3),
        ("--loss mae", "loss", "mae"),
        ("--patience 3", "patience", 3),
        ("--choose-by song", "choose_by", "song"),
    ],
)  # fmt: skip
def test_words_become_options(words, field, value):
    assert getattr(of_paper(*words.split()), field) == value


def test_options_of_a_field_keep_the_others():
    recipe = of_paper("--hop", "700", "--no-shuffle", "--offset", "3", "--layer-norm", "--learning-rate", "0.5")
    assert recipe.windows == {
        "steps": 40, "batch_size": 5, "hop": 700, "offset": 3, "shuffle": False, "stateful": False,
    }  # fmt: skip
    assert recipe.network == {**Recipe().network, "layer_norm": True}
    assert recipe.optimizer == {**Recipe().optimizer, "learning_rate": 0.5}
    recipe = of_paper("--scheduled-sampling", "0.2", "--sampling-updates", "5", "--rollout-steps", "2")
    assert recipe.feedback == {"share": 0.2, "updates": 5, "rollout_steps": 2}


def test_units_come_without_the_projection_of_the_paper():
    def network(*words):
        made = of_paper(*words).network
        return made["units"], made["projection"]

    assert network() == ((1024,), 1024)
    assert network("--units", "8,9") == ((8, 9), None)
    assert network("--units", "8", "--projection", "4") == ((8,), 4)
    assert network("--projection", "0") == network("--projection", "none") == ((1024,), None)


def test_minutes_come_without_the_epochs_of_the_paper():
    def budget(*words):
        recipe = of_paper(*words)
        return recipe.epochs, recipe.minutes

    assert budget() == (50, None)
    assert budget("--minutes", "2") == (None, 2)
    assert budget("--minutes", "2", "--epochs", "3") == (3, 2)


def test_the_learning_rate_falls_over_minutes_or_not_at_all():
    assert (parsed().minutes, parsed().decay) == (5, True)
    assert (parsed("--minutes", "60").minutes, parsed("--minutes", "60").decay) == (60, True)
    with pytest.raises(ValueError, match="--no-decay"):
        parsed("--epochs", "3", "--minutes", "none")
    assert parsed("--epochs", "3", "--minutes", "none", "--no-decay").minutes is None


def test_a_recipe_file_is_what_other_options_change(tmp_path):
    recipe = Recipe(network={"units": (7, 7), "skip": True}, encoder={"name": "mdct", "block_size": 64}, epochs=4)
    (tmp_path / "mine.json").write_text(json.dumps(recipe.to_dict()))
    assert parsed("--recipe", f"{tmp_path}/mine.json") == recipe
    changed = parsed("--recipe", f"{tmp_path}/mine.json", "--block-size", "32", "--dropout", "0.5")
    assert changed == recipe.change(encoder={"block_size": 32}, network={"dropout": 0.5})
    other = parsed("--recipe", f"{tmp_path}/mine.json", "--encoder", "half_dft")
    assert other.encoder == {"name": "half_dft", "block_size": None}


def test_there_is_a_bad_value_for_each_option():
    assert set(BAD) | set(BY_PARTS) == set(FLAGS) | RUN | {"recipe"}


@pytest.mark.parametrize(("flag", "bad"), [(flag, bad) for flag, (_, *values) in BAD.items() for bad in values])
def test_a_bad_value_is_refused_without_keras_and_without_a_file(flag, bad, capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "keras", None)  # whoever imports it gets an ImportError
    given = [f"--{flag}{bad}"] if bad.startswith("=") or not bad else [f"--{flag}", bad]
    line = refused(capsys, ["train", f"{tmp_path}/none.h5", f"{tmp_path}/run", *PAPER, *BAD[flag][0], *given]).lower()
    name = (
        FLAGS[flag].path.rpartition(".")[0 if flag == FLAGS[flag].path.partition(".")[0] else 2]
        if flag in FLAGS
        else ""
    )
    assert (name or flag).replace("-", "_") in line.replace("-", "_")
    assert "none.h5" not in line
    assert not list(tmp_path.iterdir())


def test_good_values_get_as_far_as_the_file(capsys, monkeypatch, tmp_path):
    """The control: without a bad value it is the file that is missed."""
    monkeypatch.setitem(sys.modules, "keras", None)
    words = ["train", f"{tmp_path}/none.h5", f"{tmp_path}/run"]
    assert "There is no file" in refused(capsys, words)
    assert "There is no file" in refused(capsys, [*words, *PAPER, *LOG, "--mels", "40", "--rollout-steps", "39"])


@pytest.mark.parametrize("flag", BY_PARTS)
def test_a_part_refuses_its_options_before_the_corpus_is_opened(flag, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(gl, "Corpus", lambda *_: pytest.fail("the corpus was opened"))
    (tmp_path / "music.h5").write_bytes(b"no corpus")
    line = refused(capsys, ["train", f"{tmp_path}/music.h5", f"{tmp_path}/run", *PAPER, *BY_PARTS[flag]])
    assert flag.rpartition("-")[2] in line
    assert not (tmp_path / "run").exists()


def test_each_encoder_passes_the_check_of_its_options(capsys, monkeypatch, tmp_path):
    """The control: the same without mistakes opens the corpus."""
    (tmp_path / "music.h5").write_bytes(b"no corpus")
    words = ["train", f"{tmp_path}/music.h5", f"{tmp_path}/run"]
    for more in ([], [*STFT, "--window", "kaiser,8"], [*LOG, "--mels", "200"], ["--encoder", "mdct"]):
        assert "music.h5" in refused(capsys, [*words, *PAPER, *more])
    assert "music.h5" in refused(capsys, words)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("prepare none none.h5 --sample-rate 0", "sample_rate"),
        ("prepare none none.h5 --high-pass-hz -1", "high_pass_hz"),
        ("generate none none.wav song.wav --seconds -1", "seconds"),
        ("generate none none.wav song.wav --clips 0", "clips"),
        ("generate none none.wav song.wav --history 0", "history"),
        ("generate none none.wav song.wav --temperature -1", "temperature"),
        ("generate none none.wav song.wav --leash 1.5", "leash"),
        ("generate none none.wav song.wav --random-seed -1", "random_seed"),
        ("generate none none.wav song.wav --bpm 1000", "bpm"),
        ("generate none none.wav song.wav --takes 0", "takes"),
        ("generate none none.wav song.wav --takes 2 --keep 3", "--keep"),
        ("generate none none.wav song.wav --keep 3", "Add --takes"),
        ("generate none none.wav song.wav --takes 2 --clips 2", "--clips 2"),
        ("generate none none.wav song.wav --takes 2 --history 5", "--history 5"),
        ("generate none none.wav song.wav --take -1", "take"),
        ("generate none none.wav song.wav --style jazz:x", "LABEL:WEIGHT"),
        ("generate none none.wav song.wav --style jazz --style 20=rock", "--style 0=jazz"),
        ("measure none.wav --reference none --hop 0", "hop"),
        ("info none --steps 0", "steps"),
        ("info none --batch-size -1", "batch_size"),
        ("doctor none --seconds 0", "seconds"),
    ],
)
def test_other_commands_check_their_options_first_too(words, says, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "keras", None)
    line = refused(capsys, words.split())
    assert says in line
    assert "There is no" not in line
