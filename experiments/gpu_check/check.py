"""Checks and measures a user's NVIDIA GPU once: ``python run.py experiment=gpu_check``.

No GPU was at hand when this was written. So the conformance suite is run on the device, all networks are checked, and what the
device takes is measured by its own clock; a report says it all, to be sent back. It is written after each part, and the parts
run in processes of their own, which are ended when they hang: whatever fails costs no more than its own part.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from time import monotonic
from typing import Any

from experiments.config.resolve import Config, ConfigError
from experiments.gpu_check import difference
from experiments.gpu_check.facts import LeftOutError
from experiments.gpu_check.own_process import OwnProcess
from experiments.gpu_check.parts import FIRST, LISTS, CheckPart, parts
from experiments.gpu_check.points import in_words
from experiments.gpu_check.suite import ROOT, SUITE
from sparsednn.backend import DeviceError, load_backend

LEAST_LIMIT_S, SLOWER = 900.0, 20.0
"""Unless told otherwise, a part hangs if it takes this long, and so many times what is expected."""

INSTALL = "pip install -e '.[dev,gpu]'"
NEEDED = ("pytest", "hypothesis")
"""Packages of the extra dev that the suite needs."""

Progress = Callable[..., None]
Save = Callable[[dict[str, Any]], None]


def require_usable() -> None:
    """Refuse to start without a GPU, or without the tests.

    Raises
    ------
    ConfigError
        With the way out.
    """
    try:
        load_backend("cupy")
    except (ImportError, DeviceError) as error:
        raise ConfigError(str(error)) from error
    if not all(find_spec(package) for package in NEEDED) or not all((ROOT / path).exists() for path in SUITE):
        raise ConfigError(
            f"experiment=gpu_check runs the conformance suite: run it in a clone of the repository, with {INSTALL}"
        )


def outlook(config: Config, toy: bool) -> str:
    """Say how many parts there are, and how long they are expected to take."""
    found = parts(config, toy)
    return f"{len(found)} parts, about {_minutes(sum(part.expected_s for part in found))}: the report is written after each"


def benchmark(config: Config, toy: bool, progress: Progress, save: Save) -> dict[str, Any]:
    """Check and measure as a configuration says: ``threads`` (streams), ``repeats`` and ``instances`` of each network.

    Parameters
    ----------
    config : Config
        ``cluster.timeout_s`` is how long a part may take; None: fifteen minutes, or twenty times what is expected.
    toy : bool
    progress : callable
        Is told how many parts are done, of how many, and what comes next.
    save : callable
        Is given what has been found after each part: as below, without the parts that are to come.

    Returns
    -------
    dict
        What each section has found, by its name (see `experiments.gpu_check.parts`); ``left_out``, why sections cannot be had
        here; ``errors``, of parts that have none of these; ``seconds``, what each section took and ``expected_s``, what was
        expected; ``unfinished``, how many parts are to come; and ``failed``: what has not gone as it must, in words.
    """
    todo, figures, own = parts(config, toy), nothing_yet(), OwnProcess()
    try:
        for number, part in enumerate(todo):
            left_s = sum(one.expected_s for one in todo[number:])
            progress(number, len(todo), f"{part.name}, about {_minutes(left_s)} left")
            began_s = monotonic()
            _find(part, figures, own, config.cluster.timeout_s)
            spent = figures["seconds"].setdefault(part.section, {"expected_s": 0.0, "taken_s": 0.0})
            spent["expected_s"] += part.expected_s
            spent["taken_s"] += monotonic() - began_s
            figures |= {"unfinished": len(todo) - number - 1, "failed": failures(figures)}
            save(figures)
    finally:
        own.end()
    return figures


def nothing_yet() -> dict[str, Any]:
    """Return figures of which nothing is known."""
    return {
        **dict.fromkeys(FIRST), **{name: [] for name in LISTS}, "left_out": {}, "errors": {}, "seconds": {},
        "unfinished": 0, "failed": [],
    }  # fmt: skip


def _find(part: CheckPart, figures: dict[str, Any], own: OwnProcess, limit_s: float | None) -> None:
    """Find what a part is for, in a process of its own; one of several runs goes on in that of the run before."""
    limit_s = limit_s or max(LEAST_LIMIT_S, SLOWER * part.expected_s)
    try:
        found = own.run(part.work, *part.arguments, limit_s=limit_s)
    except LeftOutError as error:
        figures["left_out"][part.section] = str(error)
    except Exception as error:
        if part.about is None:
            figures["errors"][part.section] = in_words(error)
        else:
            figures[part.section].append(part.about | {"status": "failed", "error": in_words(error)})
    else:
        if part.about is None:
            figures[part.section] = found
            own.end()
            return
        row = part.about | found
        if row.get("status") == "wrong" and "difference" not in row:
            row["difference"] = _located(part, own, limit_s)
        figures[part.section].append(row)
        if row.get("status") != "failed":
            return
    own.end()


def _located(part: CheckPart, own: OwnProcess, limit_s: float) -> str:
    """Say where a run with wrong categories first differs from the reference, and how that can be seen again."""
    if part.section == "cpu":
        return "this is backend=numba: please report it"
    about = (
        {"instances": part.n_compared} | (part.about or {}) | ({"residency": "stream"} if part.section == "streaming" else {})
    )
    try:
        found = own.run(difference.find_of, about, limit_s=limit_s)
    except Exception as error:
        return f"where cannot be found out: {in_words(error)}"
    if found["same"]:
        return f"the first {found['instances']:,} instances do not show where; see: {difference.command(found)}"
    return difference.said(found)


def _minutes(seconds: float) -> str:
    return f"{max(round(seconds / 60), 1)} minutes" if seconds >= 90 else "a minute"


def failures(figures: dict[str, Any]) -> list[str]:
    """Say what has not gone as it must; what does not fit into memory, or cannot be had here, is no failure."""
    found = [f"{section}: {error}" for section, error in figures["errors"].items()]
    conformance = figures["conformance"]
    if conformance is not None and conformance["failed"]:
        found.append(f"{conformance['failed']} conformance tests failed")
    elif conformance is not None and not conformance["passed"]:
        found.append("no conformance test ran on the GPU")
    found += [f"kernel {row['kernel']}: {row['error']}" for row in figures["attributes"] or [] if "error" in row]
    for section in LISTS:
        for row in figures[section]:
            name = " ".join(f"{key}={row[key]}" for key in NAMING if key in row)
            if row["status"] == "wrong":
                found.append(f"{section}: {name}: the {WRONG.get(section, 'categories')} are wrong; {row['difference']}")
            elif row["status"] == "failed":
                found.append(f"{section}: {name}: {row['error']}")
    return found


NAMING = ("neurons", "layers", "columns", "kernel", "scheduler")
WRONG = {"bits": "activations"}
