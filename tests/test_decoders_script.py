"""The script that measures the decoders, at a tiny size."""

import numpy as np
import pytest

import gruvlike as gl

RATE = 16_000


@pytest.fixture
def script(bench):
    return bench("decoders")


def test_parts_and_clips_do_not_overlap(script):
    tracks = [np.arange(1000.0), np.arange(1000.0, 3000.0)]
    fitting, clips, reference = script.cut(tracks, count=3, size=100)
    every = np.concatenate([*fitting, *clips, *reference])
    assert len(set(every)) == len(every) == 1800 + 300 + 600
    assert [len(clip) for clip in clips] == [100] * 3


def test_a_row_for_each_case(script):
    tracks = [gl.tune.compose(20, RATE, random_seed=k) for k in (1, 2)]
    cases = (script.Case(iterations=2), script.Case(components=2, iterations=2), script.Case(decoder="unit_selection"))
    rows = list(script.rows(cases, tracks, script.embedding(None), count=4, size=2 * RATE))
    assert {len(row) for row in rows} == {len(script.HEADER)}
    assert [row[0] for row in rows] == ["the clips", "griffin_lim", "griffin_lim", "unit_selection"]
    fine, coarse = (float(row[7]) for row in rows[1:3])
    assert 0 < fine < coarse  # two components do not make music


def test_the_embedding_of_a_judge(script, tmp_path):
    file = tmp_path / "judge.py"
    file.write_text(
        "class Halves:\n    def predict(self, x, verbose):\n        return x / 2\n\n"
        "def embedding_model():\n    return Halves()\n\ndef patches(samples):\n    return samples.reshape(-1, 2)\n"
    )
    np.testing.assert_array_equal(script.embedding(file)(np.ones(4)), np.full((2, 2), 0.5))
