"""Computes medians, roofs and shares from measured rates, for one run of the benchmark or for several together.

Figures of the benchmark are plain values, as `experiments.roofline.measure` returns them and records hold them: ``rounds``,
``measured``, ``disturbed``, ``caches``, ``rates`` (what the machine does) and ``kernels`` (what the kernel does).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.records.statistics import median_interval
from experiments.roofline.model import ARITHMETIC, roof
from sparsednn.errors import OptionError

Figures = Mapping[str, Any]
COUNTS = ("any_order", "this_order")
"""The two ways to count the bytes that each level has to deliver."""

_MEASURED = ("values", "median", "low", "high", *COUNTS)


def summed_up(figures: Figures) -> dict[str, Any]:
    """Return figures with medians, their intervals, roofs and shares, all worked out from ``values`` and ``bytes``."""
    rates = [{**rate, **_summary(rate["values"])} for rate in figures["rates"]]
    kernels = []
    for case in figures["kernels"]:
        machine = [rate for rate in rates if rate["threads"] == case["threads"]]
        roofs = {count: _roof(case, case[count]["bytes"], machine) for count in COUNTS}
        kernels.append({**case, **_summary(case["values"]), **roofs})
    return {**figures, "rates": rates, "kernels": kernels}


def joined(runs: Sequence[Figures]) -> dict[str, Any]:
    """Return the figures of several runs of the benchmark as if their rounds were those of one.

    Raises
    ------
    ValueError
        If they have not measured the same, or not on caches of the same sizes.
    """
    first, *rest = runs
    if any(_identity(run) != _identity(first) for run in rest):
        raise OptionError("rooflines of different machines or sizes cannot be taken together; give folders of one of them")
    together: dict[str, Any] = {key: sum(run[key] for run in runs) for key in ("rounds", "measured", "disturbed")}
    for part in ("rates", "kernels"):
        entries = zip(*(run[part] for run in runs), strict=True)
        together[part] = [{**same[0], "values": [value for one in same for value in one["values"]]} for same in entries]
    return summed_up({**first, **together})


def best_median(rates: Sequence[Mapping[str, Any]], n_threads: int, name: str) -> float:
    """Return the median rate with the faster of the vector widths."""
    return float(max(rate["median"] for rate in rates if rate["threads"] == n_threads and rate["name"] == name))


def levels(rates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the levels, nearest first."""
    return list(dict.fromkeys(rate["name"] for rate in rates if rate["kind"] == "bandwidth"))


def _summary(values: Sequence[float]) -> dict[str, Any]:
    """Return values with their median and its interval."""
    middle, low, high = median_interval(values)
    return {"values": list(values), "median": middle, "low": low, "high": high}


def _roof(case: Mapping[str, Any], needed: Mapping[str, int], machine: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a layer's roof where it needs so many bytes: rate and limit, and the kernel's share of it round by round."""
    best, work = {name: _best_by_round(machine, name) for name in ("unfused", *needed)}, case["multiply_adds"]
    # Rates are of all threads together, multiply-adds and bytes of one: their ratio is the same for all.
    rounds = [
        roof(limit, {name: best[name][number] for name in needed}, work, needed)[0]
        for number, limit in enumerate(best["unfused"])
    ]
    rate, limit_name = roof(
        float(np.median(best["unfused"])), {name: float(np.median(best[name])) for name in needed}, work, needed
    )
    share = _summary([value / most for value, most in zip(case["values"], rounds, strict=True)])
    nearest = next(iter(needed)) if limit_name == ARITHMETIC else limit_name
    return {"bytes": dict(needed), "rate": rate, "limit": limit_name, "intensity": work / needed[nearest], "share": share}


def _best_by_round(machine: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return, round by round, the rate with the faster of the vector widths."""
    return [max(values) for values in zip(*(rate["values"] for rate in machine if rate["name"] == name), strict=True)]


def _identity(figures: Figures) -> list[Any]:
    """Return all figures in which runs must agree to be taken together."""
    parts = [entry for part in ("rates", "kernels") for entry in figures[part]]
    about = [{key: value for key, value in entry.items() if key not in _MEASURED} for entry in parts]
    return [figures["caches"], about, [[case[count]["bytes"] for count in COUNTS] for case in figures["kernels"]]]
