"""The map of regimes: rivals are chosen on odd rounds and timed on even ones; what is held out or simulated is called so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from experiments import figures
from experiments.config.resolve import ConfigError
from experiments.figures.base.regimes import Region, contests, regions
from experiments.figures.regimes import claimed, draw
from experiments.records.read import read_points
from sparsednn.results.record import AutoChoice
from tests.experiments.made_up import environment_on, measured, point_of_experiment, simulated, whole, write_all
from tests.experiments.toys import CONF, planned, record

SWEEPS = OmegaConf.to_container(OmegaConf.load(CONF / "experiment" / "regimes.yaml"), resolve=True)["sweeps"]  # type: ignore[index,call-overload]


def rounds(seconds: Mapping[str, Sequence[float | None]], kind: str = "", sweep: str = "measured") -> list[dict[str, Any]]:
    """Return records of contestants in turn; None for one that has failed."""
    found = []
    for number in range(max(map(len, seconds.values()))):
        for name, times in seconds.items():
            time = times[number] if number < len(times) else None
            scheduler, _, factor = name.partition("/")
            body = simulated(scheduler=scheduler) if sweep.startswith("simulated") else measured(scheduler=scheduler, threads=2)
            body.scheduler_options = {"split_factor": int(factor or 8)}
            if scheduler == "auto":
                body.scheduler, body.auto = "model", AutoChoice(reason="r", predicted_s={})
            body.seconds.inference, body.seconds.inference_median = [time or 0.0], time or 0.0
            about = point_of_experiment(name="regimes", figure="regimes", sweep=sweep, point=f"{kind}{name}")
            failed = {"status": "failed", "error": "x"} if time is None else {}
            found.append(whole(body=body, experiment=about, environment=environment_on(), **failed))
    return found


def drawn(records: Sequence[dict[str, Any]], folder: Path, *more: Path) -> pd.DataFrame:
    write_all(folder, records)
    figures.redraw("regimes", [folder, *more], folder)
    return pd.read_csv(folder / "regimes.csv").set_index("point")


def test_the_rival_is_chosen_on_odd_rounds_and_timed_on_even_ones(tmp_path: Path) -> None:
    times = {"data": [1, 4, 1, 8], "model": [2, 2, 2, 2], "manager_worker/4": [3, 1, 3, 1], "adaptive": [0.1, 3, 0.1, 10]}
    found = drawn(rounds(times), tmp_path)
    assert set(found["rival"]) == {"data"}, "adaptive is to be held against the best of the others"
    assert found.loc["model", ["ratio", "ratio_min", "ratio_max", "rounds"]].tolist() == [0.375, 0.25, 0.5, 2]
    assert found.loc["adaptive", ["ratio", "ratio_min", "ratio_max"]].tolist() == [1.0, 0.75, 1.25]
    assert found.loc["data", "ratio"] == 1
    assert found.loc["data", ["rival_itself", "rival_itself_min", "rival_itself_max"]].tolist() == [0.1875, 0.125, 0.25]
    assert found.loc["manager_worker/4", "contestant"] == "manager_worker, split_factor=4"
    assert found["chosen_on_other_rounds"].all()


def test_one_round_is_not_called_two(tmp_path: Path) -> None:
    found = drawn(rounds({"data": [2], "model": [1], "auto": [3]}), tmp_path)
    assert not found["chosen_on_other_rounds"].any()
    assert (found["ratio"].tolist(), found["rival"].tolist()) == ([2, 1, 3], ["model"] * 3)
    assert found["contestant"].tolist() == ["data", "model", "auto"], "not what auto has chosen"
    assert found["rival_itself"].isna().all()


def test_failed_points_and_second_runs_do_not_shift_rounds(tmp_path: Path) -> None:
    """In the first run adaptive fails in the second round; the second run has one round, which is an odd one."""
    first = rounds({"data": [1, 2, 1], "adaptive": [5, None, 5]})
    write_all(tmp_path / "second", rounds({"data": [7], "adaptive": [7]}))
    alone = drawn(first, tmp_path / "first")
    assert alone.loc["data", "rival_itself"] == 0.5
    assert pd.isna(alone.loc["adaptive", "ratio"])
    both = drawn(rounds({"data": [1, 2], "adaptive": [5, 4]}), tmp_path / "third", tmp_path / "second")
    assert both.loc["adaptive", ["ratio", "rounds"]].tolist() == [2, 1]


def test_places_are_told_apart_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = rounds({"data": [1, 1], "adaptive": [1, 1.04]}) + rounds({"data": [1], "adaptive": [1.5]}, sweep="simulated")
    held_out = rounds({"data": [1, 1.25], "adaptive": [1, 2.5]}, "held out ")
    for one in held_out:
        one["instances"] = 100
    found = drawn([*records[:2], *held_out[:2], *records[4:], *records[2:4], *held_out[2:]], tmp_path)
    assert found["kind"].tolist() == ["measured"] * 2 + ["held out"] * 2 + ["simulated"] * 2
    assert found["instances_per_thread"].tolist() == [30_000] * 2 + [50] * 2 + [60_000] * 2
    from experiments.figures.__main__ import main

    assert main(["regimes", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "adaptive, measured: at most 1.05 times the rival at 1 of 1 places, 1.04 at most; the rival itself, " in said
    assert "adaptive, held out: at most 1.05 times the rival at 0 of 1 places, 2.00 at most; the rival itself, " in said
    assert "of one round and the next, 0.80 to 0.80" in said
    assert "adaptive, simulated: at most 1.05 times the rival at 0 of 1 places, 1.50 at most." in said


def test_the_places_where_the_papers_claim_holds_are_told(tmp_path: Path) -> None:
    """All rounds count, since none of the two is chosen; schedulers that the paper does not have are not claimed about."""
    records = rounds({"data": [1, 1.2, 1.2], "model": [1, 1.05, 1.3], "data_then_model": [1, 1, 1], "adaptive": [9, 9, 9]})
    second = rounds({"data": [3], "data_then_model": [2], "model": [1]}, "held out ")
    third = rounds({"data": [1.0], "data_then_model": [2.0]}, sweep="simulated")
    for one in second:
        one["instances"] = 100
    write_all(tmp_path, [*records, *second, *third])
    found = contests(read_points("regimes", [tmp_path]).points)
    kernel = found[0].regime.kernel
    assert claimed(found) == [
        "data_then_model at least 10 % faster than data: "
        f"measured, {kernel}, at 2 of 2 places (50 to 30,000 instances a thread); simulated, {kernel}, at 0 of 1 places.",
        f"data_then_model at least 10 % faster than model: measured, {kernel}, at 0 of 2 places.",
    ]
    assert regions(found, "model", "data_then_model", 1.05) == [Region(False, kernel, 2, (30_000,))]
    figure = draw(read_points("regimes", [tmp_path])).figure
    rings = {axes.get_title(): _n_rings(axes) for axes in figure.axes if axes.get_title()}
    assert rings == {"data": 2, "data_then_model": 0, "model": 0, "adaptive": 0}


def _n_rings(axes: Any) -> int:
    """Count the red rings."""
    drawn = [one for one in axes.collections if one.get_edgecolors().tolist() == [[1, 0, 0, 1]]]
    return sum(len(one.get_offsets()) for one in drawn)


def test_a_place_without_a_rival_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has another scheduler beside adaptive and auto"):
        drawn(rounds({"adaptive": [1]}), tmp_path)


def test_the_places_are_those_that_were_fixed() -> None:
    """Twelve or more are measured, half of them held out; what is simulated goes on to 16 nodes of 28 cores."""
    by_name = {sweep["name"]: sweep for sweep in SWEEPS}
    places = [(point, sweep["overrides"]) for name in ("measured", "measured_processes") for sweep in (by_name[name],)
              for point in sweep["points"]]  # fmt: skip
    held_out = [place for place in places if place[0]["label"].startswith("held out")]
    assert len(places) >= 12
    assert 2 * len(held_out) == len(places)
    for some in (held_out, [place for place in places if place not in held_out]):
        assert {point["neurons"] for point, _ in some} == {1024, 4096}
        assert {point.get("kernel") for point, _ in some} == {"csc", None}
        assert {shared.get("processes", 1) for _, shared in some} == {1, 2}
        assert any("partition.order" in point for point, _ in some)
        assert min(point["instances"] for point, _ in some) <= 34
        assert max(point["instances"] for point, _ in some) == 60_000
    for name in ("simulated_csc", "simulated_default"):
        points = by_name[name]["points"]
        assert {point.get("cluster.nodes", 1) for point in points} >= {1, 4, 16}
        assert {point["cluster.cores_per_node"] for point in points} >= {1, 2, 7, 28}
        per_thread = [p["instances"] / p.get("cluster.nodes", 1) / p["cluster.cores_per_node"] for p in points]
        assert (min(per_thread), max(per_thread)) == (10, 30_000)
        for point, found in zip(points, per_thread, strict=True):
            assert point["label"] == f"{point.get('cluster.nodes', 1)} x {point['cluster.cores_per_node']} x {found:.0f}"
            assert point["instances"] <= 60_000


def test_ratios_are_those_of_the_records(toys: Callable[[str], Path]) -> None:
    folder, points = toys("regimes"), planned("regimes")
    found = pd.read_csv(folder / "regimes.csv")
    records = [record(folder / str(number)) for number in range(len(points))]
    keys = ("executor", "kernel", "processes", "threads", "instances")
    places = [("held out" in one["experiment"]["point"], *(one[key] for key in keys)) for one in records]
    for number, place in enumerate(places):
        rivals = [one["seconds"]["inference_median"] for one, other in zip(records, places, strict=True)
                  if other == place and one["config"]["scheduler"]["name"] not in ("adaptive", "auto")]  # fmt: skip
        mine = records[number]["seconds"]["inference_median"]
        assert found["ratio"][number] == pytest.approx(mine / min(rivals))
    assert set(found["kind"]) == {"measured", "held out", "simulated"}
    said = " ".join((folder / "stdout").read_text().split())
    for name in ("adaptive", "auto"):
        for kind in ("measured", "held out", "simulated"):
            assert f"{name}, {kind}: at most 1.05 times the rival at " in said
    assert "of one round, the rival is chosen and timed on the same" in said
