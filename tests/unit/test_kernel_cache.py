"""Compiled kernels on disk: never stale, and no reason to fail.

Takes more than 10 s: what is cached is seen by processes that start anew.
"""

from __future__ import annotations

import ast
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numba.core.config
import pytest

from backends.common import jit, kernel_cache
from tests.conftest import JIT_DISABLED

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")

KERNEL = """
from backends.common.jit import kernel
from backends.added.helper import plus


@kernel
def run(x):
    return plus(x)
"""
HELPER = "from backends.common.jit import inline\n\n\n@inline\ndef plus(x):\n    return x + {}\n"
PROGRAM = "from backends.added.kernels import run; print(run(1), sum(run.stats.cache_hits.values()))"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the backends that has a kernel more, whose helper is in another file."""
    added = tmp_path / "package" / "backends" / "added"
    shutil.copytree(ROOT / "backends", added.parent, ignore=shutil.ignore_patterns("__pycache__"))
    added.mkdir()
    (added / "__init__.py").touch()
    (added / "kernels.py").write_text(KERNEL)
    (added / "helper.py").write_text(HELPER.format(1))
    return added


def edit(helper: Path) -> None:
    """Change a file a minute after it was written, for Python itself tells its changes by seconds."""
    written = helper.stat().st_mtime
    helper.write_text(HELPER.format(2))
    os.utime(helper, (written + 60, written + 60))


def start(package: Path, **environment: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=package, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**inherited, "PYTHONPATH": str(package.parents[1]), **environment},
    )  # fmt: skip


def ran(process: subprocess.Popen[str]) -> tuple[int, int, str]:
    """Return the kernel's result, how often it came from the cache, and what was said."""
    out, said = process.communicate()
    assert process.returncode == 0, said
    result, hits = map(int, out.split())
    return result, hits, said


@pytest.mark.parametrize(
    ("place", "is_kept"),
    [
        pytest.param({"NUMBA_CACHE_DIR": "{}/chosen"}, True, id="chosen by the user"),
        pytest.param({"XDG_CACHE_HOME": "{}/home"}, True, id="in the cache folder"),
        pytest.param({"HOME": "{}/file"}, False, id="a home that cannot be written"),
    ],
)
def test_an_edited_helper_is_compiled_anew_wherever_kernels_are_cached(
    package: Path, tmp_path: Path, place: dict[str, str], is_kept: bool
) -> None:
    (tmp_path / "file").touch()
    environment = {name: value.format(tmp_path) for name, value in place.items()}
    (value,) = environment.values()
    result, hits, said = ran(start(package, **environment))
    assert (result, hits) == (2, 0)
    assert (said == "") == is_kept
    if is_kept:
        assert ran(start(package, **environment)) == (2, 1, "")
    else:
        assert said.count("\n") == 1
        assert f"{value}/" in said
        assert "set NUMBA_CACHE_DIR" in said
    edit(package / "helper.py")
    assert ran(start(package, **environment))[:2] == (3, 0)
    assert not list(package.parent.rglob("*.nb?"))  # neither beside the sources


def test_processes_that_fill_the_cache_at_once_all_find_the_same(package: Path, tmp_path: Path) -> None:
    processes = [start(package, NUMBA_CACHE_DIR=str(tmp_path / "cache")) for _ in range(4)]
    assert [ran(process)[::2] for process in processes] == [(2, "")] * 4
    (path,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert path.suffix == ".nbc"


def compiling_modules() -> list[Path]:
    """The modules of this project that have compiled functions."""
    own = [path for name in ("backends", "experiments", "sparsednn") for path in sorted((ROOT / name).rglob("*.py"))]
    return [path for path in own if {"jit", "numba", "extending"} & {name.split(".")[-1] for name in imported(path)}]


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_the_cache_is_named_by_all_that_is_compiled_into_a_kernel() -> None:
    modules = compiling_modules()
    names = {path.relative_to(ROOT).as_posix() for path in modules}
    assert names >= {
        "backends/common/jit.py",
        "backends/numba_cpu/dense/kernels/blocks.py",
        "experiments/roofline/kernels/machine.py",
    }
    ours: set[str] = set()
    for module in modules:
        hashed, seen, waiting = set(kernel_cache.sources_of(module).values()), {module}, [module]
        while waiting:  # what it imports may be compiled with it
            importing = waiting.pop()
            for name in imported(importing):
                path = ROOT / f"{name.replace('.', '/')}.py"
                compiles = importing.parent.name == "kernels" or not name.startswith("sparsednn.")
                if path.exists() and path not in seen and compiles:
                    seen.add(path)
                    waiting.append(path)
        assert seen <= hashed, module
        if module.parent.name == "kernels":
            ours |= {path.relative_to(ROOT).as_posix() for path in seen if path.is_relative_to(ROOT / "sparsednn")}
    assert ours == {"sparsednn/backend/shared_memory.py"}


def test_nothing_is_compiled_beside_that_cache() -> None:
    compiling = [path for path in compiling_modules() if "njit" in path.read_text() or "cache=True" in path.read_text()]
    assert compiling == [ROOT / "backends" / "common" / "jit.py"]
    assert "cache=True" not in compiling[0].read_text()


def test_what_is_compiled_lies_in_folders_named_kernels() -> None:
    """Contracts, lint and types tell kernels from other code by that."""
    decorated = re.compile(r"^@(kernel|inline)$", re.MULTILINE)
    paths = [path for name in ("backends", "experiments") for path in (ROOT / name).rglob("*.py")]
    compiled = [path for path in paths if decorated.search(path.read_text(encoding="utf-8"))]
    assert len(compiled) > 10
    assert {path.parent.name for path in compiled} == {"kernels"}


def doubled(x: int) -> int:
    return 2 * x


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own, in a process that has not warned yet."""
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_cache, "_said", [])
    return tmp_path / "cache"


def hits(function: Callable[[int], int] = doubled) -> int:
    """Compile a function that returns 42 for 21, or take it from the cache: how often it was there."""
    compiled: Any = jit.kernel(function)
    assert compiled(21) == 42
    return sum(compiled.stats.cache_hits.values())


def kept(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda raw: b"", id="empty"),
        pytest.param(lambda raw: raw[: len(raw) // 2], id="cut off"),
        pytest.param(lambda raw: bytes(len(raw)), id="zeros, as after a power failure"),
        pytest.param(lambda raw: raw[:-100] + bytes([raw[-100] ^ 1]) + raw[-99:], id="one bit changed"),
        pytest.param(lambda raw: b"something else", id="another file"),
    ],
)
def test_a_damaged_kernel_is_told_once_and_made_anew(
    cache: Path, spoil: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    assert (hits(), hits()) == (0, 1)
    (path,) = kept(cache)
    path.write_bytes(spoil(path.read_bytes()))
    assert (hits(), hits()) == (0, 1)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()
    assert f"delete {path.parent}" in record.getMessage()


def test_a_folder_in_the_place_of_a_kernel_is_told_once(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    hits()
    (path,) = kept(cache)
    path.unlink()
    path.mkdir()
    assert (hits(), hits()) == (0, 0)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{path.parent}: compiled kernels cannot be kept (Is a directory)")
    assert "delete that folder" in record.getMessage()
    assert kept(cache) == []


@pytest.mark.parametrize("name", ["file/below", "x" * 300])
def test_a_cache_that_cannot_be_written_is_told_once(
    tmp_path: Path, cache: Path, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path / name))
    assert (hits(), hits()) == (0, 0)
    assert [f"{tmp_path / name}/" in record.getMessage() for record in caplog.records] == [True]


def test_a_full_disk_is_told_once_and_nothing_half_written_stays(
    cache: Path, full_disk: Callable[[], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> None:
    with full_disk():
        assert (hits(), hits()) == (0, 0)
    (record,) = caplog.records
    assert "cannot be kept (File too large)" in record.getMessage()
    assert "set NUMBA_CACHE_DIR to a folder that can be written" in record.getMessage()
    assert kept(cache) == []
    assert (hits(), hits()) == (0, 1)


def test_settings_that_change_the_code_are_told_apart(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hits() == 0
    monkeypatch.setattr(numba.core.config, "BOUNDSCHECK", 1)
    assert hits() == 0
    assert len(kept(cache)) == 2


def test_values_that_a_kernel_closes_over_are_told_apart(cache: Path) -> None:
    def adding(n: int) -> Callable[[int], int]:
        return lambda x: x + n

    assert hits(adding(21)) == 0
    compiled: Any = jit.kernel(adding(1))
    assert compiled(21) == 22


def test_sources_that_were_edited_while_it_ran_are_not_cached(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jit.kernel(doubled)
    monkeypatch.setattr(kernel_cache, "_digest", lambda file: "edited")
    assert hits() == 0
    assert kept(cache) == []


def test_what_a_killed_process_has_left_is_removed(cache: Path) -> None:
    hits()
    (path,) = kept(cache)
    abandoned, live = path.with_suffix(".1.tmp"), path.with_suffix(".2.tmp")
    abandoned.touch()
    live.touch()
    os.utime(abandoned, (0, 0))
    path.unlink()
    hits()
    assert set(kept(cache)) == {path, live}
