"""The simulator against real runs: every case is measured and simulated, and errors are reported by parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.text import Text

from experiments.config.resolve import ConfigError
from experiments.figures.validation import cases_of, draw, errors_by_part
from experiments.records.read import Points, read_points
from tests.experiments.made_up import made_up, write_all
from tests.experiments.toys import record


def case(label: str, simulated_s: float, measured_s: list[float], **changes: Any) -> list[dict[str, Any]]:
    return [
        made_up("measured", label, measured_s, "validation", **changes),
        made_up("simulated", label, [simulated_s], "validation", executor="simulated", **changes),
    ]


def points_of(folder: Path, *cases: list[dict[str, Any]]) -> Points:
    return read_points("validation", [write_all(folder, [record for one in cases for record in one])])


@pytest.fixture
def three(tmp_path: Path) -> Points:
    return points_of(
        tmp_path,
        case("a", 1.5, [1.0, 1.0, 9.0], kernel="udc_csc", threads=1),
        case("b", 0.5, [1.0], kernel="csc_csc", threads=1),
        case("c", 2.0, [1.0], kernel="csc_csc", threads=4, scheduler="model"),
    )


def test_errors_are_reported_by_parts(three: Points) -> None:
    found = errors_by_part(cases_of(three))
    assert found["all"] == [0.5, -0.5, 1.0]
    assert found["kernel csc_csc"] == [-0.5, 1.0]
    assert found["threads 1"] == [0.5, -0.5]
    assert found["scheduler model"] == [1.0]
    assert found["network 1,024 x 120"] == [0.5, -0.5, 1.0]
    assert found["kernel, threads csc_csc, 4"] == [1.0]


def test_a_figure_has_a_panel_for_each_kernel_and_says_what_is_simulated(three: Points) -> None:
    drawing = draw(three)
    assert [axes.get_title() for axes in drawing.figure.axes] == ["udc_csc", "csc_csc"]
    assert "simulated" in drawing.figure.axes[0].get_ylabel()
    assert {"data", "model", "1 thread", "4 threads"} <= {text.get_text() for text in drawing.figure.findobj(Text)}
    assert drawing.data["error"].tolist() == [0.5, 0.5, -0.5, -0.5, 1.0, 1.0]
    assert drawing.data["simulated"].tolist() == [False, True] * 3
    cases, errors = drawing.table.renderables
    assert list(cases.columns[6].cells) == [f"{s} (simulated)" for s in ("1.500", "0.500", "2.000")]
    assert next(iter(errors.columns[2].cells)) == "50.0 %"


def test_what_is_measured_only_is_no_case(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no point is in both of the sweeps measured and simulated"):
        draw(points_of(tmp_path, case("a", 1.0, [1.0])[:1]))


def test_every_case_is_measured_and_simulated(toys: Callable[[str], Path]) -> None:
    folder = toys("validate_simulator")
    drawn = pd.read_csv(folder / "validation.csv")
    ways = {
        (kernel, name, threads)
        for kernel in ("udc_csc", "csc_csc") for name in ("data", "model") for threads in (1, 2)
    }  # fmt: skip
    for simulated in (False, True):
        cases = drawn[drawn["simulated"] == simulated]
        assert set(zip(cases["kernel"], cases["scheduler"], cases["threads"], strict=True)) == ways
    assert drawn["error"].tolist() == pytest.approx((drawn["predicted_s"] / drawn["measured_s"] - 1).tolist())
    assert drawn.loc[drawn["simulated"], "seconds_median"].tolist() == drawn.loc[drawn["simulated"], "predicted_s"].tolist()
    assert record(folder / str(len(drawn) - 1))["calibration"]["schema_version"] == 1
    assert "median of absolute errors" in (folder / "stdout").read_text()
