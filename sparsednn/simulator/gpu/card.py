"""Reads the figures of a GPU: what it can do a second, each of them measured or assumed.

A file is JSON: ``{"schema_version": 1, "card": NAME, "generation": "sm_90", "parameters": {...}}``, whose parameters are
``{"value": 3.35e12, "unit": "bytes/s", "source": "assumed", "note": "data sheet"}``, as in a calibration file.
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

from sparsednn.backend import DeviceFigures
from sparsednn.errors import DataError, MissingFileError, StorageError, unknown

SCHEMA_VERSION = 1
FOLDER = Path(__file__).parent
CARDS = ("h100", "a100")
"""Cards that come with the package."""

PARAMETERS = (
    "multiprocessors", "clock_hz", "lanes", "issues", "warps", "shared_bytes_per_clock", "l2_bytes", "l2_bytes_per_clock",
    "memory_bytes", "memory_bytes_per_s", "host_bytes_per_s", "peer_bytes_per_s", "compute_share", "memory_share", "launch_s",
    "host_launch_s", "checkpoint_s", "meeting_s", "run_s", "network_latency_s", "network_bytes_per_s", "core_speed",
)  # fmt: skip
"""All that a card's file has. ``lanes``: of a multiprocessor, that add or multiply float32 in a clock; ``issues``:
instructions of a warp in a clock; ``..._share``: how much of what is published is reached; ``launch_s``: least time of a kernel
on the device; ``host_launch_s``: what the host takes to launch one; ``checkpoint_s``: what it takes to look at the instances;
``meeting_s``: what members of a team take to meet."""

SOURCES = ("measured", "assumed")


@dataclass(frozen=True, slots=True)
class Card:
    """The figures of a GPU.

    Attributes
    ----------
    content : dict
        All of the file, for records.
    source : str
        The file, for messages.
    """

    content: dict[str, Any]
    source: str

    @property
    def name(self) -> str:
        """What the card is called."""
        return str(self.content["card"])

    @property
    def generation(self) -> str:
        """Whose machine code it runs: ``sm_90``."""
        return str(self.content["generation"])

    def __getitem__(self, name: str) -> float:
        return float(self.content["parameters"][name]["value"])

    @property
    def assumes(self) -> bool:
        """Whether any figure is assumed."""
        return any(entry["source"] == "assumed" for entry in self.content["parameters"].values())

    def of_device(self, figures: DeviceFigures) -> Card:
        """Return the card with what a driver says of a device here in place of what is published of another."""
        content = copy.deepcopy(self.content) | {"card": figures.name, "generation": figures.generation}
        for name, value in figures.parameters.items():
            content["parameters"][name] |= {"value": value, "source": "assumed", "note": "as the device's driver says"}
        return Card(content, self.source)

    def assuming(self, values: Mapping[str, float]) -> Card:
        """Return the card with other values in place of assumed ones.

        Raises
        ------
        ValueError
            For a name that has nothing assumed, or a value that is not above 0.
        """
        content = copy.deepcopy(self.content)
        assumed = {name: entry for name, entry in content["parameters"].items() if entry["source"] == "assumed"}
        for name, value in values.items():
            if name not in assumed:
                raise DataError(f"{unknown('assume', name, sorted(assumed))} (card {self.source})")
            if not (math.isfinite(value) and value > 0):
                raise DataError(f"assume.{name}={value}: must be above 0")
            assumed[name] |= {"value": float(value), "note": f"assumed for this run in place of {assumed[name]['value']:g}"}
        return Card(content, self.source)


def read_card(path: str | os.PathLike[str] = CARDS[0]) -> Card:
    """Read and check a card's file; a name of `CARDS` is one that comes with the package.

    Raises
    ------
    ValueError
        If it is malformed or incomplete; the message names the file and the parameter.
    OSError
        If it cannot be read.
    """
    path = FOLDER / f"{path}.json" if str(path) in CARDS else Path(path)
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file of a card; the package has {', '.join(CARDS)}") from None
    except OSError as error:
        raise StorageError(f"{path}: not a card's file: {error.strerror}") from None
    except ValueError as error:
        raise DataError(f"{path}: not a card's file: {error}") from error
    return Card(_checked(content, str(path)), str(path))


def _checked(content: Any, source: str) -> dict[str, Any]:
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION or "parameters" not in content:
        raise DataError(
            f"{source}: not the figures of a GPU (schema_version {SCHEMA_VERSION}, with parameters), which backend=cupy needs; "
            f"leave it out, or give one of {', '.join(CARDS)}"
        )
    for name in ("card", "generation"):
        if not isinstance(content.get(name), str):
            raise DataError(f"{source}: {name} is {content.get(name)!r}; text is needed")
    parameters = content["parameters"]
    for name in PARAMETERS:
        if name not in parameters:
            raise DataError(f"{source}: parameters.{name} is missing; needed: {', '.join(PARAMETERS)}")
    for name, entry in parameters.items():
        if name not in PARAMETERS:
            raise DataError(f"{source}: {unknown('parameters', name, PARAMETERS)}")
        value = entry.get("value") if isinstance(entry, dict) else entry
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
            raise DataError(f"{source}: parameters.{name}.value is {value!r}; a number above 0 is needed")
        if entry.get("source") not in SOURCES:
            raise DataError(f"{source}: {unknown(f'parameters.{name}.source', str(entry.get('source')), SOURCES)}")
    return content
