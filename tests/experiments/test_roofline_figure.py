"""The roofline from records: runs are taken together, and the figure shows what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from experiments.config.resolve import ConfigError
from experiments.figures.roofline import draw, roofline_figure
from experiments.records.read import read_points
from experiments.roofline.rates import joined, summed_up
from tests.experiments.made_up import made_up, write_all


def one_run(values: list[float]) -> dict[str, Any]:
    """Made-up figures of a machine where L1 limits, with a layer at a quarter of its roof."""
    rate = {"threads": 1, "lanes": 8, "set_bytes": 0}
    slower = {"kind": "arithmetic", "name": "unfused", "values": [value / 2 for value in values]}
    arithmetic, bandwidth = slower | {"values": values}, {"kind": "bandwidth", "name": "L1", "values": values}
    case = {
        "threads": 1,
        "name": "a layer",
        "neurons": 0,
        "stride": 64,
        "columns": "none",
        "set_bytes": 0,
        "multiply_adds": 100,
    }
    counts = {count: {"bytes": {"L1": 200, "memory": 0}} for count in ("any_order", "this_order")}
    memory = {"kind": "bandwidth", "name": "memory", "values": values}
    return {
        "rounds": len(values), "measured": 2, "disturbed": 1, "caches": [{"name": "L1", "size_bytes": 1, "assumed": False}],
        "rates": [rate | one for one in (slower, {**arithmetic, "lanes": 16}, bandwidth, memory)],
        "kernels": [{**case, **counts, "values": [value / 8 for value in values]}],
    }  # fmt: skip


def test_runs_are_taken_together_as_if_their_rounds_were_those_of_one() -> None:
    found = joined([one_run([10.0, 30.0]), one_run([20.0])])
    assert (found["rounds"], found["measured"], found["disturbed"]) == (3, 4, 2)
    assert [rate["median"] for rate in found["rates"]] == [10.0, 20.0, 20.0, 20.0]
    [case] = found["kernels"]
    roof_of = case["this_order"]
    assert (case["median"], roof_of["rate"], roof_of["limit"], roof_of["intensity"]) == (2.5, 10.0, "L1", 0.5)
    assert roof_of["share"]["values"] == [0.25, 0.25, 0.25], "each round has its own roof"
    assert joined([found]) == found


def test_runs_on_other_caches_or_of_other_layers_are_not_taken_together() -> None:
    first = one_run([1.0])
    larger = first | {"caches": [{"name": "L1", "size_bytes": 2, "assumed": False}]}
    other = first | {"kernels": [first["kernels"][0] | {"neurons": 64}]}
    for run in (larger, other, first | {"kernels": []}):
        with pytest.raises(ValueError, match="different machines or sizes cannot be taken together"):
            joined([first, run])


def test_records_without_a_roofline_are_refused(tmp_path: Path) -> None:
    points = read_points("roofline", [write_all(tmp_path, [made_up("benchmark", "roofline", figure="roofline")])])
    with pytest.raises(ConfigError, match="its records hold no roofline"):
        draw(points)


def test_a_record_is_drawn_with_where_it_comes_from(tmp_path: Path) -> None:
    records = [
        made_up("benchmark", "roofline", figure="roofline", roofline=summed_up(one_run(values))) for values in ([8.0], [6.0])
    ]
    drawing = draw(read_points("roofline", [write_all(tmp_path, records)]))
    caption = drawing.figure.get_supxlabel()
    assert caption.startswith("medians of 2 rounds, lines from end to end of their 95 % intervals; A CPU; 1 x 2 threads")
    assert drawing.data["median"].tolist() == [7.0, 7.0, 7.0, 0.875]
    assert drawing.data["roof"].tolist()[-1] == 3.5


def test_a_figure_needs_something_to_draw() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        roofline_figure({"rates": [], "kernels": []})
