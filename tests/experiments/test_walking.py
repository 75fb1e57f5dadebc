"""The benchmark of walks: its networks keep their occupancy, C has our bits, and the figure says where DCSC ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sparsednn
from experiments.config.resolve import ConfigError
from experiments.figures.walking import ABOUT, MeasuredWalk, verdicts
from experiments.sweeps.walking.c_program import CProgram, compiler
from experiments.sweeps.walking.cases import CHALLENGE, OCCUPANCY, WalkCase
from sparsednn.network import Network
from tests.experiments.toys import COMPILED_ONLY, record

COMPILER = compiler()
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler (gcc, cc or clang)")


@pytest.mark.parametrize(("alive", "occupancy"), [(1, 0.03), (4, 0.3), (17, 1.0)])
def test_the_same_columns_have_entries_before_and_after_each_layer(alive: int, occupancy: float) -> None:
    network, inputs = WalkCase(OCCUPANCY, 96, 3, 17, alive, occupancy).made()
    before = inputs
    for layer in network.layers:
        alone = Network([layer.to_scipy()], bias=[layer.bias], bias_on="all", activation=layer.activation)
        after = sparsednn.infer(alone, before, backend="scipy_reference", output=True).output
        assert after is not None
        assert np.array_equal(after.toarray() != 0, inputs.toarray() != 0)
        before = after
    assert np.count_nonzero(inputs.toarray().any(axis=0)) == round(occupancy * 96)
    assert np.count_nonzero(inputs.toarray().any(axis=1)) == alive
    assert network.nnz == 3 * 96 * 32


@needs_compiler
@pytest.mark.parametrize(
    "case",
    [
        WalkCase(OCCUPANCY, 96, 3, 17, 4, 0.3),
        WalkCase(CHALLENGE, 1024, 6, 17, 0, None),
        WalkCase(CHALLENGE, 1024, 6, 30, 30, None),
    ],
    ids=["occupancy", "empty", "random"],
)
def test_the_steps_in_c_have_the_references_bits(case: WalkCase) -> None:
    network, inputs = case.made()
    walk = CProgram(str(COMPILER)).prepared(network, inputs)
    expected = sparsednn.infer(network, inputs, backend="scipy_reference", output=True)
    assert expected.output is not None
    for _ in range(2):  # a walk can be made again
        assert walk.cpu_s() > 0
        assert (walk.output().toarray() + 0).tobytes() == (expected.output.toarray() + 0).tobytes()
        assert walk.multiply_adds == _multiply_adds(network, inputs)


def _multiply_adds(network: Network, inputs: Any) -> int:
    """Count an entry of activations times the connections that leave it."""
    total, before = 0, inputs
    for layer in network.layers:
        total += int((before != 0).astype(np.int64).sum(axis=0) @ np.diff(layer.to_scipy().tocsr().indptr))
        alone = Network([layer.to_scipy()], bias=[layer.bias], bias_on=network.bias_on, activation=layer.activation)
        before = sparsednn.infer(alone, before, backend="scipy_reference", output=True).output
    return total


@needs_compiler
def test_a_compiler_that_fails_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "gcc"
    broken.write_text("#!/bin/sh\necho no room >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(ConfigError, match=f"^{broken} does not compile two_steps.c: no room; take it from PATH"):
        CProgram(str(broken))


@COMPILED_ONLY
def test_a_record_has_all_rounds_and_a_figure(toys: Callable[[str], Path]) -> None:
    folder = toys("walking")
    found = record(folder / "0")["walking"]
    assert (found["rounds"], found["failed"]) == (2, [])
    contestants = {"csc", "dcsc"} if COMPILER is None else {"csc", "dcsc", "C"}
    for case in found["cases"]:
        assert case["seconds"].keys() == contestants
        assert all(len(times) == 2 and min(times) > 0 for times in case["seconds"].values())
    empty = found["cases"][0]
    assert (empty["alive"], empty["multiply_adds"], empty["connections"]) == (0, 0, 1024 * 6 * 32)
    drawn = pd.read_csv(folder / "walking.csv")
    assert len(drawn) == len(contestants) * len(found["cases"])
    assert "dcsc is" in " ".join((folder / "stdout").read_text().split())


def _walk(occupancy: float, csc: list[float], dcsc: list[float]) -> MeasuredWalk:
    about = dict.fromkeys(ABOUT, 1) | {"family": OCCUPANCY, "occupancy": occupancy}
    return MeasuredWalk(about, {"csc": csc, "dcsc": dcsc})


def test_the_verdict_is_the_largest_share_below_which_all_are_faster() -> None:
    slow, fast, either = [3.0, 3.0, 3.0], [1.5, 1.5, 1.5], [2.0, 4.0, 3.0]
    panels = {
        "a": [_walk(0.5, slow, fast), _walk(0.01, slow, fast), _walk(0.1, slow, either)],
        "b": [_walk(0.01, slow, slow), _walk(0.1, slow, fast)],
    }
    assert verdicts(panels) == [
        "a: dcsc is faster than csc up to 1 %, where it takes 0.50 (0.50 to 0.50) of its time.",
        "b: dcsc is nowhere surely faster than csc.",
    ]
