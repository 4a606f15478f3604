"""The clock of a training whose learning rate falls, over several calls that go on with one run."""

from itertools import pairwise

import keras
import pytest

import gruvlike as gl
from gruvlike.callbacks import CosineOverTime, TimeLimit, run_callbacks
from gruvlike.cli import _session
from gruvlike.cli._session import Budget

pytestmark = pytest.mark.backends

SECONDS = 6.0  # that a batch takes, on the clock of these tests


class ByBatches(CosineOverTime):
    """Counts batches instead of seconds."""

    def _elapsed(self):
        return SECONDS * self._updates


class Rates(keras.callbacks.Callback):
    """Notes the learning rate of each batch, and stops training after some of them."""

    def __init__(self, most=1000):
        super().__init__()
        self.most, self.rates = most, []

    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))
        if len(self.rates) >= self.most:
            self.model.stop_training = True


@pytest.fixture
def trained(tmp_path, monkeypatch, capsys):
    """Goes on with the run of this test, and returns the rates of its batches and the output."""
    monkeypatch.setattr(_session, "CosineOverTime", ByBatches)
    gl.audio.write(tmp_path / "tune.wav", gl.tune.compose(2, 4000), 4000)
    corpus = gl.Corpus.build(tmp_path / "tune.wav", tmp_path / "music.h5", sample_rate=4000)
    encoder = gl.TimeBlocks(20)
    windows = corpus.windows(encoder, steps=9, batch_size=7, offset=0)  # six batches an epoch

    def train(minutes, most=1000, decay=True):
        stack = gl.recurrent_stack(encoder.features, units=(3,), random_seed=0)
        model = gl.AudioModel(encoder, gl.GlobalScale().fit(corpus, encoder), stack, corpus.sample_rate)
        model.compile(keras.optimizers.SGD(0.5))
        rates = Rates(most)
        callbacks = [*run_callbacks(tmp_path / "run", preview_every=0), rates]
        _session.fit(model, windows, None, callbacks, Budget(None, minutes, decay))
        return rates.rates, capsys.readouterr().out

    return train


def test_a_run_goes_on_where_its_clock_was(trained):
    first, _ = trained(minutes=8, most=25)  # of 80 batches
    rest, said = trained(minutes=8)
    assert len(first) + len(rest) == 80
    assert " 480 of 480 s" in said
    assert all(one >= other for one, other in pairwise(rest[30:]))
    assert rest[-1] == pytest.approx(0.5 * 0.03, rel=0.05)
    assert rest[0] > 0.1  # after the warm-up of the first call, not after one of its own
    assert "are over" not in said

    after, said = trained(minutes=8)
    assert len(after) == 1
    assert "The 8 minutes of this run are over." in said
    more, said = trained(minutes=16)
    assert len(first) + len(rest) + len(after) + len(more) == 160
    assert more[7] > 5 * rest[-1]


def test_without_decay_the_minutes_are_those_of_the_call(trained, monkeypatch):
    limits = []
    monkeypatch.setattr(_session, "TimeLimit", lambda minutes: limits.append(minutes) or TimeLimit(minutes))
    for _ in range(2):
        rates, said = trained(minutes=8, most=3, decay=False)
        assert set(rates) == {0.5}
        assert " of 480 s" in said
    assert limits == [8, 8]
