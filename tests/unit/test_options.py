"""Options: each is declared once, checked whenever it is assigned, and taken flat or in its group."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.backend import KernelOptions
from sparsednn.comm import LocalCommunicator
from sparsednn.errors import OptionTypeError
from sparsednn.execution.options import GROUPS, PARAMETERS, InferOptions, infer_options
from sparsednn.options.fields import Options, check_values, default_of, rule_of, text
from sparsednn.options.fields import declarations as declared_in
from sparsednn.options.groups import (
    BackendOptions,
    ClusterOptions,
    OptimizeOptions,
    PartitionOptions,
    RunOptions,
    SchedulerOptions,
)
from sparsednn.schedulers import SCHEDULERS
from sparsednn.simulator.simulate import simulate

ROOT = Path(__file__).parents[2]
EVERY = [pytest.param(group, name, id=f"{group}.{name}") for group in GROUPS for name in declared_in(GROUPS[group])]


@pytest.mark.parametrize(("group", "name"), EVERY)
def test_every_option_says_what_it_does_and_has_a_legal_default(group: str, name: str) -> None:
    options = GROUPS[group]
    rule = rule_of(declared_in(options)[name])
    assert rule is not None
    assert rule.doc[-1] not in ".\n"
    assert "\n" not in rule.doc
    assert getattr(options(**{name: default_of(declared_in(options)[name])}), name) == default_of(declared_in(options)[name])
    assert f"    {name} : " in (options.__doc__ or "")
    for value in rule.legal:
        assert f'"{value}"' in (options.__doc__ or "")


def test_options_are_equal_if_they_are_of_one_class_with_the_same_values_and_print_them() -> None:
    alone = LocalCommunicator()
    assert InferOptions(communicator=alone, cluster=ClusterOptions()) == InferOptions(communicator=alone)
    assert PartitionOptions(hashing="input") == PartitionOptions(hashing="input") != PartitionOptions(hashing="both")
    assert BackendOptions() != KernelOptions()
    assert repr(PartitionOptions(hashing="input")) == (
        "PartitionOptions(hashing='input', order='given', split='even', buckets=1)"
    )
    assert "partition=PartitionOptions(hashing='none'" in repr(InferOptions())
    with pytest.raises(TypeError, match="unhashable"):
        hash(PartitionOptions())


@pytest.mark.parametrize(
    ("made", "name", "value", "message"),
    [
        pytest.param(PartitionOptions, "hashing", "inptu", r"^hashing=inptu: did you mean input\? legal: none, ", id="a name"),
        pytest.param(PartitionOptions, "buckets", 0, "^buckets=0: must be at least 1$", id="too few"),
        pytest.param(PartitionOptions, "buckets", 2**31, "^buckets=2147483648: must be at most 2147483647$", id="too many"),
        pytest.param(SchedulerOptions, "recruiting_ratio", 1.5, "^recruiting_ratio=1.5: must be from 0 to 1$", id="a ratio"),
        pytest.param(SchedulerOptions, "threshold", -1, "^threshold=-1: must be 0 or more$", id="less than none"),
        pytest.param(RunOptions, "trace", 1, "^trace=1: True or False is needed, not int$", id="a number for a switch"),
        pytest.param(RunOptions, "repeats", None, "^repeats=None: a whole number is needed", id="nothing"),
        pytest.param(OptimizeOptions, "rwos", "none", "^unknown key rwos: did you mean rows", id="no such option"),
    ],
)  # fmt: skip
def test_an_option_is_checked_when_it_is_assigned(made: type[Options], name: str, value: Any, message: str) -> None:
    options = made()
    with pytest.raises((ValueError, TypeError), match=message):
        setattr(options, name, value)
    assert options == made(), "what is refused changes nothing"


def test_a_group_of_options_is_one_of_its_class() -> None:
    with pytest.raises(TypeError, match="^options.partition='even': a PartitionOptions is needed, not str$"):
        InferOptions(partition="even")  # type: ignore[arg-type]


def test_a_name_that_is_no_option_is_refused_with_the_legal_ones_or_its_group() -> None:
    with pytest.raises(
        OptionTypeError, match=r"^PartitionOptions: unknown key hashng: did you mean hashing\? legal: hashing, "
    ):
        PartitionOptions(hashng="input")  # type: ignore[call-arg]
    with pytest.raises(
        OptionTypeError, match=r"^InferOptions: hashing is an option of partition: partition=PartitionOptions\(hashing=...\)$"
    ):
        InferOptions(hashing="input")  # type: ignore[call-arg]


def test_numpys_scalars_become_pythons_own() -> None:
    options = SchedulerOptions(split_factor=np.int64(3), recruiting_ratio=np.float32(0.5))  # type: ignore[arg-type]
    assert (type(options.split_factor), type(options.recruiting_ratio)) == (int, float)
    options.threshold = np.int8(2)  # type: ignore[assignment]
    assert type(options.threshold) is int


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_a_flat_argument_is_the_option_of_its_group(parameter: str) -> None:
    group, name = PARAMETERS[parameter]
    rule = rule_of(declared_in(GROUPS[group])[name])
    assert rule is not None
    default = default_of(declared_in(GROUPS[group])[name])
    other: Any = rule.legal[-1] if rule.legal and rule.legal[-1] != default else rule.legal[0] if rule.legal else None
    if other is None:
        other = {bool: lambda: not default, float: lambda: 1.0}.get(type(default), lambda: 3)()
    if parameter == "calibration":
        other = "a.json"
    flat = infer_options({parameter: other})
    nested = InferOptions(**{group: GROUPS[group](**{name: other})})  # type: ignore[arg-type]
    assert getattr(flat, group) == getattr(nested, group) != GROUPS[group]()
    both = infer_options({parameter: default}, nested)
    assert getattr(both, group) == GROUPS[group](), "a flat one goes first"
    assert getattr(nested, group) != GROUPS[group](), "and leaves the object as it was"


def test_options_given_as_groups_reach_the_inference(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    options = InferOptions(
        partition=PartitionOptions(hashing="input", order="alive_first"), scheduler=SchedulerOptions(split_factor=2),
        optimize=OptimizeOptions(rows="prune"), run=RunOptions(repeats=2, trace=True),
    )  # fmt: skip
    found = sparsednn.infer(small_network, small_inputs, scheduler="manager_worker", threads=1, options=options)
    flat = sparsednn.infer(
        small_network, small_inputs, scheduler="manager_worker", threads=1, hashing="input", row_order="alive_first",
        split_factor=2, rows="prune", repeats=2, trace=True,
    )  # fmt: skip
    for field in ("hashing", "row_order", "scheduler_options", "optimizations"):
        assert found.record[field] == flat.record[field], field
    assert found.record["scheduler_options"]["split_factor"] == 2
    assert len(found.record["seconds"]["inference"]) == 2
    assert found.trace is not None
    with pytest.raises(TypeError, match="^options=3: a sparsednn.InferOptions is needed, not int$"):
        sparsednn.infer(small_network, small_inputs, options=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("repeats", {"run": RunOptions(repeats=3)}, id="repeats"),
        pytest.param("rebalance_after", {"run": RunOptions(rebalance_after=2)}, id="balancing"),
        pytest.param("pin", {"cluster": ClusterOptions(pin=True)}, id="pinning"),
    ],
)
def test_virtual_time_refuses_what_means_nothing_there(
    name: str, options: dict[str, Any], small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    with pytest.raises(ValueError, match=f"^{name}: means nothing in virtual time"):
        simulate(small_network, small_inputs, options=InferOptions(**options))


def test_what_a_caller_changes_later_is_not_what_runs() -> None:
    mine = InferOptions()
    running = infer_options({"row_order": "given"}, mine)
    scheduler = SCHEDULERS["data_then_model"](mine.scheduler)
    mine.scheduler.threshold, mine.partition.buckets = 9, 5
    assert (running.scheduler.threshold, running.partition.buckets, scheduler.options.threshold) == (4, 1, 4)
    with pytest.raises(TypeError, match="^run: an option has a value at all times$"):
        del mine.run


def test_a_group_may_be_of_a_class_that_has_more() -> None:
    @dataclass
    class Named(BackendOptions):
        name: str = text("mine", "A name")

    options = infer_options({}, InferOptions(backend=Named(block_rows=32)))
    assert options.kernel_options("udc_csc").block_rows == 32
    assert InferOptions(backend=Named(block_rows=64)).kernel_options("udc_csc").block_rows == 64


def test_kernels_are_told_the_options_that_concern_them() -> None:
    options = replace(InferOptions(), optimize=OptimizeOptions(rows="retire", columns="none"))
    options.backend.block_rows = 64
    assert options.kernel_options("udc_csc") == KernelOptions("udc_csc", rows="retire", columns="none", block_rows=64)
    options.network.residency = "stream"
    assert options.kernel_options("udc_csc").stream_from is not None


def test_nested_values_are_called_by_the_key_that_leads_to_them() -> None:
    with pytest.raises(ValueError, match="^my.partition.split=odd: legal: even, work$"):
        check_values({"partition": {"split": "odd"}}, InferOptions, "my.")
    check_values({"partition": {"split": "work"}, "row_ids": None}, InferOptions)
    with pytest.raises(TypeError, match="^cluster=3: a group with fields is needed: pin, numa_domains, "):
        check_values({"cluster": 3}, InferOptions)


def test_the_library_speaks_of_its_parameters_and_of_no_key() -> None:
    """Messages to a caller from Python; run.py puts its keys in their place."""
    names = {option for group, option in PARAMETERS.values() if group != "run"} - {"order"}
    key = re.compile(rf"\b({'|'.join(GROUPS)})\.({'|'.join(names)})\b[^(]")
    for path in (path for folder in ("sparsednn", "backends") for path in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                assert not key.search(f"{node.value} "), f"{path}:{node.lineno}: {node.value}"
