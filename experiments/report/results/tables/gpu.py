"""Generates the predictions of what a GPU would take for the challenge's networks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from backends.cupy_gpu.costs import known_launch
from backends.cupy_gpu.kernels.source import TILE
from experiments.report.results.committed import CommittedRecords, MissingRecordError
from experiments.report.results.markdown import table
from sparsednn.backend import CostKind, LayerLaunch
from sparsednn.data.challenge_inputs import N_INSTANCES
from sparsednn.simulator.gpu.card import CARDS, Card, read_card
from sparsednn.simulator.gpu.model import BOUNDS, GpuCostModel
from sparsednn.simulator.work import GroupCosts, GroupWork

WORK = Path(__file__).parents[1] / "gpu_work.json"
LAYERS, COLUMNS, RULES = (120, 480, 1920), ("merge", "none"), ("merge", "none")
BY = "Predicted by `sparsednn.simulator.gpu`, never measured; rows and launches: `python -m experiments.report.gpu_work`"


def predictions(records: CommittedRecords) -> str:
    """Return the seconds that are predicted for 60,000 instances; no record is needed, since nothing is measured."""
    cards = [read_card(name) for name in CARDS]
    rows = []
    for neurons, n_layers, columns in product(_counted(), LAYERS, COLUMNS):
        found = [predicted(card, neurons, n_layers, columns, rule) for rule in RULES for card in cards]
        rows.append((f"{neurons} x {n_layers}", columns, *(f"{total:.2g}" for total in found)))
    heads = ["network", "columns", *(f"rows={rule}: {_short(card)} s" for rule in RULES for card in cards)]
    return "\n\n".join([table(heads, rows, n_left=2), f"{BY}."])


def gpu_bounds(records: CommittedRecords) -> str:
    """Return what the kernels of one layer are predicted to take with all instances, and what bounds them."""
    rows = []
    for neurons, columns, name in product(_counted(), COLUMNS, CARDS):
        card = read_card(name)
        model = GpuCostModel(card, launches(card, neurons, 2, columns))
        bounds = model.bounds(np.full(2, model.block_rows(KIND["none"]) // TILE * TILE))[1]
        times = ", ".join(f"{bound} {1e6 * seconds:.3g}" for bound, seconds in zip(BOUNDS, bounds, strict=True))
        rows.append((str(neurons), columns, _short(card), model.launches[1].kernel, times, BOUNDS[int(bounds.argmax())]))
    heads = ("neurons", "columns", "card", "kernel", "what each bound asks, microseconds", "the largest")
    return "\n\n".join([table(heads, rows, n_left=6), f"{BY}."])


def card_figures(records: CommittedRecords) -> str:
    """Return the figures of the cards, with where they are from."""
    cards = [read_card(name) for name in CARDS]
    rows = []
    for name, entry in cards[0].content["parameters"].items():
        notes = dict.fromkeys(str(card.content["parameters"][name]["note"]) for card in cards)
        rows.append((name, entry["unit"], *(f"{card[name]:.6g}" for card in cards), entry["source"], "; ".join(notes)))
    return table(("figure", "unit", *map(_short, cards), "source", "from"), rows, n_left=2)


KIND = {rule: CostKind("cupy/fused", "blocks", rule != "none", row_unit=TILE) for rule in ("none", "prune", "merge")}
"""By what is done about rows, as `backends.cupy_gpu.costs.cost_kind` has it."""


def predicted(card: Card, neurons: int, n_layers: int, columns: str, rows: str) -> float:
    """Return the seconds that an inference of 60,000 instances would take."""
    costs, model = costs_of(card, neurons, n_layers, columns, rows)
    return model.fixed_s(N_INSTANCES) + costs.open_s + float(costs.alone_s.sum()) + costs.close_s


def costs_of(card: Card, neurons: int, n_layers: int, columns: str, rows: str) -> tuple[GroupCosts, GpuCostModel]:
    """Return what one row group of all instances costs, and the model that says so."""
    work, some = _work(neurons), launches(card, neurons, n_layers, columns)
    shares = np.ones(n_layers) if rows == "none" else _extended(work["rows"][rows], n_layers)
    left = np.ceil(shares * N_INSTANCES).astype(np.int64)
    n_inputs, n_outputs, connections = (
        np.array([getattr(one, name) for one in some], np.int64) for name in ("n_inputs", "n_outputs", "terms")
    )
    none, always = np.zeros(n_layers, np.int64), np.ones(n_layers, np.bool_)
    nnz = none.copy()
    nnz[0] = round(work["nonzeros"] * N_INSTANCES)
    group = GroupWork(
        N_INSTANCES, left, nnz, none, none, none, none.astype(np.float64), n_inputs, n_outputs, connections, always, ~always
    )
    model = GpuCostModel(card, some)
    return model.costs([group], KIND[rows])[0], model


def launches(card: Card, neurons: int, n_layers: int, columns: str) -> list[LayerLaunch]:
    """Return the launches of a network, whose blocks are alike from the second on."""
    return [
        known_launch(card.generation, **layer) for _, layer in zip(range(n_layers), _layers(neurons, columns), strict=False)
    ]


def _layers(neurons: int, columns: str) -> Iterator[dict[str, Any]]:
    both = _work(neurons)["layers"][columns]
    yield from both["first"]
    while True:
        yield from both["others"]


def _extended(shares: list[float], n_layers: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Go on with the last share."""
    return np.array([*shares, *[shares[-1]] * n_layers])[:n_layers]


def _work(neurons: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(WORK.read_text())[str(neurons)]
    return found


def _counted() -> list[int]:
    """Return the widths that were counted."""
    if not WORK.exists():
        raise MissingRecordError(f"{WORK.name} is not there; make it with: python -m experiments.report.gpu_work")
    return sorted(int(name) for name in json.loads(WORK.read_text()))


def _short(card: Card) -> str:
    return card.name.split()[1]
