"""The listening page in a real browser: players advance, the blind test counts, and nothing is complained about."""

import dataclasses
import shutil

import pytest

import gruvlike as gl
from gruvlike import listening

pytestmark = pytest.mark.programs

RATE = 8000
HOSTILE = "<img src=x onerror=document.title='owned'>\"'><script>document.title='owned'</script> 🎵 " + "x" * 300


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A page of two runs that were not trained."""
    folder = tmp_path_factory.mktemp("page")
    gl.audio.write(folder / "tune.wav", gl.tune.compose(40, RATE), RATE)
    corpus = gl.Corpus.build(folder / "tune.wav", folder / "music.h5", sample_rate=RATE)
    train, validation = corpus.split(validation=0.5)
    encoder = gl.BlockDFT(100)
    normalizer = gl.GlobalScale().fit(train, encoder)
    runs = []
    for name, head in (("plain", None), (HOSTILE, gl.heads.Mixture(components=2))):
        stack = gl.recurrent_stack(encoder.features, units=(4,), head=head, random_seed=0)
        model = gl.AudioModel(encoder, normalizer, stack, RATE, **({"head": head} if head else {}))
        runs.append(listening.Run(name=name, model=model, held_out=validation, music=train, history={"loss": [1, 0.5]}))
    held_out = [dataclasses.replace(track, name=HOSTILE) for track in validation]
    runs[0] = dataclasses.replace(runs[0], held_out=held_out)
    listening.write_page(folder / "page.html", runs, seeds=2, seed_seconds=4.0, seconds=4.0)
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, or a skip that says what is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install 'gruvlike[test]'")
    program, driver = (next(filter(None, map(shutil.which, names)), None) for names in (
        ("chromium", "chromium-browser", "google-chrome"), ("chromedriver", "chromium-driver"),
    ))  # fmt: skip
    if not program or not driver:
        pytest.skip("needs Chromium and its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--mute-audio",
        "--force-prefers-reduced-motion",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.set_script_timeout(20)
    yield found
    found.quit()


@pytest.fixture
def page(browser, file):
    """The page, freshly opened; afterwards the browser must have had nothing to complain about."""
    browser.get_log("browser")
    browser.get(file.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def all_of(page, selector):
    return page.find_elements("css selector", selector)


def wait(page, condition):
    """Waits until a condition in JavaScript holds, and returns its value."""
    return page.execute_async_script(
        "const done = arguments[0];"
        f"const look = () => {{ const found = {condition}; found ? done(found) : setTimeout(look, 20); }}; look();"
    )


def test_players_load_and_advance_one_at_a_time(page):
    from selenium.webdriver.common.keys import Keys

    assert wait(page, "[...document.querySelectorAll('audio')].every(one => one.readyState >= 1)")
    durations = page.execute_script("return [...document.querySelectorAll('figure audio')].map(one => one.duration)")
    assert len(durations) == 2 * (2 + 1 + 2)
    assert all(min(abs(one - 4.0), abs(one - 6.0)) < 0.06 for one in durations)
    page.execute_script("document.querySelectorAll('figure audio')[0].loop = true")  # it does not end by itself
    all_of(page, "figure audio")[0].send_keys(Keys.SPACE)
    assert wait(page, "document.querySelectorAll('figure audio')[0].currentTime > 0.2")
    left = page.execute_script("return document.querySelector('figure .cursor').style.left")
    assert 0 < float(left.rstrip("%")) < 100
    all_of(page, "figure audio")[3].send_keys(Keys.SPACE)
    assert wait(page, "document.querySelectorAll('figure audio')[3].currentTime > 0.1")
    assert page.execute_script("return document.querySelectorAll('figure audio')[0].paused")


def test_a_click_into_a_picture_plays_from_there(page):
    wait(page, "document.querySelectorAll('figure audio')[1].readyState >= 1")
    picture = all_of(page, "figure .picture")[1]
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", picture)
    page.execute_script(
        "const audio = document.querySelectorAll('figure audio')[1];"
        "audio.addEventListener('seeking', () => { window.sought = audio.currentTime; }, {once: true});"
    )
    picture.click()  # in the middle
    assert wait(page, "document.querySelectorAll('figure audio')[1].currentTime > 3.1")
    assert abs(page.execute_script("return window.sought") - 3.0) < 0.1


def test_the_blind_test_counts(page):
    real = page.execute_script(
        "return [...document.querySelectorAll('figure[data-kind=real] audio')].map(one => one.src)"
    )
    takes = len(all_of(page, "figure[data-kind=take]"))
    seen, right = set(), 0
    for judged in range(1, takes + 1):
        sources = [page.execute_script("return arguments[0].src", one) for one in all_of(page, "#a, #b")]
        assert sum(source in real for source in sources) == 1
        answer = [source in real for source in sources].index(True)
        seen.add(sources[1 - answer])
        guess = answer if judged % 3 else 1 - answer
        right += guess == answer
        button = all_of(page, "[data-guess]")[guess]
        page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
        button.click()
        verdict = page.find_element("id", "verdict").text
        assert verdict.startswith("Right: " if guess == answer else "Wrong: ")
        assert f"{'AB'[answer]} is real" in verdict
        assert page.find_element("id", "score").text.startswith(f"{right} of {judged} right")
        assert not any(one.is_enabled() for one in all_of(page, "[data-guess]"))
        page.find_element("id", "next").click()
    assert len(seen) == takes  # each song was asked for once
    wait(page, "document.getElementById('a').readyState >= 1")


def test_chance_is_that_of_a_coin(page):
    right = 0
    for judged, (is_right, says) in enumerate(((1, "in 50 of 100"), (1, "in 25 of 100"), (0, "in 50 of 100")), 1):
        right += is_right
        real = page.execute_script(
            "const real = [...document.querySelectorAll('figure[data-kind=real] audio')].map(one => one.src);"
            "return Number(real.includes(document.getElementById('a').src) !== arguments[0])",
            bool(is_right),
        )
        page.execute_script("document.querySelectorAll('[data-guess]')[arguments[0]].click()", real)
        score = page.find_element("id", "score").text
        assert score.startswith(f"{right} of {judged} right")
        assert says in score
        page.execute_script("document.getElementById('next').click()")


def test_everything_is_reached_by_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    reached = []
    for _ in range(400):
        page.switch_to.active_element.send_keys(Keys.TAB)
        name = page.execute_script(
            "const one = document.activeElement;"
            "return one === document.body ? '' : one.tagName + (one.id || one.className)"
        )
        if not name and reached:
            break
        reached.append(name)
    names = [name.split("-")[0] for name in reached]
    for wanted in ("A", "AUDIOa", "AUDIOb", "BUTTON", "AUDIO", "SUMMARY", "DIVwide"):
        assert wanted in names, f"{wanted} not in {sorted(set(names))}"
    button = all_of(page, "[data-guess]")[0]
    button.send_keys(Keys.SPACE)
    assert page.find_element("id", "score").text.endswith("of 100 tests.")
    assert page.execute_script("return document.activeElement.id") == "next"


def test_a_hostile_name_is_shown_and_does_nothing(page):
    assert page.title.endswith(": songs and measures")
    assert "onerror" in page.find_element("css selector", "#listen article h3").text
    assert len(page.execute_script("return [...document.scripts]")) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_window_and_text_has_contrast(page, width, scheme):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
    )
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    colors = page.execute_script(
        "const style = getComputedStyle(document.body);"
        "return [style.color, style.backgroundColor,"
        " getComputedStyle(document.querySelector('figcaption')).color]"
    )
    paper = luminance(colors[1])
    assert (paper > 0.5) == (scheme == "light")
    for color in (colors[0], colors[2]):
        high, low = sorted((luminance(color), paper), reverse=True)
        assert (high + 0.05) / (low + 0.05) > 4.5
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def luminance(color):
    """The relative luminance of WCAG 2 of a color such as "rgb(1, 2, 3)"."""
    parts = [int(one) / 255 for one in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
