"""Calibration files: the one that is shipped can be read, and one that is malformed is refused with one clear message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsednn.simulator.calibration import (
    DEFAULT,
    KERNEL_PARAMETERS,
    MEMORY,
    Calibration,
    assuming,
    check_calibration,
    read_calibration,
)
from sparsednn.simulator.cost_model import CostModel
from tests.unit.calibrations import calibration, content, kind, parameter
from tests.unit.test_simulation import profile


def test_the_default_calibration_has_every_kernel_and_says_where_each_figure_comes_from() -> None:
    default = read_calibration()
    assert default.content["kernels"].keys() == KERNEL_PARAMETERS.keys()
    assert default.source == str(DEFAULT)
    sources = set()

    def walk(entry: Any) -> None:
        if "value" in entry:
            sources.add(entry["source"])
            assert entry["note"]
            return
        for inner in entry.values():
            walk(inner)

    for section in ("kernels", "overheads", "assumed"):
        walk(default.content[section])
    assert sources == {"measured", "assumed"}


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content(wake_s=0.5)))
    found = read_calibration(path)
    expected = content(wake_s=0.5)
    expected["assumed"] |= MEMORY
    assert found == Calibration(expected, str(path))
    assert found.value("overheads", "wake_s") == 0.5


def test_a_kernel_may_have_the_name_that_it_had_before() -> None:
    former = content()
    former["kernels"]["adaptive"] = former["kernels"].pop("rowwise_first")
    assert check_calibration(former, "mine.json") == check_calibration(content(), "mine.json")


def of_version_1(**values: float | dict[int, float]) -> dict[str, Any]:
    """A file as it was before costs knew the row group."""
    found = content(**values)
    del found["caches"], found["kernels"]["dcsc_csc"]
    for kernel in found["kernels"].values():
        for name in ("visit_s", "beyond_l1_s", "beyond_l2_s", "beyond_l3_s"):
            kernel.pop(name, None)
    return found | {"schema_version": 1}


def test_files_of_version_1_are_read_and_predict_what_they_did() -> None:
    """The size of a row group costs nothing in them; a kernel that they lack is refused by name, with the way out."""
    old = check_calibration(of_version_1(multiply_add_s=2.0, connection_s=3.0), "old.json")
    assert old.content["schema_version"] == 2, "records have the present form"
    one = old.content["kernels"]["csr_csr"]["visit_s"]
    assert (one["value"], one["source"]) == (0, "assumed")
    assert "python -m experiments.calibrate FILE" in one["note"]
    work = profile(np.ones(40_000, np.bool_)).group_work(np.arange(40_000))
    new = CostModel(calibration(multiply_add_s=2.0, connection_s=3.0))
    for kernel in (kind("csc_csc"), kind("csr_csr"), kind("udc_csc")):
        (before,), (after,) = (model.costs([work], kernel) for model in (CostModel(old), new))
        assert before.alone_s.tolist() == after.alone_s.tolist()
    with pytest.raises(ValueError, match=r"kernel=dcsc_csc: .*csc_csc.*\(calibration old.json\); calibrate it first"):
        CostModel(old).require_calibrated(kind("dcsc_csc"))


def test_tables_are_ascending_by_number() -> None:
    found = calibration(slowdown={28: 3.0, 1: 1.0, 2: 1.5}, multiply_add_s=2.0)
    kernel = found.kernel("udc_csc")
    assert found.table(kernel, "slowdown") == [(1, 1), (2, 1.5), (28, 3)]
    assert found.table(kernel, "multiply_add_s") == [(1, 2.0)]


def remove(*path: str) -> Any:
    return lambda found: _at(found, path[:-1]).pop(path[-1])


def change(value: Any, *path: str) -> Any:
    return lambda found: _at(found, path[:-1]).update({path[-1]: value})


def _at(found: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        found = found[name]
    return found


KERNEL = ("kernels", "udc_csc")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(change(3, "schema_version"), r"schema_version is 3; .*reads 1 and 2; make another with", id="version"),
        pytest.param(remove("caches"), r"caches is missing; sections needed", id="no caches"),
        pytest.param(remove("caches", "l2_bytes"), r"caches.l2_bytes is missing", id="no second cache"),
        pytest.param(remove("kernels", "csc_csc", "visit_s"), r"kernels.csc_csc.visit_s is missing", id="no visits"),
        pytest.param(remove("schema_version"), r"schema_version is None", id="no version"),
        pytest.param(remove("overheads"), r"overheads is missing; sections needed", id="no section"),
        pytest.param(change({}, "colour"), r"colour: .*legal: schema_version", id="unknown section"),
        pytest.param(change({}, "kernels"), r"kernels must be an object that is not empty", id="no kernels"),
        pytest.param(change({}, "kernels", "udc_cs"), r"kernels=udc_cs: did you mean udc_csc", id="unknown kernel"),
        pytest.param(change([], *KERNEL), r"kernels.udc_csc must be an object", id="a kernel that is a list"),
        pytest.param(remove(*KERNEL, "column_s"), r"kernels.udc_csc.column_s is missing", id="no parameter"),
        pytest.param(change(parameter(1), *KERNEL, "colum_s"), r"colum_s: did you mean column_s", id="unknown parameter"),
        pytest.param(change(1.5, *KERNEL, "column_s"), r"column_s must be an object with value, unit", id="bare"),
        pytest.param(remove(*KERNEL, "column_s", "source"), r"column_s.source is missing; fields needed", id="no source"),
        pytest.param(change("guessed", *KERNEL, "column_s", "source"), r"source=guessed: .*measured, assumed", id="source"),
        pytest.param(change(3, *KERNEL, "column_s", "note"), r"column_s.note is 3; text is needed", id="no text"),
        pytest.param(change(-1.0, *KERNEL, "column_s", "value"), r"column_s.value is -1.0; a number of 0 or more", id="unit"),
        pytest.param(change(float("nan"), "overheads", "wake_s", "value"), r"overheads.wake_s.value is nan", id="not a number"),
        pytest.param(change("1", "overheads", "wake_s", "value"), r"overheads.wake_s.value is '1'", id="a number as text"),
        pytest.param(change(True, "overheads", "wake_s", "value"), r"overheads.wake_s.value is True", id="true"),
        pytest.param(change({}, *KERNEL, "slowdown"), r"kernels.udc_csc.slowdown must be a table", id="empty table"),
        pytest.param(change(parameter(1), "overheads", "barrier_s"), r"overheads.barrier_s must be a table", id="no table"),
        pytest.param(change({"two": parameter(1)}, *KERNEL, "slowdown"), r"slowdown must be a table", id="table by words"),
        pytest.param(change({"2": 1}, *KERNEL, "slowdown"), r"slowdown.2 must be an object", id="table of bare numbers"),
        pytest.param(change({"1": parameter(1)}, "overheads", "wake_s"), r"wake_s.value is missing", id="a table"),
        pytest.param(change(0, "assumed", "core_speed", "value"), r"assumed.core_speed: value must be above 0", id="no speed"),
    ],
)  # fmt: skip
def test_malformed_calibrations(tmp_path: Path, damage: Any, message: str) -> None:
    path = tmp_path / "mine.json"
    found = content()
    damage(found)
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=message) as error:
        read_calibration(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe\x00", b""])
def test_files_that_are_no_json(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match="mine.json: not a calibration file"):
        read_calibration(path)


def test_files_that_are_no_object() -> None:
    with pytest.raises(ValueError, match="mine.json: not a calibration file: list in place of an object"):
        check_calibration([], "mine.json")


def test_files_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_calibration(tmp_path / "none.json")


def test_what_is_assumed_can_be_assumed_otherwise_and_what_is_measured_stays() -> None:
    default = read_calibration()
    found = assuming(default, {"slowdown": 2.5, "barrier_s": 1e-4, "core_speed": 0.5, "llc_bytes": 1e6})
    for name, kernel in found.content["kernels"].items():
        before = default.content["kernels"][name]["slowdown"]
        for number, entry in kernel["slowdown"].items():
            assert entry["value"] == (2.5 if before[number]["source"] == "assumed" else before[number]["value"])
    barriers = found.content["overheads"]["barrier_s"]
    assert (barriers["2"], barriers["28"]["value"]) == (default.content["overheads"]["barrier_s"]["2"], 1e-4)
    before_s = default.content["overheads"]["barrier_s"]["28"]["value"]
    assert barriers["28"]["note"] == f"assumed for this run in place of {before_s:g}"
    assert (found.value("assumed", "core_speed"), found.value("assumed", "llc_bytes")) == (0.5, 1e6)
    assert default.value("assumed", "core_speed") == 1, "the other is left as it was"
    assert assuming(default, {}) == default


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"core_sped": 1.0}, "did you mean core_speed", id="unknown"),
        pytest.param({"core_speed": 0.0}, "assume.core_speed=0.0: must be above 0", id="zero"),
        pytest.param({"slowdown": float("nan")}, "assume.slowdown=nan", id="not a number"),
    ],
)
def test_what_cannot_be_assumed_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        assuming(read_calibration(), values)
