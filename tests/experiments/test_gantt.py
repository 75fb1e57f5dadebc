"""Gantt charts show what the trace says: in areas of colour, in words, and at any number of workers."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from numpy.typing import NDArray

from experiments.figures.base import gantt
from experiments.figures.base.gantt import DPI, draw_gantt, gantt_figure
from sparsednn.results.trace import KINDS, Span, Trace
from tests.experiments.traces import cured, large, straggler

METADATA = {"scheduler": "data", "kernel": "csc", "simulated": False}


def drawn(trace: Trace, folder: Path) -> NDArray[np.uint8]:
    """Return the pixels of a trace's chart, in 0 to 255."""
    draw_gantt(trace, folder / "gantt.png")
    return np.rint(matplotlib.image.imread(folder / "gantt.png")[:, :, :3] * 255).astype(np.uint8)


def pixels_of(image: NDArray[np.uint8], colour: str) -> int:
    """Return how many pixels have exactly that colour."""
    return int((image == np.rint(np.array(to_rgb(colour)) * 255)).all(axis=2).sum())


def texts(trace: Trace) -> list[str]:
    """Return all that is written in a chart."""
    return [text.get_text() for text in gantt_figure(trace).findobj(Text) if text.get_text()]


def test_every_kind_has_its_own_look() -> None:
    assert set(gantt.STYLES) == set(KINDS)
    assert len({style.colour for style in gantt.STYLES.values()}) == len(KINDS)


def test_kinds_can_be_told_apart_in_grey() -> None:
    """Bars of the full height, at the weights of ITU-R BT.601; two that are near one another are hatched."""
    looks = sorted(
        (float(np.dot(to_rgb(style.colour), (0.299, 0.587, 0.114))), style.hatch)
        for style in gantt.STYLES.values() if (style.bottom, style.top) == (0, 1)
    )  # fmt: skip
    for (darker, hatch), (lighter, other_hatch) in pairwise(looks):
        assert lighter - darker > 0.2 or hatch != other_hatch


@pytest.mark.parametrize(
    ("trace", "bars_inches"),
    [
        pytest.param(straggler(), 4 * 0.42, id="4 workers"),
        pytest.param(large(1, 1), 2 * 0.42, id="1 worker"),
        pytest.param(large(1, 2), 2 * 0.42, id="2 workers"),
        pytest.param(large(1, 40), 10, id="40 workers, limited"),
        pytest.param(large(), 10, id="448 workers, limited"),
    ],
)
def test_the_file_is_a_png_of_the_right_size(trace: Trace, bars_inches: float, tmp_path: Path) -> None:
    image = drawn(trace, tmp_path)
    assert image.shape[1] == 12 * DPI
    assert image.shape[0] == pytest.approx((0.95 + bars_inches + 1.2) * DPI, abs=1)
    assert (tmp_path / "gantt.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert [path.name for path in tmp_path.iterdir()] == ["gantt.png"]


def test_colours_cover_as_much_of_the_bars_as_kinds_take_of_the_time(tmp_path: Path) -> None:
    """Of a large machine, whose bars touch and have no hatch; lines and the bars' edges take a little."""
    trace = large()
    image = drawn(trace, tmp_path)
    bars = 0.86 * 12 * DPI * 10 * DPI
    for kind in ("data", "wait", "team", "idle"):
        assert pixels_of(image, gantt.STYLES[kind].colour) / bars == pytest.approx(trace.shares()[kind], abs=0.025)


def test_the_bar_of_each_worker_is_where_its_name_is(tmp_path: Path) -> None:
    """Just behind 0.55 s, workers 0 and 2 are through, and 1 and 3 at work; from the top down."""
    image = drawn(straggler(), tmp_path)
    x = round((0.12 + 0.86 * 0.55 / 1.2) * 12 * DPI)
    blue = np.rint(np.array(to_rgb(gantt.STYLES["data"].colour)) * 255)
    ys = [round((0.95 + (worker + 0.5) * 0.42) * DPI) for worker in range(4)]
    assert [bool((image[y, x] == blue).all()) for y in ys] == [False, True, False, True]
    names = [(label.get_position()[1], label.get_text()) for label in gantt_figure(straggler()).axes[0].get_yticklabels()]
    assert names == [(0, "worker 0"), (1, "worker 1"), (2, "worker 2"), (3, "worker 3")]


def test_the_words_of_a_straggler() -> None:
    """Busy for 0.42 + 1.2 + 0.5 + 0.62 s of 4 x 1.2 s."""
    assert {
        "scheduler data, kernel csc: 1.20 s",
        "busy 57 % of 4 workers x 1.20 s; the first worker runs out of rows of its own after 0.42 s",
        "own rows (data parallelism): 57.1 %", "nothing left to do: 42.9 %",
        "row group 0", "row group 1", "row group 2", "row group 3", "nothing left to do", "time since the start (s)",
    } <= set(texts(straggler()))  # fmt: skip
    assert not any("team" in text or "SIMULATED" in text for text in texts(straggler()))


def test_the_words_of_its_cure() -> None:
    found = texts(cured())
    assert {
        "busy 95 % of 4 workers x 724 ms; the first worker runs out of rows of its own after 420 ms",
        "working in a team (model parallelism): 27.0 %", "waits for the team: 2.2 %", "asks for helpers: <0.1 %",
        "asleep, can be recruited: 2.1 %", "time since the start (ms)",
    } <= set(found)  # fmt: skip
    assert found.count("helps with row group 1") == 2
    assert found.count("helps 1") == 1, "where there is less room"
    assert found.count("row group 1") == 2, "worker 1, alone and as the leader"


def test_members_of_a_team_that_nobody_leads_all_show_its_row_group() -> None:
    spans = [Span(0, worker, "team", 0, 1, row_group=0) for worker in range(3)]
    assert texts(Trace(spans, METADATA)).count("row group 0") == 3


@pytest.mark.parametrize("simulated", [False, True])
def test_a_simulated_run_says_so_in_large_letters(simulated: bool, tmp_path: Path) -> None:
    trace = Trace(straggler().spans, METADATA | {"simulated": simulated})
    large_texts = [t.get_text() for t in gantt_figure(trace).findobj(Text) if t.get_fontsize() > 20 and t.get_text()]
    assert large_texts == (["SIMULATED"] if simulated else [])
    assert (pixels_of(drawn(trace, tmp_path), "#D55E00") > 500) is simulated


@pytest.mark.parametrize(
    ("trace", "first", "last", "n_names"),
    [
        pytest.param(large(1, 2), "worker 0", "worker 1", 2, id="one process: no need to name it"),
        pytest.param(large(2, 20), "process 0 worker 0", "process 1 worker 19", 40, id="all workers of two"),
        pytest.param(large(16, 28), "process 0", "process 15", 16, id="processes only"),
        pytest.param(large(1, 100), "worker 0", "worker 99", 34, id="some workers"),
        pytest.param(large(100, 1), "process 0", "process 99", 34, id="some processes"),
    ],
)
def test_names_of_workers(trace: Trace, first: str, last: str, n_names: int) -> None:
    names = [label.get_text() for label in gantt_figure(trace).axes[0].get_yticklabels()]
    assert (names[0], names[-1], len(names)) == (first, last, n_names)


@pytest.mark.parametrize("n_workers", [1, 7, 28])
def test_what_is_written_into_bars_stays_inside_them(n_workers: int) -> None:
    """Measured as drawn; each text lies in the middle of its span, so that its width decides."""
    spans = [Span(0, w, "data", k * (k + 1), (k + 1) * (k + 2), 10**k) for w in range(n_workers) for k in range(12)]
    figure = gantt_figure(Trace(spans, METADATA))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    written = [text for text in axes.texts if text.get_text()]
    assert len({text.get_text() for text in written}) > 3
    for text in written:
        span = next(s for s in spans if s.start_s < text.get_position()[0] < s.stop_s)
        left, right = axes.transData.transform([(span.start_s, 0), (span.stop_s, 0)])[:, 0]
        assert text.get_window_extent().width <= right - left


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(KINDS), st.floats(1e-9, 1e3), st.integers(-1, 10**6)), min_size=1, max_size=8),
    n_workers=st.integers(1, 3),
)
def test_any_trace_can_be_drawn(
    steps: list[tuple[str, float, int]], n_workers: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spans = []
    for worker in range(n_workers):
        now = 0.0
        for kind, length, row_group in steps:
            if kind == "barrier":
                spans.append(Span(0, worker, "team", now, now + length, row_group))
            spans.append(Span(0, worker, kind, now, now + length, row_group))
            now += length
    assert drawn(Trace(spans, METADATA), tmp_path_factory.mktemp("gantt")).min() < 255


@pytest.mark.parametrize(
    ("elapsed_s", "expected"),
    [
        pytest.param(1234.4, "1,234 s", id="thousands"),
        pytest.param(60.04, "60.0 s", id="tens"),
        pytest.param(1.0, "1.00 s", id="a second"),
        pytest.param(0.5, "500 ms", id="less"),
        pytest.param(0.0000213, "21.3 µs", id="much less"),
    ],
)
def test_times_have_about_three_digits(elapsed_s: float, expected: str) -> None:
    assert f"scheduler data, kernel csc: {expected}" in texts(Trace([Span(0, 0, "data", 0, elapsed_s)], METADATA))


def test_names_are_not_taken_for_formulas_and_long_ones_leave_room() -> None:
    figure = gantt_figure(Trace(straggler().spans, METADATA | {"scheduler": "$x^$" + "a" * 70, "simulated": True}))
    figure.draw_without_rendering()
    title, _, simulated = figure.texts
    assert title.get_text().startswith("scheduler $x^$aaa")
    assert title.get_window_extent().x1 < simulated.get_window_extent().x0


def test_the_same_trace_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("one.png", "other.png"):
        draw_gantt(cured(), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


@pytest.mark.parametrize(
    ("trace", "name", "message"),
    [
        pytest.param(straggler(), "gantt.pdf", r"gantt\.pdf: Gantt charts are PNG", id="another format"),
        pytest.param(Trace([], METADATA), "gantt.png", "nothing to draw: the trace has 0 spans", id="no spans"),
        pytest.param(Trace([Span(0, 0, "data", 0, 0)], METADATA), "gantt.png", "has 1 spans, which take no time", id="no time"),
        pytest.param(Trace([Span(0, 0, "data", 2, 1)], METADATA), "gantt.png", "stop no earlier", id="not valid"),
    ],
)
def test_what_cannot_be_drawn_is_refused(trace: Trace, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        draw_gantt(trace, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not-there"):
        draw_gantt(straggler(), tmp_path / "not-there" / "gantt.png")


def test_no_global_state_of_pyplot_is_used() -> None:
    code = "import sys, experiments.figures.base.gantt; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
