import threading

import numpy as np
import pytest
from matplotlib.figure import Figure

from gruvlike import plots

RATE = 8000


def test_waveform_shows_every_peak(melody):
    samples = np.tile(melody, 20)
    samples[123_457] = 0.97
    axes = plots.waveform(samples, RATE)
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(0.97)
    assert axes.get_xlim() == (0, samples.size / RATE)


def test_spectrogram_is_bright_where_the_sound_is():
    t = np.arange(2 * RATE) / RATE
    samples = np.where(t < 1, np.sin(2 * np.pi * 500 * t), np.sin(2 * np.pi * 2000 * t)).astype("float32")
    image = plots.spectrogram(samples, RATE).images[0]
    levels, (_, seconds, low, high) = image.get_array(), image.get_extent()
    mels = np.linspace(low, high, levels.shape[0] + 1)
    for half, hz in ((levels[:, : levels.shape[1] // 2 - 3], 500), (levels[:, levels.shape[1] // 2 + 3 :], 2000)):
        band = half.mean(1).argmax()
        assert mels[band] - 25 <= plots._mel(np.array(float(hz))) <= mels[band + 1] + 25
    assert seconds == 2
    assert levels.max() == 0
    assert levels.min() >= -80


@pytest.mark.parametrize(("size", "rate"), [(1, 8000), (100, 44_100), (5000, 1000), (300_000, 48_000)])
@pytest.mark.parametrize("silent", [False, True])
def test_any_length_and_rate(size, rate, silent, rng, tmp_path):
    samples = np.zeros(size, "float32") if silent else rng.normal(0, 0.1, size).astype("float32")
    plots.waveform(samples, rate)
    axes = plots.spectrogram(samples, rate)
    assert np.isfinite(axes.images[0].get_array()).all()


def test_draws_on_given_axes(melody):
    ax = Figure().subplots()
    assert plots.waveform(melody, RATE, ax) is ax
    assert plots.spectrogram(melody, RATE, ax) is ax
    assert plots.learning_curves({"loss": [1.0]}, ax=ax) is ax


def test_seed_and_song_marks_the_join(melody, tmp_path):
    figure = plots.seed_and_song(melody, 0.5 * melody[:8000], RATE, title="a song")
    above, below = figure.axes
    assert [line.get_xdata()[0] for line in (above.lines[0], below.lines[0])] == [2.0, 2.0]
    assert above.get_xlim() == below.get_xlim() == (0, 3.0)
    figure.savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_learning_curves_mark_the_best_epoch_and_leave_out_other_series():
    history = {"loss": [1.0, 0.8, 0.7], "val_loss": [1.1, 0.9, 1.0], "learning_rate": [1e3, 1e3, 1e3]}
    axes = plots.learning_curves(history, {"predicting the mean": 1.0})
    lines = [list(line.get_ydata()) for line in axes.lines]
    assert lines[:3] == [[1.0, 0.8, 0.7], [1.1, 0.9, 1.0], [0.9]]
    assert list(axes.lines[2].get_xdata()) == [2]
    assert axes.get_ylim()[1] < 2


def test_learning_curves_prefer_relative_losses():
    history = {"loss": [90.0], "relative_loss": [0.9], "val_loss": [80.0], "val_relative_loss": [0.8]}
    axes = plots.learning_curves(history)
    assert [line.get_ydata()[0] for line in axes.lines] == [0.9, 0.8, 0.8]


def test_learning_curves_show_the_free_running_loss_where_it_was_measured():
    nan = np.nan
    history = {"relative_loss": [0.9, 0.8, 0.7, 0.6], "val_relative_loss": [0.9, 0.8, 0.75, 0.7]}
    history |= {"val_free_running_1": [nan, 0.8, nan, 0.7], "val_free_running_5": [nan, 1.5, nan, 1.25]}
    axes = plots.learning_curves(history, {"predicting the mean": 1.0})
    (line,) = (line for line in axes.lines if "free-running" in line.get_label())
    assert line.get_label() == "free-running, frame 5 (last 1.25)"
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([2, 4], [1.5, 1.25])
    assert 1.5 < axes.get_ylim()[1] < 2
    above = plots.learning_curves(history, {"repeating the last frame": 2.5})
    assert above.get_ylim()[1] > 2.5
    wild = plots.learning_curves(history | {"val_free_running_10": [nan, 50, nan, nan]})
    assert any(line.get_label() == "free-running, frame 10 (last 50.00)" for line in wild.lines)
    assert wild.get_ylim() == (0, 2)
    never = plots.learning_curves(history | {"val_free_running_10": [nan] * 4})
    assert not any("free-running" in line.get_label() for line in never.lines)


@pytest.mark.parametrize("history", [{}, {"loss": []}, {"accuracy": [1.0]}])
def test_no_loss_is_an_error(history):
    with pytest.raises(ValueError, match="`history` must hold"):
        plots.learning_curves(history)


@pytest.mark.parametrize("samples", [np.zeros((2, 10)), np.zeros(0), np.array([0.0, np.nan])])
def test_bad_samples(samples):
    for plot in (plots.waveform, plots.spectrogram):
        with pytest.raises(ValueError, match="`samples` must be"):
            plot(samples, RATE)


def test_works_in_threads_and_without_pyplot(melody, tmp_path):
    threads = [
        threading.Thread(target=lambda k=k: plots.waveform(melody, RATE).figure.savefig(tmp_path / f"{k}.png"))
        for k in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.iterdir())) == 2
