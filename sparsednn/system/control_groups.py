"""Reads the limits of this process's control groups on memory and core time (Linux, both versions, also in containers).

A process is bound by its own group and by all groups around it. Where the folders of these groups are depends on what is
mounted: a container may see its own group only, as the root of all.
"""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

import functools
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

PROC = Path("/proc/self")
LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")
"""Files with a group's limits. Above `memory.high` it is not ended, but slowed down so much that it gets nowhere."""

USED = ("memory.current", "memory.usage_in_bytes")
RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")
"""Fields of ``memory.stat`` that count as used, and are given back before a group has no memory left: copies of files and of
their metadata."""


class _Mount(NamedTuple):
    """A mounted hierarchy of groups: `root` is the group that is seen at the folder `point`."""

    root: PurePosixPath
    point: Path


def memory_left() -> int | None:
    """Return the bytes that this process may still take before one of its groups is at its limit; None without a limit."""
    return min((left for folder in _folders("memory") if (left := _memory_left(folder)) is not None), default=None)


def cpu_quota() -> float | None:
    """Return on how many cores' time, such as 1.5, the tightest of this process's groups may spend; None without a quota."""
    return min((quota for folder in _folders("cpu") if (quota := _cpu_quota(folder)) is not None), default=None)


def _memory_left(folder: Path) -> int | None:
    limits = [limit for name in LIMITS if (limit := _number(folder / name)) is not None]
    used = [n_bytes for name in USED if (n_bytes := _number(folder / name)) is not None]
    if not (limits and used):
        return None
    return max(min(limits) - max(used[0] - _reclaimable(folder), 0), 0)


def _reclaimable(folder: Path) -> int:
    """Bytes of a group, and of the groups in it: version 1 tells these apart, as "total_"."""
    counts = dict(line.split() for line in _text(folder / "memory.stat").splitlines() if len(line.split()) == 2)
    prefix = "total_" if "total_inactive_file" in counts else ""
    found = (counts.get(prefix + name, "") for name in RECLAIMABLE)
    return sum(int(count) for count in found if count.isdecimal())


def _cpu_quota(folder: Path) -> float | None:
    quota, period = [*_text(folder / "cpu.max").split(), "", ""][:2]
    if not quota:
        quota, period = (_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    if not (quota.isdecimal() and period.isdecimal()):  # "max" or -1: no quota
        return None
    return int(quota) / int(period) if int(quota) and int(period) else None


def _folders(controller: str) -> Iterator[Path]:
    """The folders of this process's groups, from its own up to the outermost that can be seen; both versions may be in use."""
    for line in _text(PROC / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon or not (controllers == "" or controller in controllers.split(",")):
            continue
        mounts = _mounts(_text(PROC / "mountinfo"), controller if controllers else None)
        if mounts:
            yield from _upwards(PurePosixPath(path), mounts)


def _upwards(path: PurePosixPath, mounts: tuple[_Mount, ...]) -> Iterator[Path]:
    """Folders of a group and of those around it, in the mount that shows most of these."""
    showing = [mount for mount in mounts if path.is_relative_to(mount.root) and ".." not in path.parts]
    if not showing:  # the group is outside of what is seen here: what is seen is the container's
        yield mounts[0].point
        return
    mount = min(showing, key=lambda one: len(one.root.parts))
    inner = path.relative_to(mount.root)
    yield from (mount.point / group for group in (inner, *inner.parents))


@functools.lru_cache(maxsize=4)
def _mounts(mountinfo: str, controller: str | None) -> tuple[_Mount, ...]:
    """Where the groups of a controller are mounted; None: those of version 2, which has one hierarchy for all controllers."""
    found = []
    for line in mountinfo.splitlines():
        mount, separator, source = line.partition(" - ")
        fields, of = mount.split(), source.split()
        if not separator or len(fields) < 5 or len(of) < 3:
            continue
        if of[0] == "cgroup2" if controller is None else of[0] == "cgroup" and controller in of[2].split(","):
            found.append(_Mount(PurePosixPath(_unescaped(fields[3])), Path(_unescaped(fields[4]))))
    return tuple(found)


def _unescaped(text: str) -> str:
    """Blanks are written as their octal number there."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    """Return the text of a file; nothing if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
