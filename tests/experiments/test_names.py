"""Modules of the user with the names of ours, links to run.py, and what a notebook leaves in the environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiments.toys import ROOT, record

MINE = "raise SystemExit('this is the module of the user')\n"
INFER = "import sparsednn\nn = sparsednn.radixnet(1024, 6)\nr = sparsednn.infer(n, sparsednn.challenge_inputs(1024, 20))\n"
SMALL = ["instances=50", "layers=6", "threads=1"]


def python(here: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=here, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )  # fmt: skip


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return a folder with modules of the user that have the names of ours."""
    (tmp_path / "backends.py").write_text(MINE)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text(MINE)
    return tmp_path


def test_a_script_beside_a_module_backends_finds_the_kernels(here: Path) -> None:
    (here / "script.py").write_text(INFER + "print(r.record['backend'])\n")
    done = python(here, "script.py")
    assert (done.stdout, done.stderr) == ("numba\n", "")
    exported = python(here, "-m", "sparsednn.data", "export", "--layers", "6", "--instances", "20", "data")
    assert exported.returncode == 0, exported.stderr


@pytest.mark.parametrize("path", ["backends.py", "backends/__init__.py"], ids=["module", "package"])
def test_a_module_that_is_imported_already_is_named_with_ours(path: str, tmp_path: Path) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text("")
    (tmp_path / "script.py").write_text(f"import backends\n{INFER}")
    done = python(tmp_path, "script.py")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"imported already ({tmp_path / path}) has the name of a package of sparsednn ({ROOT}/backends/__init__.py)" in last
    assert last.endswith("; rename it")


@pytest.mark.parametrize("path", ["", "."], ids=["current folder", "PYTHONPATH"])
def test_processes_start_beside_modules_of_the_user(path: str, here: Path) -> None:
    done = python(here, str(ROOT / "run.py"), "processes=2", *SMALL, f"hydra.run.dir={here}/out", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert record(here / "out")["processes"] == 2


def test_a_link_to_run_py_finds_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "link.py").symlink_to(ROOT / "run.py")
    (tmp_path / "second.py").symlink_to("link.py")
    done = python(tmp_path, "second.py", *SMALL, f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "out")["status"] == "complete"


@pytest.mark.parametrize("backend", ["module://not_installed.backend_inline", "no_such_backend", "qtagg"])
def test_the_windows_of_a_notebook_do_not_concern_figures(backend: str, tmp_path: Path) -> None:
    code = "import experiments.figures.base.gantt, experiments.figures.base.style, os; print(os.environ.get('MPLBACKEND'))"
    done = python(ROOT, "-c", code, MPLBACKEND=backend)
    assert done.stdout == ("qtagg\n" if backend == "qtagg" else "None\n"), "what can be used is left to the user"
    if backend.startswith("module"):
        done = python(ROOT, "run.py", *SMALL, "trace=true", f"hydra.run.dir={tmp_path}", MPLBACKEND=backend)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "gantt.png").exists()
