"""Verdicts on the paper's claims, from made-up records: each way that they can come out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from experiments.figures.straggler_timeline import moved_row_groups
from experiments.records.point import record_from_json
from experiments.records.read import Point, Points
from experiments.report.claim import HOLDS, NOT, PARTLY, UNTESTED
from experiments.report.claims import CLAIMS, all_claims
from experiments.report.collect import NewestRun
from experiments.report.speed import faster_on_average, published_run, super_linear
from experiments.report.threads import cache_use, less_synchronisation, no_contention, small_overhead, zero_movement
from sparsednn.results.trace import Span, Trace
from tests.experiments.made_up import made_up

KINDS = ("enlist", "probe", "recruit", "meet", "lock", "wait", "idle")
CALIBRATION = {"kernels": {"csc_csc/paper": {"connection_s": {"value": 6.5e-9}}}}
OTHERS = ("data", "model", "manager_worker", "work_stealing")


def point(sweep: str, seconds: float, label: str = "", **changes: Any) -> Point:
    """A point of one record, by default simulated if its sweep's name says so."""
    simulated = sweep in ("simulated", "simulated_here", "assumptions", "caches", "simulated_nodes")
    worker = {f"{kind}_s": changes.pop(kind, 0.0) for kind in KINDS}
    found = made_up(
        sweep, label or f"{sweep} {changes}", [seconds], executor="simulated" if simulated else "threads",
        scheduler_options={"split_factor": 8}, workers=[worker], calibration=CALIBRATION, **changes,
    )  # fmt: skip
    found["seconds"]["inference_median"] = seconds
    return Point(sweep, label or f"{sweep} {changes}", (record_from_json(found, whole=False),), (Path(sweep),))


def runs(name: str, points: Sequence[Point]) -> dict[str, NewestRun]:
    return {name: NewestRun(name, name, Path(name), Points(name, False, tuple(points), ()), 0)}


def five(sweep: str, ratios: dict[str, float], **changes: Any) -> list[Point]:
    times = {"data_then_model": 1.0, **ratios}
    return [point(sweep, seconds, scheduler=scheduler, **changes) for scheduler, seconds in times.items()]


def test_without_records_nothing_is_tested_and_each_claim_says_what_to_run() -> None:
    found = all_claims({})
    assert len(found) == len(CLAIMS) == 8
    for claim in found:
        assert (claim.verdict, claim.measured, claim.simulated) == (UNTESTED, "-", "-")
        assert claim.why == "No records: python run.py " + " and ".join(f"experiment={name}" for name in claim.sources)


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        pytest.param([1.1, 1.3, 1.65, 1.2], HOLDS, id="all inside"),
        pytest.param([1.3, 0.8, 1.3, 1.3], PARTLY, id="one is faster"),
        pytest.param([1.3, 1.3, 4.0, 1.3], PARTLY, id="one is far slower"),
        pytest.param([1.05, 0.8, 0.9, 1.0], NOT, id="none is slower by that much"),
    ],
)
def test_data_then_model_is_judged_by_the_simulated_means(ratios: list[float], verdict: str) -> None:
    told = dict(zip(OTHERS, ratios, strict=True))
    measured = five("measured", dict.fromkeys(OTHERS, 9.0))
    claim = faster_on_average(runs("parallelisms", [*measured, *five("simulated", told)]))
    assert claim.verdict == verdict, "and not by what is measured on this machine"
    assert all(f"{name} {ratio:.2f}" in claim.simulated for name, ratio in told.items())
    assert claim.measured == "times as long, mean of 1: " + "; ".join(f"{name} 9.00" for name in OTHERS)
    for name, ratio in told.items():
        assert (f"{name}, {ratio:.2f}: " in claim.why) == (not 1.1 <= ratio <= 1.65), "each deviation is explained"


def test_the_simulator_is_held_against_what_is_measured() -> None:
    both = [*five("measured", dict.fromkeys(OTHERS, 2.0)), *five("simulated_here", dict.fromkeys(OTHERS, 1.5))]
    claim = faster_on_average(runs("parallelisms", both))
    assert "Simulated on as many cores: data 1.50" in claim.measured
    assert claim.measured.endswith("times -25 to +0 % off")


def test_the_size_of_row_groups_is_told_from_one_thread_alone() -> None:
    found = runs("parallelisms", five("simulated", dict.fromkeys(OTHERS, 1.2)))
    assert "Measured, the size of row groups" not in faster_on_average(found).why
    alone = [
        point("measured_threads", seconds, scheduler=name, processes=1, threads=1)
        for name, seconds in (("data", 14.0), ("manager_worker", 8.0))
    ]
    told = faster_on_average(found | runs("strong_scaling", alone)).why
    assert "one thread alone takes 14 s with its 60,000 instances in one row group and 8 s with 8" in told


def test_means_are_over_networks_and_the_sensitivity_is_the_range_over_assumptions() -> None:
    one = five("simulated", dict.fromkeys(OTHERS, 1.2))
    other = five("simulated", dict.fromkeys(OTHERS, 1.6), layers=480)
    assumed = [
        point("assumptions", seconds * ratio, f"{name}, neurons=1024, scheduler={scheduler}", scheduler=scheduler)
        for name, ratio in (("as calibrated", 1.5), ("slow bus", 3.0))
        for scheduler, seconds in (("data", 2.0), ("data_then_model", 2.0 / ratio))
    ]
    claim = faster_on_average(runs("parallelisms", [*one, *other, *assumed]))
    assert claim.simulated.startswith("times as long, mean of 2: data 1.40")
    assert claim.sensitivity.startswith("data 1.50 to 3.00")


def test_the_map_of_regimes_tells_where_data_then_model_is_as_fast_as_is_claimed() -> None:
    found = runs("parallelisms", five("simulated", dict.fromkeys(OTHERS, 1.2)))
    assert faster_on_average(found).region == "not mapped: python run.py experiment=regimes"
    here = five("measured", {"data": 1.2, "model": 1.0}, threads=2, row_order="given")
    told = faster_on_average(found | runs("regimes", here)).region
    assert "faster than data: measured, udc_csc, at 1 of 1 places (30,000 instances a thread)." in told
    assert "faster than model: measured, udc_csc, at 0 of 1 places." in told


@pytest.mark.parametrize(
    ("seconds", "nodes", "verdict"),
    [
        pytest.param((51.0, 60.0), 32, HOLDS, id="both"),
        pytest.param((51.0, 200.0), 32, PARTLY, id="one of them"),
        pytest.param((5.0, 200.0), 32, NOT, id="neither"),
        pytest.param((51.0, 60.0), 16, UNTESTED, id="on other machines"),
    ],
)
def test_the_published_run_is_judged_within_a_factor(seconds: tuple[float, float], nodes: int, verdict: str) -> None:
    size = {"neurons": 65536, "layers": 1920, "processes": nodes, "threads": 28}
    found = [point("simulated_nodes", s, scheduler=name, **size) for s, name in zip(seconds, ("data", "model"), strict=True)]
    claim = published_run(runs("hashing", found))
    assert claim.verdict == verdict
    assert f"data {seconds[0]:.3g} s on {28 * nodes:,} cores" in claim.simulated


@pytest.mark.parametrize(
    ("last_s", "verdict"),
    [((1.8, 1.9), HOLDS), ((1.8, 2.5), PARTLY), ((2.0, 2.1), NOT)],
)
def test_super_linear_is_more_than_in_proportion(last_s: tuple[float, float], verdict: str) -> None:
    found = []
    for scheduler, last in zip(("data", "model"), last_s, strict=True):
        for nodes, seconds, moved in ((1, 4.0, 100), (2, last, 20)):
            traffic = {"memory_bytes": moved, "from_cache": 0.5, "memory_s": 1.0}
            found.append(point("simulated_nodes", seconds, scheduler=scheduler, processes=nodes, threads=28, traffic=traffic))
    claim = super_linear(runs("hashing", found))
    assert claim.verdict == verdict
    assert f"data {4 / last_s[0] / 2:.2f}" in claim.simulated
    assert claim.measured == "largest efficiency over threads: -"
    assert "data: 0.40 of that of 1 node with 2" in claim.simulated


def test_super_linear_over_threads_counts_as_well() -> None:
    measured = [
        point("measured_threads", seconds, scheduler="data", processes=1, threads=n) for n, seconds in ((1, 4.0), (2, 1.6))
    ]
    simulated = [
        point("simulated_nodes", seconds, scheduler="data", processes=n, threads=28) for n, seconds in ((1, 4.0), (2, 3.0))
    ]
    claim = super_linear(runs("hashing", [*measured, *simulated]))
    assert (claim.verdict, claim.measured) == (PARTLY, "largest efficiency over threads: data 1.25")
    assert claim.region == "over threads: data with 2 cores. Simulated, over nodes: data nowhere"
    assert super_linear(runs("hashing", measured)).verdict == HOLDS


@pytest.mark.parametrize(("data", "larger_cache", "verdict"), [(300, 200, HOLDS), (300, 100, PARTLY), (100, 100, NOT)])
def test_caches_are_judged_by_traffic(data: int, larger_cache: int, verdict: str) -> None:
    def both(sweep: str, moved: int, label: str = "") -> list[Point]:
        return [
            point(sweep, 1.0, label and f"{label}, neurons=1, {name}", scheduler=name, traffic={"memory_bytes": n_bytes})
            for name, n_bytes in (("data", moved), ("model", 100))
        ]

    claim = cache_use(runs("parallelisms", [*both("simulated", data), *both("caches", larger_cache, "cache of 250 MB")]))
    assert claim.verdict == verdict
    assert f"{data / 100:.1f} to {data / 100:.1f} times" in claim.simulated
    assert claim.sensitivity == f"cache of 250 MB: {larger_cache / 100:.1f} to {larger_cache / 100:.1f} times"
    assert claim.measured.startswith("not measured")


@pytest.mark.parametrize(
    ("claim", "parts", "verdict"),
    [
        pytest.param(no_contention, {"lock": 0.005}, HOLDS, id="hardly any waiting"),
        pytest.param(no_contention, {"lock": 0.05}, NOT, id="waiting"),
        pytest.param(less_synchronisation, {"meet": 0.05}, HOLDS, id="fewer meetings"),
        pytest.param(less_synchronisation, {"meet": 0.5}, NOT, id="more meetings"),
        pytest.param(small_overhead, {"enlist": 0.004, "probe": 0.004, "recruit": 0.004, "lock": 0.004}, HOLDS, id="little"),
        pytest.param(small_overhead, {"enlist": 0.01, "probe": 0.01}, NOT, id="too much"),
    ],
)
def test_locking_is_judged_by_shares_of_the_workers_time(claim: Any, parts: dict[str, float], verdict: str) -> None:
    both = [
        point(sweep, 1.0, scheduler=scheduler, **own)
        for sweep in ("measured", "simulated")
        for scheduler, own in (("model", {"meet": 0.1}), ("data_then_model", parts))
    ]
    found = claim(runs("locking", both))
    assert found.verdict == verdict
    only_measured = claim(runs("locking", both[:2]))
    assert (only_measured.verdict, only_measured.simulated) == (verdict, "-")


def test_the_sensitivity_of_locking_is_told_from_the_assumptions_of_parallelisms() -> None:
    both = [point("simulated", 1.0, scheduler=name, meet=0.1) for name in ("model", "data_then_model")]
    assert less_synchronisation(runs("locking", both)).sensitivity == "-"
    assumed = [
        point("assumptions", 1.0, f"{label}, neurons=1024", scheduler=name, meet=share)
        for label, name, share in (("a", "model", 0.2), ("b", "model", 0.4), ("a", "data", 0.9), ("a", "data_then_model", 0.01))
    ]
    told = less_synchronisation(runs("locking", both) | runs("parallelisms", assumed)).sensitivity
    assert told == "over all assumptions of parallelisms: model 20.00 to 40.00 %; data_then_model 1.00 to 1.00 %"


def test_what_is_measured_and_simulated_differently_holds_in_part() -> None:
    both = [
        point("measured", 1.0, scheduler="data_then_model", lock=0.5), point("simulated", 1.0, scheduler="data_then_model")
    ]  # fmt: skip
    assert no_contention(runs("locking", both)).verdict == PARTLY


def trace(*spans: tuple[int, str, int, int]) -> Trace:
    found = [
        Span(0, worker, kind, start, start + 1.0, group, start, start + 1, 1) for worker, kind, group, start in spans
    ]  # fmt: skip
    return Trace(found, {"scheduler": "data_then_model", "kernel": "csc_csc", "simulated": False})


def test_row_groups_that_lose_their_first_worker_have_moved(tmp_path: Path) -> None:
    stays = trace((0, "data", 0, 0), (1, "data", 1, 0), (0, "team", 0, 1), (1, "team", 0, 1))
    moves = trace((0, "data", 0, 0), (1, "data", 1, 0), (1, "team", 0, 1), (2, "team", 0, 1))
    from_the_start = trace((0, "team", 0, 0), (1, "team", 0, 0))
    assert moved_row_groups(stays) == (0, 2)
    assert moved_row_groups(moves) == (1, 2)
    assert moved_row_groups(from_the_start) == (0, 1)
    for number, (found, verdict) in enumerate(((stays, HOLDS), (moves, NOT))):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.write(folder / "trace.json")
        shown = record_from_json(made_up("measured", "a", scheduler="data_then_model"), whole=False)
        claim = zero_movement(runs("straggler_timeline", [Point("measured", "a", (shown,), (folder,))]))
        assert claim.verdict == verdict
        assert claim.measured == f"{number} of 2 row groups went on without the worker that had them first"
