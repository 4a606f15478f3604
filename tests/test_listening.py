"""The listening page: its sounds, its tables, its words and its size, read as a browser reads them."""

import base64
import dataclasses
import hashlib
import io
import itertools
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

import gruvlike as gl
from gruvlike import cli, listening
from gruvlike.listening import _measuring, _openings, _page, _runs, _sounds
from gruvlike.listening._measuring import Table

RATE = 8000
SMALL = ["--steps", "8", "--validation", "0.4", "--preview-every", "0", "--epochs", "2", "--units", "8"]
PAPER = ["--recipe", "paper", "--block-size", "100", *SMALL]
WISH = _openings.Wish(1, 4.5, 4.2, None, 0)
SHORT = {"seeds": 1, "seed_seconds": 4.5, "seconds": 4.2}
NO_SOUND = _sounds.Group("none", "0:00", [_sounds.Clip("seed", "Seed", -1, RATE, -1.0, 0.0, "data:,", "data:,", "")])
HOSTILE = "<script>alert('x')</script>\"' onerror=alert(1) {{ 7 * 7 }} 🎵 \u202eevil \udcff\x00" + "ä" * 300


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a corpus, a run that draws nothing, and a copy of it with a model that draws its frames."""
    folder = tmp_path_factory.mktemp("listening")
    (folder / "music").mkdir()
    for k in range(2):
        gl.audio.write(folder / f"music/{k}.wav", gl.tune.compose(25, RATE, random_seed=k), RATE)
    assert cli.main(["prepare", f"{folder}/music", f"{folder}/music.h5", "--sample-rate", str(RATE)]) == 0
    assert cli.main(["train", f"{folder}/music.h5", f"{folder}/plain", *PAPER]) == 0
    shutil.copytree(folder / "plain", folder / "draws")
    plain, head = gl.load(folder / "plain/best.keras"), gl.heads.Mixture(components=2)
    stack = gl.recurrent_stack(plain.normalizer.width, units=(4,), head=head, random_seed=0)
    gl.AudioModel(plain.encoder, plain.normalizer, stack, RATE, head=head).save(folder / "draws/best.keras")
    return folder


@pytest.fixture(scope="module")
def runs(work):
    """The two, with less music to compare songs with, which takes less time."""
    found = [listening.read_run(work / name) for name in ("plain", "draws")]
    music = [dataclasses.replace(track, stop=track.start + 4 * RATE) for track in found[0].music]
    return [dataclasses.replace(run, music=music) for run in found]


@pytest.fixture
def unmeasured(monkeypatch, plain_pictures):
    """Pages without measures, learning curves and pictures, which take most of the time."""
    monkeypatch.setattr(_measuring, "table_of", lambda *_: Table([], [], "not now"))
    monkeypatch.setattr(_page, "_curve", lambda run: "")


class Page(HTMLParser):
    """The elements of a page: (tag, attributes), and its text."""

    def __init__(self, file):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(file.read_text("utf-8"))
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag, **wanted):
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]


def data_of(uri, kind):
    head, _, body = uri.partition(",")
    assert head == f"data:{kind};base64"
    return io.BytesIO(base64.b64decode(body, validate=True))


@pytest.fixture(scope="module")
def both(work, runs):
    """The page of both runs, as it is, and its notes."""
    file = work / "both.html"
    return file, listening.write_page(file, runs, **SHORT)


def test_the_page_has_all_sounds_and_they_are_those(both, runs):
    page = Page(both[0])
    figures = [(one["data-kind"], one["data-title"]) for one in page.all("figure")]
    temperatures = [f"temperature {one:g}, draws" for one in _openings._temperatures(runs[1], WISH)]
    assert figures == [
        ("seed", "Seed"),
        ("real", "Real continuation"),
        ("take", "song, plain"),
        *[("take", title) for title in temperatures],
    ]
    assert len(temperatures) >= 2
    sounds = [soundfile.read(data_of(one["src"], "audio/mpeg"))[0] for one in page.all("audio") if "src" in one]
    seed, real, song = sounds[:3]
    assert [round(one.size / RATE, 1) for one in sounds] == [4.5, *[6.2] * (len(sounds) - 1)]
    opening = _openings.openings_of(runs, WISH)[0][0]
    lead = opening.seeds[RATE][-2 * RATE :]
    for found, samples in (
        (seed, opening.seeds[RATE]),
        (real, np.concatenate([lead, opening.real[RATE]])),
        (song, np.concatenate([lead, opening.takes[0].samples])),
    ):
        assert np.corrcoef(found[: samples.size], samples)[0, 1] > 0.97
    # The music that really follows is what stands after the seed in the held-out track.
    track = next(track for track in runs[0].held_out if track.hash == opening.place.hash)
    start = round(opening.place.seconds * RATE) - track.start
    assert np.array_equal(
        track.samples(start, start + 36_000 + 33_600), np.concatenate([opening.seeds[RATE], opening.real[RATE]])
    )


def test_pictures_have_words_and_places_on_one_axis(both):
    page = Page(both[0])
    images = [one for one in page.all("img") if one["src"].startswith("data:image/webp")]
    assert len(images) == len(page.all("figure"))
    for image in page.all("img"):
        assert len(image["alt"]) > 30
    kind = "image/webp"
    head = data_of(images[0]["src"], kind).read(12)
    assert head[:4] == b"RIFF"
    assert head[8:] == b"WEBP"
    places = [re.findall(r"[\d.]+", one["style"]) for one in page.all("div", **{"class": "picture"})]
    axis = 4.5 + 4.2
    assert places[0] == ["0.000", f"{100 * 4.5 / axis:.3f}"]
    assert all(place == [f"{100 * 2.5 / axis:.3f}", f"{100 * 6.2 / axis:.3f}"] for place in places[1:])


def test_the_page_needs_no_network_and_runs_its_own_script_alone(both):
    text = both[0].read_text("utf-8")
    page = Page(both[0])
    (policy,) = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    script = re.search("<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    for name in ("src", "href"):
        assert all(one[name].startswith(("data:", "#")) for _, one in page.elements if name in one)
    assert not re.search(r"https?://", text)
    assert not [name for _, one in page.elements for name in one if name.startswith("on")]


def test_the_table_has_controls_that_are_worse(both, runs):
    page = both[0].read_text("utf-8")
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", page, re.DOTALL)]
    heads = [row for row in rows if row[0] == "measure"]
    assert heads[0] == ["measure", "song", "real music", "frozen block", "noise", "nothing is wrong at"]
    assert heads[1][1:-4] == [_measuring.title_of(one) for one in _openings._temperatures(runs[1], WISH)]
    table = {row[0]: [float(one) for one in row[1:-1]] for row in rows[1 : rows.index(heads[1])] if "–" not in row}
    assert table["flux"][2] < 0.2 < table["flux"][1]
    assert table["repetition"][2] > 0.95
    assert table["flatness excess db"][3] > 5 > table["flatness excess db"][1]
    assert table["log spectral distance"][1] < min(table["log spectral distance"][2:])


def test_the_table_is_that_of_a_report(runs):
    openings, _ = _openings.openings_of(runs[:1], WISH)
    table = _measuring.table_of(runs[0], 0, openings)
    song, seed, place = openings[0].takes[0].samples, openings[0].seeds[RATE], openings[0].place
    music = [(track.name, track.samples()) for track in runs[0].music]
    expected = dict(gl.metrics.report(song, music, 100, RATE))
    own = gl.metrics.rhythm_pattern(song, RATE, place.beat_seconds, start_seconds=4.5)
    theirs = gl.metrics.rhythm_pattern(seed, RATE, place.beat_seconds)
    expected["own_rhythm"] = gl.metrics.rhythm_similarity(own, theirs)
    for name, _, values in table.rows:
        assert values[0] == pytest.approx(expected[name], rel=1e-3, abs=1e-4), name
    assert {name for name, *_ in table.rows} >= {"own_rhythm", "copy_score", "frechet_distance"}


def test_songs_are_compared_with_so_much_music_and_no_more(runs, monkeypatch):
    whole, note = _measuring._music(runs[0])
    assert note == ""
    assert [len(sound.samples) for sound in whole] == [4 * RATE] * 2
    monkeypatch.setattr(_measuring, "_MOST_MINUTES", 2 / 60)
    part, note = _measuring._music(runs[0])
    assert [len(sound.samples) for sound in part] == [RATE] * 2
    assert note.startswith("The reference is the first 25 % of each track")
    assert "The reference is the first 25 %" in _page.render(runs[:1], [NO_SOUND], [Table([], [], note)], [])


def test_settings_versions_command_and_curves_are_there(both, work):
    page = Page(both[0])
    assert f"gruvlike train {work}/music.h5 {work}/plain --recipe paper" in page.text
    for words in ("parameters", "encoder.block_size", "100", "keras", gl.__version__, "network.units"):
        assert words in page.text
    curves = page.all("img", **{"class": "curve"})
    assert len(curves) == 2
    assert data_of(curves[0]["src"], "image/png").read(4) == b"\x89PNG"
    assert "training from" in curves[0]["alt"]
    assert "To beat: predicting the mean 1.00" in curves[0]["alt"]


def test_labels_and_headings_are_whole(both):
    page = Page(both[0])
    ids = [one["id"] for _, one in page.elements if "id" in one]
    assert len(ids) == len(set(ids))
    for label in ("aria-label" + "ledby", "href"):  # in one piece the name counts as British spelling
        links = [one[label].lstrip("#") for _, one in page.elements if label in one and one[label] != "data:,"]
        assert links
        assert set(links) <= set(ids)
    for audio in page.all("audio"):
        assert any(name.startswith("aria-label") and value for name, value in audio.items())
        assert "controls" in audio
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_a_page_is_the_same_each_time(runs, tmp_path, unmeasured):
    brief = {"temperatures": (1.0,), "seeds": 1, "seed_seconds": 1.0, "seconds": 1.0}
    for name in ("a", "b"):
        listening.write_page(tmp_path / name, runs[1:], **brief)
    listening.write_page(tmp_path / "c", runs[1:], random_seed=1, **brief)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_a_hostile_name_is_text_and_nothing_else(runs, tmp_path, unmeasured):
    held_out = [dataclasses.replace(track, name=HOSTILE) for track in runs[0].held_out]
    run = dataclasses.replace(
        runs[0],
        name=HOSTILE,
        held_out=held_out,
        command=HOSTILE,
        settings={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
        notes=[HOSTILE],
    )
    file = tmp_path / "page.html"
    listening.write_page(file, [run], **SHORT)
    page = Page(file)
    assert len(page.all("script")) == 1
    assert not [name for _, one in page.elements for name in one if name.startswith("on")]
    shown = HOSTILE.translate(dict.fromkeys(map(ord, "\u202e\udcff\x00"), "\ufffd"))
    assert page.text.count(" ".join(shown.split())) >= 8
    assert "49" not in page.text.replace("sha256", "")[:400]


# --- seeds ------------------------------------------------------------------------------------------------------------


def test_seeds_are_held_out_and_do_not_overlap(runs):
    openings, notes = _openings.openings_of(runs[:1], _openings.Wish(9, 2.0, 1.0, None, 0))
    places = sorted((opening.place.hash, opening.place.seconds) for opening in openings)
    assert "room for 6 of 9 seeds" in notes[0]
    for (one, first), (other, second) in itertools.pairwise(places):
        assert one != other or second - first >= 3.0 - 1 / RATE
    for opening in openings:
        assert any(
            track.hash == opening.place.hash
            and track.start / RATE <= opening.place.seconds
            and opening.place.seconds + 3.0 <= track.stop / RATE + 1 / RATE
            for track in runs[0].held_out
        )
    assert {one for one, _ in places} == {track.hash for track in runs[0].held_out}


def test_music_that_is_too_short_makes_shorter_songs_or_none(runs):
    wish = _openings.Wish(1, 30.0, 60.0, None, 0)
    openings, notes = _openings.openings_of(runs[:1], wish)
    longest = max(track.seconds for track in runs[0].held_out)
    assert len(openings[0].seeds[RATE]) + len(openings[0].real[RATE]) == pytest.approx(longest * RATE, abs=2)
    assert f"The longest held-out piece has {longest:.1f} s" in notes[0]
    brief = [dataclasses.replace(track, stop=track.start + 150) for track in runs[0].held_out]
    with pytest.raises(ValueError, match="two frames"):
        _openings.openings_of([dataclasses.replace(runs[0], held_out=brief)], wish)


def test_runs_share_the_music_that_all_of_them_hold_out(runs):
    def cut(run, first, last):
        tracks = [dataclasses.replace(one, start=one.start + first, stop=one.start + last) for one in run.held_out]
        return dataclasses.replace(run, held_out=tracks)

    one, other = cut(runs[0], 0, 50_000), cut(runs[1], 20_000, 70_000)
    openings, _ = _openings.openings_of([one, other], _openings.Wish(9, 1.0, 1.0, (1.0,), 0))
    starts = {opening.place.hash: [] for opening in openings}
    for opening in openings:
        starts[opening.place.hash].append(opening.place.seconds)
    for track in runs[0].held_out:
        low, high = (track.start + 20_000) / RATE, (track.start + 50_000) / RATE
        assert starts[track.hash]
        assert all(low <= start and start + 2.0 <= high + 1 / RATE for start in starts[track.hash])
    with pytest.raises(ValueError, match=r"hold out music in common. Received: 'plain', 'draws'"):
        _openings.openings_of([cut(runs[0], 0, 20_000), cut(runs[1], 20_000, 70_000)], _openings.Wish(1, 1, 1, None, 0))


def test_a_place_is_read_from_its_own_section_of_a_track(runs):
    track = runs[0].held_out[0]
    parts = [
        dataclasses.replace(track, stop=track.start + 25_000),
        dataclasses.replace(track, start=track.start + 50_000),
    ]
    openings, _ = _openings.openings_of(
        [dataclasses.replace(runs[0], held_out=parts)], _openings.Wish(9, 1.0, 1.0, None, 0)
    )
    whole, starts = dataclasses.replace(track, start=0).samples(), []
    for opening in openings:
        starts.append(round(opening.place.seconds * RATE))
        assert np.array_equal(opening.seeds[RATE], whole[starts[-1] : starts[-1] + RATE])
    assert min(starts) < parts[1].start <= max(starts)


def test_runs_of_two_sample_rates_are_compared_at_the_same_place(runs, work, tmp_path, plain_pictures):
    corpus = gl.Corpus.build(work / "music", tmp_path / "low.h5", sample_rate=4000)
    by_hash = {track.hash: track for track in corpus}
    held_out = [
        dataclasses.replace(by_hash[one.hash], start=one.start // 2, stop=one.stop // 2) for one in runs[0].held_out
    ]
    encoder = gl.BlockDFT(100)
    stack = gl.recurrent_stack(encoder.features, units=(4,), random_seed=0)
    model = gl.AudioModel(encoder, gl.GlobalScale().fit(corpus, encoder), stack, 4000)
    low = listening.Run(name="low", model=model, held_out=held_out, music=list(corpus))
    openings, _ = _openings.openings_of([runs[0], low], _openings.Wish(2, 2.0, 2.0, None, 0))
    for opening in openings:
        high_rate, low_rate = opening.real[RATE], opening.real[4000]
        assert high_rate.size == 2 * low_rate.size == 16_000
        lag = np.correlate(high_rate[::2][:4000], low_rate[:4000], "full").argmax() - 3999
        assert abs(lag) <= 2
    groups, _ = _sounds.groups_of(openings, 10**8)
    kinds = [(clip.title, clip.sample_rate) for clip in groups[0].clips if clip.kind == "real"]
    assert kinds == [("Real continuation, 8000 Hz", 8000), ("Real continuation, 4000 Hz", 4000)]


def test_a_page_that_is_too_large_leaves_the_earlier_file(runs, tmp_path, unmeasured):
    file = tmp_path / "page.html"
    file.write_text("earlier")
    with pytest.raises(ValueError, match="at most 30,000 bytes"):
        listening.write_page(file, runs[:1], most_bytes=30_000, **SHORT)
    assert file.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [file]
    notes = listening.write_page(file, runs[1:], most_bytes=300_000, **{**SHORT, "seconds": 5.0})
    assert file.stat().st_size <= 300_000
    assert "earlier" not in file.read_text()
    assert all(note in Page(file).text for note in notes)


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"seeds": 0}, "seeds"),
        ({"seed_seconds": 0}, "seed_seconds"),
        ({"seconds": -1}, "seconds"),
        ({"random_seed": -1}, "random_seed"),
        ({"most_bytes": 0}, "most_bytes"),
        ({"temperatures": (1.0,)}, "heads that draw"),
    ],
)
def test_bad_arguments_are_refused(runs, tmp_path, options, match):
    with pytest.raises(ValueError, match=match):
        listening.write_page(tmp_path / "page.html", runs[:1], **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("temperatures", [(), (-1.0,), (float("nan"),)])
def test_bad_temperatures_are_refused(runs, tmp_path, temperatures):
    with pytest.raises(ValueError, match="temperatures"):
        listening.write_page(tmp_path / "page.html", runs[1:], temperatures=temperatures)


def test_short_songs_have_no_measures_and_the_page_says_why(runs, tmp_path, plain_pictures):
    file = tmp_path / "page.html"
    listening.write_page(file, runs[:1], seeds=1, seed_seconds=1.0, seconds=1.0)
    assert "There are no measures. A report takes 4 s" in Page(file).text


def test_a_run_that_holds_out_nothing_says_so(work, tmp_path, unmeasured):
    folder = shutil.copytree(work / "plain", tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    config["parts"]["validation"] = []
    (folder / "config.json").write_text(json.dumps(config))
    run = listening.read_run(folder)
    notes = listening.write_page(tmp_path / "page.html", [run], **SHORT)
    assert notes == ["This run holds out no music: its seeds are music that it was trained on."]
    page = Page(tmp_path / "page.html")
    assert notes[0] in page.text
    assert "has seen in training" not in page.text


def test_a_run_whose_corpus_has_moved_or_is_not_known(work, tmp_path):
    folder = shutil.copytree(work / "plain", tmp_path / "run")
    config = json.loads((folder / "config.json").read_text())
    assert config["corpora"] == dict.fromkeys(("train", "validation"), str(work / "music.h5"))
    config["corpora"]["validation"] = str(tmp_path / "moved.h5")
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(FileNotFoundError, match=r"moved.h5'.*--corpus"):
        listening.read_run(folder)
    del config["corpora"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not name it"):
        listening.read_run(folder)
    assert [track.seconds for track in listening.read_run(folder, work / "music.h5").held_out] == [10.0, 10.0]
    other = gl.Corpus.build(work / "music/0.wav", tmp_path / "other.h5", sample_rate=RATE)
    with pytest.raises(ValueError, match=r"without '1.wav'. Give the corpus that the run was trained on"):
        listening.read_run(folder, other.file)
    low = gl.Corpus.build(work / "music", tmp_path / "low.h5", sample_rate=4000)
    with pytest.raises(ValueError, match=r"lies within it|model's 8000 Hz"):
        listening.read_run(folder, low.file)


def test_a_folder_that_is_no_whole_run(work, tmp_path):
    folder = shutil.copytree(work / "plain", tmp_path / "run")
    for name in ("best", "newest", "previous"):
        (folder / f"{name}.keras").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="has a model"):
        listening.read_run(folder)
    for text in ("{", "[" * 100_000, "[]", '{"parts": 1}', '{"parts": {"train": 3}}', "{}"):
        (folder / "config.json").write_text(text)
        with pytest.raises(ValueError, match="settings of a run"):
            listening.read_run(folder)
    with pytest.raises(FileNotFoundError, match="A run is a folder"):
        listening.read_run(tmp_path)


def test_what_is_no_number_in_a_history_is_left_out(work, tmp_path):
    folder = shutil.copytree(work / "plain", tmp_path / "run")
    rows = [{"epoch": 0, "loss": 1.0, "x": "<b>"}, {"epoch": 1, "loss": None, "seconds": [1]}]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"epoch":')
    history = listening.read_run(folder).history
    assert history == {"epoch": [0.0, 1.0], "loss": [1.0, pytest.approx(np.nan, nan_ok=True)]}


def test_settings_are_laid_flat_to_some_depth():
    deep = {"a": [{"b": 1}, {"b": None}], "c": (), "d": [1, 2]}
    assert list(_runs.flat(deep)) == [("a.0.b", "1"), ("d", "1, 2")]
    for _ in range(900):
        deep = {"x": deep}
    ((name, value),) = _runs.flat(deep)
    assert (name.count("x"), value) == (9, "...")


# --- the command ------------------------------------------------------------------------------------------------------


def fails(capsys, arguments, *says):
    capsys.readouterr()
    assert cli.main([str(word) for word in arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("gruvlike: error: ")
    for text in says:
        assert text in error


def test_the_command_writes_the_page_beside_the_run_and_replaces_none(work, capsys, unmeasured):
    words = ["listen", f"{work}/plain", f"{work}/draws", "--seeds", "1", "--seconds", "3", "--seed-seconds", "3"]
    words += ["--temperatures", "0.5"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    file = work / "plain/listen.html"
    assert f"{file}: " in out
    assert "MB; open it in a browser" in out
    titles = [one["data-title"] for one in Page(file).all("figure", **{"data-kind": "take"})]
    assert titles == ["song, plain", "temperature 0.5, draws"]
    before = file.read_bytes()
    fails(capsys, words, "listen.html' exists", "--overwrite")
    assert file.read_bytes() == before
    assert cli.main([*words, "--overwrite", "--random-seed", "1"]) == 0
    assert file.read_bytes() != before


def test_mistakes_of_the_command(work, capsys, tmp_path):
    page = ["--out", tmp_path / "page.html"]
    fails(capsys, ["listen", "none", *page], "There is no run 'none'")
    fails(capsys, ["listen", tmp_path, *page], "config.json")
    fails(capsys, ["listen", work / "plain", "--out", tmp_path / "no/page.html"], "There is no folder")
    fails(capsys, ["listen", work / "plain", *page, "--corpus", "none.h5"], "There is no file 'none.h5'")
    fails(capsys, ["listen", work / "plain", *page, "--seconds", "0"], "seconds")
    fails(capsys, ["listen", work / "plain", *page, "--temperatures", "1"], "heads that draw")
    with pytest.raises(SystemExit):
        cli.main(["listen", str(work / "plain"), "--temperatures", "hot"])
    assert not list(tmp_path.iterdir())
