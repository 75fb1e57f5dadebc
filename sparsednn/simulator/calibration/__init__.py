"""Reads and checks calibration files: parameters of the cost model, each marked as measured or assumed.

A file is JSON::

    {"schema_version": 2, "machine": {...}, "caches": {...}, "kernels": {"udc_csc": {...}, ...}, "overheads": {...},
     "assumed": {...}}

Each parameter is ``{"value": 1e-9, "unit": "s", "source": "measured", "note": "..."}``; a table of one is such an object for
each of some numbers, as in ``{"1024": {...}, "4096": {...}}``. Files of version 1 are read: they have neither ``caches`` nor
`ROW_GROUP_SECONDS`, so that their costs know nothing of how large a row group is.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsednn.arguments.scalars import instance_of
from sparsednn.backend import FORMER_KERNELS
from sparsednn.errors import DataError, MissingFileError, StorageError, unknown

SCHEMA_VERSION = 2
READABLE_VERSIONS = (1, SCHEMA_VERSION)
SECTIONS = ("schema_version", "machine", "caches", "kernels", "overheads", "assumed")
SOURCES = ("measured", "assumed")
FIELDS = ("value", "unit", "source", "note")
DEFAULT = Path(__file__).parent / "default.json"

GROUP_SECONDS = ("open_s", "load_s", "sum_s")
BLOCK_SECONDS = ("layer_s", "column_s", "connection_s", "scan_s", "multiply_add_s")
ROW_GROUP_SECONDS = ("visit_s", "beyond_l1_s", "beyond_l2_s", "beyond_l3_s")
"""Parameters by which costs know how large a row group is; files of version 1 have none."""

COLUMN_SECONDS = (*BLOCK_SECONDS, "full_multiply_add_s", "entry_s", *ROW_GROUP_SECONDS)
TEAM = ("serial_share", "team_factor", "meetings", "slowdown")

KERNEL_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("rowwise_first", "udc_csc"), (*GROUP_SECONDS, *BLOCK_SECONDS, *TEAM, "block_rows")),
    **dict.fromkeys(("csc_csc", "csc_csc/paper", "dcsc_csc", "csr_csr"), (*GROUP_SECONDS, *COLUMN_SECONDS, *TEAM)),
}
"""Kernels that can be calibrated, and what each needs; "/paper": with none of the optimisations that the paper lacks."""

OVERHEADS = ("decision_s", "wake_s", "start_s", "barrier_s", "barrier_shared_core_s", "run_s", "row_s")
ASSUMED = ("core_speed", "network_latency_s", "network_bytes_per_s")
CACHES = ("l1_bytes", "l2_bytes", "l3_bytes")
NO_CACHES: Mapping[str, dict[str, Any]] = {
    name: {"value": n_bytes, "unit": "bytes", "source": "assumed", "note": "usual; not in files of version 1"}
    for name, n_bytes in zip(CACHES, (2**15, 2**20, 2**25), strict=True)
}
NO_COST: Mapping[str, Any] = {
    "value": 0.0, "unit": "s", "source": "assumed", "note": "not in files of version 1; python -m experiments.calibrate FILE",
}  # fmt: skip
MEMORY: Mapping[str, dict[str, Any]] = {
    "llc_bytes": {
        "value": 70e6, "unit": "bytes per node", "source": "assumed",
        "note": "two Xeon E5-2690 v4 (14 cores, 2.6 GHz) with 35 MB of last-level cache each, taken as one",
    },
    "memory_bytes_per_s": {
        "value": 120e9, "unit": "bytes/s per node", "source": "assumed",
        "note": "about four fifths of the 153.6 GB/s of two processors with four channels of DDR4-2400 each",
    },
}  # fmt: skip
"""Parameters of the nodes' memory, for the estimate of its traffic only. Files of earlier versions lack them and get these."""

TABLES = ("barrier_s", "slowdown")
"""Parameters that are always tables, by the number of members or active cores; the others may be, by the number of neurons."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A calibration file that has been checked.

    Attributes
    ----------
    content : dict
        All of it, for records.
    source : str
        The file, for messages.
    """

    content: dict[str, Any]
    source: str

    def kernel(self, name: str) -> dict[str, Any]:
        """Return the parameters of a kernel, or raise ValueError naming those that are calibrated."""
        kernels: dict[str, Any] = self.content["kernels"]
        if name not in kernels:
            raise DataError(f"{unknown('kernel', name, sorted(kernels))} (calibration {self.source}); calibrate it first")
        return kernels[name]  # type: ignore[no-any-return]

    def table(self, section: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
        """Return a parameter as (number, value) pairs, ascending; one that is no table has one pair, with number 1."""
        parameter = section[name]
        if "value" in parameter:
            return [(1.0, float(parameter["value"]))]
        return sorted((float(number), float(entry["value"])) for number, entry in parameter.items())

    def value(self, section: str, name: str) -> float:
        """Return a parameter of ``overheads`` or ``assumed``."""
        return float(self.content[section][name]["value"])


def read_calibration(path: str | os.PathLike[str] | None = None) -> Calibration:
    """Read and check a calibration file; the one that comes with the package, unless another is given.

    Raises
    ------
    ValueError
        If it is malformed or incomplete; the message names the file and the parameter.
    OSError
        If it cannot be read.
    """
    if path is not None:
        instance_of("calibration", path, (str, os.PathLike), "the path of a file is needed")
    path = DEFAULT if path is None else Path(path)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such calibration file; python -m experiments.calibrate FILE makes one") from None
    except OSError as error:  # a folder, or not to be read
        raise StorageError(f"{path}: not a calibration file: {error.strerror}") from None
    except ValueError as error:  # no JSON, or no text
        raise DataError(f"{path}: not a calibration file: {error}") from error
    return check_calibration(content, str(path))


def check_calibration(content: Any, source: str) -> Calibration:
    """Check what a calibration file holds.

    Raises
    ------
    ValueError
        Naming `source` and the first parameter that is missing, unknown or malformed.
    """
    if not isinstance(content, dict):
        raise DataError(f"{source}: not a calibration file: {type(content).__name__} in place of an object")
    if content.get("schema_version") not in READABLE_VERSIONS:
        raise DataError(
            f"{source}: schema_version is {content.get('schema_version')!r}; this version of sparsednn reads "
            f"{' and '.join(map(str, READABLE_VERSIONS))}; make another with python -m experiments.calibrate FILE"
        )
    if content["schema_version"] == 1:
        content = _of_version_2(content)
    _require_names(source, "", content, SECTIONS, "sections")
    for name in ("machine", "kernels"):
        if not isinstance(content[name], dict) or not content[name]:
            raise DataError(f"{source}: {name} must be an object that is not empty")
    content = {**content, "kernels": {FORMER_KERNELS.get(name, name): own for name, own in content["kernels"].items()}}
    for kernel, parameters in content["kernels"].items():
        if kernel not in KERNEL_PARAMETERS:
            raise DataError(f"{source}: {unknown('kernels', kernel, KERNEL_PARAMETERS)}")
        _check_section(source, f"kernels.{kernel}", parameters, KERNEL_PARAMETERS[kernel])
    _check_section(source, "caches", content["caches"], CACHES)
    _check_section(source, "overheads", content["overheads"], OVERHEADS)
    if isinstance(content["assumed"], dict):
        content = {**content, "assumed": {**MEMORY, **content["assumed"]}}
    _check_section(source, "assumed", content["assumed"], (*ASSUMED, *MEMORY))
    for name in ("core_speed", "network_bytes_per_s", *MEMORY):
        if content["assumed"][name].get("value", 1) <= 0:
            raise DataError(f"{source}: assumed.{name}: value must be above 0")
    return Calibration(content, source)


def _of_version_2(content: dict[str, Any]) -> dict[str, Any]:
    """Return what a file of version 1 holds in the form of version 2; what is malformed stays so, to be refused."""
    kernels = content.get("kernels")
    if isinstance(kernels, dict):
        kernels = {
            name: {**dict.fromkeys(_new_in_2(name), NO_COST), **own} if isinstance(own, dict) else own
            for name, own in kernels.items()
        }
    given = {} if kernels is None else {"kernels": kernels}
    return {"caches": dict(NO_CACHES), **content, **given, "schema_version": SCHEMA_VERSION}


def _new_in_2(kernel: str) -> list[str]:
    """Names of the parameters of a kernel that files of version 1 lack."""
    return [name for name in KERNEL_PARAMETERS.get(kernel, ()) if name in ROW_GROUP_SECONDS]


def assuming(calibration: Calibration, values: Mapping[str, float]) -> Calibration:
    """Return a calibration with other values in place of its assumed ones; what was measured stays.

    Parameters
    ----------
    calibration : Calibration
    values : mapping of float
        By name: a parameter of ``assumed``; or ``slowdown`` or ``barrier_s``, for all assumed entries of these tables.

    Raises
    ------
    ValueError
        For a name that has nothing assumed, or a value that is not above 0.
    """
    content = copy.deepcopy(calibration.content)
    tables = {
        "slowdown": [kernel["slowdown"] for kernel in content["kernels"].values()],
        "barrier_s": [content["overheads"]["barrier_s"]],
    }
    for name, value in values.items():
        if name not in (*ASSUMED, *MEMORY, *tables):
            raise DataError(unknown("assume", name, (*ASSUMED, *MEMORY, *tables)))
        if not (math.isfinite(value) and value > 0):
            raise DataError(f"assume.{name}={value}: must be above 0")
        places = (
            [content["assumed"][name]] if name in content["assumed"] else [e for table in tables[name] for e in table.values()]
        )
        for entry in places:
            if entry["source"] == "assumed":
                entry |= {"value": float(value), "note": f"assumed for this run in place of {entry['value']:g}"}
    return Calibration(content, calibration.source)


def _check_section(source: str, where: str, parameters: Any, names: tuple[str, ...]) -> None:
    """Exactly the parameters that are needed, each well-formed."""
    if not isinstance(parameters, dict):
        raise DataError(f"{source}: {where} must be an object")
    _require_names(source, f"{where}.", parameters, names, "parameters")
    by_neurons = (*GROUP_SECONDS, *COLUMN_SECONDS, "serial_share", "team_factor")
    for name, parameter in parameters.items():
        place = f"{where}.{name}"
        is_table = isinstance(parameter, dict) and "value" not in parameter
        if name in TABLES or (is_table and name in by_neurons):
            _check_table(source, place, parameter)
        else:
            _check_parameter(source, place, parameter)


def _check_table(source: str, where: str, table: Any) -> None:
    if not isinstance(table, dict) or not table or not all(key.isdecimal() and int(key) > 0 for key in table):
        raise DataError(f"{source}: {where} must be a table: parameters by numbers from 1 up, at least one")
    for key, parameter in table.items():
        _check_parameter(source, f"{where}.{key}", parameter)


def _check_parameter(source: str, where: str, parameter: Any) -> None:
    if not isinstance(parameter, dict):
        raise DataError(f"{source}: {where} must be an object with {', '.join(FIELDS)}")
    _require_names(source, f"{where}.", parameter, FIELDS, "fields")
    value = parameter["value"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
        raise DataError(f"{source}: {where}.value is {value!r}; a number of 0 or more is needed")
    if parameter["source"] not in SOURCES:
        raise DataError(f"{source}: {unknown(f'{where}.source', parameter['source'], SOURCES)}")
    for name in ("unit", "note"):
        if not isinstance(parameter[name], str):
            raise DataError(f"{source}: {where}.{name} is {parameter[name]!r}; text is needed")


def _require_names(source: str, prefix: str, found: Mapping[str, Any], names: tuple[str, ...], kind: str) -> None:
    for name in names:
        if name not in found:
            raise DataError(f"{source}: {prefix}{name} is missing; {kind} needed: {', '.join(names)}")
    for name in found:
        if name not in names:
            raise DataError(f"{source}: {unknown(f'{prefix}', name, names)}")
