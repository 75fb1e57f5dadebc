"""Figures are drawn from records alone, and show what the records say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from experiments import figures
from experiments.config.resolve import ConfigError
from experiments.figures import __main__ as command
from experiments.figures import ablation, linear_cost
from experiments.figures.base import style
from experiments.records.read import Points, read_points
from tests.experiments.made_up import ALL, made_up, write_all

ROOT = Path(__file__).parents[2]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]


def ablation_records(**changes: Any) -> list[dict[str, Any]]:
    everything = {"config": {"optimize": ALL}, "performed_edges": 3_000_000}
    return [
        made_up("cumulative", "paper, dense blocks", [8.0, 7.0, 10.0], **changes),
        made_up("cumulative", "+ everything", [0.04], **everything, **changes),
        made_up("left_out", "all", [0.05], **everything, **changes),
        made_up("left_out", "columns=none", [0.4], **everything, **changes),
    ]


def linear_records(slope: float = 1.0, **changes: Any) -> list[dict[str, Any]]:
    sizes = (120, 480, 1920)
    return [made_up("layers", f"layers={n}", [2 * n**slope / 120], "linear_cost", layers=n, **changes) for n in reversed(sizes)]


def points_of(records: list[dict[str, Any]], folder: Path, figure: str) -> Points:
    return read_points(figure, [write_all(folder, records)])


def test_an_ablation_shows_times_and_ratios_to_the_paper(tmp_path: Path) -> None:
    drawing = ablation.draw(points_of(ablation_records(), tmp_path, "ablation"))
    found = [text.strip() for text in texts(drawing.figure)]
    assert {"8 s, 1 x", "40 ms, 200 x as fast", "50 ms, 160 x as fast", "400 ms, 20 x as fast", "columns=none"} <= set(found)
    assert "inference time (s, logarithmic)" in found
    assert any("median of 1 to 3" in text and "A CPU; 1 x 2 threads; 0123456789" in text for text in found)
    assert not any("simulated" in text.lower() for text in found)
    assert drawing.figure.axes[0].get_xscale() == "log"
    widths = [patch.get_width() for axes in drawing.figure.axes for patch in axes.patches]
    assert widths == [8.0, 0.04, 0.05, 0.4]
    assert drawing.data["ratio_to_paper"].tolist() == pytest.approx([1, 200, 160, 20])
    assert drawing.table.row_count == 4
    assert list(drawing.table.columns[5].cells) == ["235.930", "0.003", "0.003", "0.003"]


def test_simulated_bars_look_different_and_say_so(tmp_path: Path) -> None:
    drawing = ablation.draw(points_of(ablation_records(executor="simulated"), tmp_path, "ablation"))
    assert "SIMULATED" in texts(drawing.figure)
    assert sum("(simulated)" in text for text in texts(drawing.figure)) == 4
    patches = [patch for axes in drawing.figure.axes for patch in axes.patches]
    assert all(patch.get_hatch() and patch.get_facecolor() == (1, 1, 1, 1) for patch in patches)
    assert all("(simulated)" in str(cell) for cell in drawing.table.columns[2].cells)


def test_an_ablation_without_the_papers_point_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no record of optimize=paper to compare with"):
        ablation.draw(points_of(ablation_records()[1:], tmp_path, "ablation"))


@pytest.mark.parametrize("slope", [0.5, 1.0, 1.3])
def test_the_slope_is_that_of_the_records(slope: float, tmp_path: Path) -> None:
    drawing = linear_cost.draw(points_of(linear_records(slope), tmp_path, "linear_cost"))
    assert drawing.data["slope"].tolist() == pytest.approx([slope] * 3)
    [axes] = drawing.figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert f"fitted: slope {slope:.2f} ± 0.00" in texts(drawing.figure)
    [[size, *_, shown]] = zip(*(column.cells for column in drawing.table.columns), strict=True)
    assert (size, shown) == ("layers", f"{slope:.2f} ± 0.00")
    fitted = axes.get_lines()[-2]
    assert np.allclose(fitted.get_ydata(), [2 * n**slope / 120 for n in (120, 480, 1920)])


def test_lines_of_simulated_points_are_apart_from_measured_ones(tmp_path: Path) -> None:
    simulated = [
        made_up("layers", f"simulated {n}", [n**2 / 1e6], "linear_cost", layers=n, executor="simulated") for n in (120, 480)
    ]
    drawing = linear_cost.draw(points_of([*linear_records(), *simulated], tmp_path, "linear_cost"))
    assert drawing.data["slope"].tolist() == pytest.approx([1, 1, 1, 2, 2])
    assert {"median", "median (simulated)", "fitted: slope 2.00"} <= set(texts(drawing.figure))
    hollow = [
        line.get_markerfacecolor() for line in drawing.figure.axes[0].get_lines() if line.get_label() == "median (simulated)"
    ]
    assert all(colour == "white" for colour in hollow)
    assert "SIMULATED" not in texts(drawing.figure), "only some are"


def test_a_line_needs_two_sizes() -> None:
    assert linear_cost.fit([3.0], [1.0]) is None
    assert linear_cost.fit([3.0, 3.0], [1.0, 2.0]) is None


def test_sweeps_that_the_figure_does_not_know_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none of its points are of the sweeps layers, instances, connections, degree"):
        linear_cost.draw(points_of([made_up("x", "p", figure="linear_cost")], tmp_path, "linear_cost"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param(
            {"environment": {"cpu": "Another", "git_revision": "0123456789"}}, "MIXED machines: Another, A CPU", id="machines"
        ),
        pytest.param(
            {"environment": {"cpu": "A CPU", "git_revision": "fedcba9876543+changes"}},
            "MIXED revisions: fedcba9876+changes, 0123456789", id="code",
        ),
        pytest.param({"status": "failed", "error": "x"}, "1 failed points are not shown", id="failed"),
    ],
)  # fmt: skip
def test_the_caption_says_what_is_mixed_or_missing(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    first, *rest = linear_records()
    assert words in style.provenance(points_of([first | changes, *rest], tmp_path, "linear_cost"))


def test_a_figure_carries_its_data_and_its_records(tmp_path: Path) -> None:
    folder, into = write_all(tmp_path / "records", ablation_records()), tmp_path / "figure"
    into.mkdir()
    paths, _ = figures.redraw("ablation", [folder], into)
    assert [path.name for path in paths] == ["ablation.png", "ablation.pdf", "ablation.csv", "ablation.sources.json"]
    assert sorted(paths) == sorted(into.iterdir())
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    assert paths[1].read_bytes().startswith(b"%PDF")
    assert pd.read_csv(paths[2])["seconds_median"].tolist() == [8.0, 0.04, 0.05, 0.4]
    sources = json.loads(paths[3].read_text())
    assert [source["folder"] for source in sources] == [str(folder / str(number)) for number in range(4)]
    assert sources[0]["record"] == json.loads((folder / "0" / "result.json").read_text())


def test_records_that_should_agree_and_do_not_are_never_drawn(tmp_path: Path) -> None:
    first, *rest = ablation_records()
    write_all(tmp_path, [first | {"categories_sha256": "b" * 64}, *rest])
    with pytest.raises(ConfigError, match="its points must find the same categories, and do not: "):
        figures.redraw("ablation", [tmp_path], tmp_path)
    assert not list(tmp_path.glob("ablation.*"))


def test_the_same_records_give_the_same_files(tmp_path: Path) -> None:
    folder, contents = write_all(tmp_path / "records", linear_records()), []
    for _ in range(2):
        paths, _ = figures.redraw("linear_cost", [folder], folder)
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]


def test_the_command_redraws_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_all(tmp_path, linear_records())
    assert command.main(["linear_cost", str(tmp_path)]) == 0
    assert str(tmp_path / "linear_cost.pdf") in capsys.readouterr().out
    assert command.main(["linear_csot", str(tmp_path)]) == 1
    assert "figure=linear_csot: did you mean linear_cost? legal: ablation, crossover, " in capsys.readouterr().err
    assert command.main(["ablation", str(tmp_path)]) == 1
    assert "with figure ablation. figure=ablation: legal: linear_cost" in capsys.readouterr().err


def test_every_figure_can_be_drawn_and_is_one_of_the_names() -> None:
    modules = {path.stem for path in (ROOT / "experiments" / "figures").glob("*.py") if not path.stem.startswith("_")}
    assert set(figures.names()) == modules


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(1234.5, "1,234 s", id="thousands"),
        pytest.param(8.0, "8 s", id="seconds"),
        pytest.param(0.0345, "34.5 ms", id="milliseconds"),
        pytest.param(2.5e-5, "25 µs", id="less"),
    ],
)
def test_times_have_units(seconds: float, text: str) -> None:
    assert style.time_text(seconds) == text


def test_no_global_state_of_pyplot_is_used() -> None:
    code = "import sys, experiments.figures.ablation; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
