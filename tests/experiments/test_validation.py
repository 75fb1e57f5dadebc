"""The simulator against real runs: every case is measured and simulated, and errors are reported by parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from matplotlib.text import Text

from experiments.config.resolve import ConfigError, chosen_experiment, register
from experiments.figures.validation import cases_of, draw, errors_by_part, pairs_of, repeated_errors, share_near
from experiments.records.read import Points, read_points
from experiments.sweeps.direct_peers import is_installed
from tests.experiments.made_up import ALL, PAPER, made_up, write_all
from tests.experiments.toys import CONF, record


def case(label: str, simulated_s: float, measured_s: list[float], **changes: Any) -> list[dict[str, Any]]:
    changes = {"optimizations": ALL | {"structure_aware": True}} | changes
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
    cases, errors, order = drawing.table.renderables
    assert list(cases.columns[6].cells) == [f"{s} (simulated)" for s in ("1.500", "0.500", "2.000")]
    assert [next(iter(column.cells)) for column in errors.columns[1:]] == ["3", "50.0 %", "0 %", "+50.0 %"]
    assert "0 of 0 in the right order" in str(order.title), "all are different jobs"


def test_a_case_is_held_against_itself_round_by_round(tmp_path: Path) -> None:
    """The last round by the median of those before it; what was measured once tells nothing."""
    rounds = [made_up("measured", "a", [seconds], "validation") for seconds in (1.0, 3.0, 2.0, 3.0)]
    found = cases_of(points_of(tmp_path, [*rounds, case("a", 2.5, [0.0])[1]], case("b", 1.0, [1.0])))
    assert [one.repeated for one in found] == [0.5, None]
    assert repeated_errors(found) == [0.5]
    assert found[0].error == 0, "of all rounds"
    assert share_near([0.25, -0.25, 0.26, -1.0]) == 0.5


def of_job(label: str, **seconds: tuple[float, float]) -> list[list[dict[str, Any]]]:
    """A job with a case for each scheduler: measured and simulated seconds."""
    return [
        case(f"{label}, threads=2, scheduler={name}", simulated, [measured], scheduler=name)
        for name, (measured, simulated) in seconds.items()
    ]


def test_the_order_is_held_against_the_clock_where_times_are_apart(tmp_path: Path) -> None:
    """Pairs of the same job; 14 % are no order, and adaptive is none of the five."""
    jobs = [
        *of_job("x", data=(1.0, 1.0), model=(1.14, 0.9), manager_worker=(2.0, 0.95), adaptive=(5.0, 0.1)),
        *of_job("y", data=(9.0, 9.0)),
    ]
    pairs = pairs_of(cases_of(points_of(tmp_path, *jobs)))
    found = {(pair.faster.measured.run.scheduler, pair.slower.measured.run.scheduler): pair.right for pair in pairs}
    assert found == {("data", "manager_worker"): False, ("model", "manager_worker"): True}
    assert {pair.faster.job for pair in pairs} == {"x, threads=2"}
    order = draw(points_of(tmp_path / "again", *jobs)).table.renderables[2]
    assert "1 of 2 in the right order" in order.title
    assert [next(iter(column.cells)) for column in order.columns] == [
        "x, threads=2", "data", "manager_worker", "2.00 times", "0.95 times (simulated)",
    ]  # fmt: skip


def test_csc_as_in_the_paper_has_a_panel_of_its_own_and_many_go_below_each_other(tmp_path: Path) -> None:
    paper = case("a", 1.0, [1.0], kernel="csc_csc", optimizations=PAPER | {"structure_aware": False})
    others = [case(kernel, 1.0, [1.0], kernel=kernel) for kernel in ("csc_csc", "csr_csr", "dcsc_csc")]
    axes = draw(points_of(tmp_path, paper, *others)).figure.axes
    assert [one.get_title() for one in axes] == ["csc_csc/paper", "csc_csc", "csr_csr", "dcsc_csc"]
    assert [bool(one.get_ylabel()) for one in axes] == [True, False, False, True]


def test_what_is_measured_only_is_no_case(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no point is in both of the sweeps measured and simulated"):
        draw(points_of(tmp_path, case("a", 1.0, [1.0])[:1]))


def test_every_case_is_measured_and_simulated(toys: Callable[[str], Path]) -> None:
    """Kernels, schedulers, threads, and two processes where mpi4py is installed."""
    folder = toys("validation")
    drawn = pd.read_csv(folder / "validation.csv")
    fields = ["kernel", "scheduler", "threads", "processes"]
    both, two = ("udc_csc", "csc_csc"), [1, 2] if is_installed("mpi4py") else [1]
    ways = {(kernel, name, threads, 1) for kernel in both for name in ("data", "model") for threads in (1, 2)}
    ways |= {(kernel, name, 2, 1) for kernel in ("csr_csr", "csc_csc", "dcsc_csc") for name in ("data", "data_then_model")}
    for simulated in (False, True):
        cases = drawn[drawn["simulated"] == simulated]
        found = set(cases[fields].itertuples(index=False, name=None))
        assert found - {("csc_csc", "data", 1, 2)} == ways
        assert sorted(cases["processes"].unique()) == ([1, 2] if simulated else two)
    last, drawn = len(drawn) - 1, drawn[drawn["error"].notna()]
    assert drawn["error"].tolist() == pytest.approx((drawn["predicted_s"] / drawn["measured_s"] - 1).tolist())
    assert drawn.loc[drawn["simulated"], "seconds_median"].tolist() == drawn.loc[drawn["simulated"], "predicted_s"].tolist()
    assert record(folder / str(last))["calibration"]["schema_version"] == 2
    shown = (folder / "stdout").read_text()
    assert "median of absolute errors" in shown
    assert "in the right order" in shown


def test_the_former_name_is_taken() -> None:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        now, former = (compose("config", overrides=[f"experiment={name}"]) for name in ("validation", "validate_simulator"))
    assert chosen_experiment(former) == chosen_experiment(now)
