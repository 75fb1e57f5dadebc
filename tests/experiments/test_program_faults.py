"""A fault of the program keeps its traceback, on the console and in the record, and has an exit status of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import sparsednn
from sparsednn import errors
from sparsednn.errors import MemoryShortageError, OptionError, SparseDnnError, StorageError, mendable
from tests import warm
from tests.experiments.toys import ROOT

SMALL = ["backend=scipy_reference", "instances=20"]
BROKEN = """
import sys
import experiments.run.measure as measure
import run
from experiments.config.resolve import register
from sparsednn.system.console import run_program

def infer(*arguments, **options):
    {fault}

measure.PreparedNetwork.infer = infer
register()
sys.exit(run_program(lambda: run.SESSION.main(run.point, sys.argv[1:])))
"""


def run_broken(fault: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run what run.py does, with an inference that is broken."""
    return warm.run([sys.executable, "-c", BROKEN.format(fault=fault), *arguments])


def test_a_fault_of_the_program_is_a_traceback_and_status_70(tmp_path: Path) -> None:
    """An error that Python raises is none that a user can mend, even if it is a TypeError."""
    done = run_broken("return 1 + 'x'", *SMALL, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 70
    assert "Traceback" in done.stdout
    assert "this is a fault of sparsednn, not of what it was given" in " ".join(done.stdout.split())
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["status"] == "failed"
    assert record["error"].startswith("TypeError: unsupported operand")
    assert "in infer" in record["traceback"]


def test_what_a_user_can_mend_is_one_line_and_status_1(tmp_path: Path) -> None:
    fault = "from sparsednn.errors import OptionError; raise OptionError('rows=x: no')"
    done = run_broken(fault, *SMALL, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["error"] == "optimize.rows=x: no", "in the words of run.py"
    assert "traceback" not in record


def test_one_fault_in_a_sweep_or_an_experiment_is_the_status_of_all(tmp_path: Path) -> None:
    done = run_broken("return 1 + 'x'", "-m", *SMALL, "seed=1,2", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert done.returncode == 70
    done = run_broken(
        "return 1 + 'x'", "experiment=ablation", "experiment.toy=true", *SMALL[1:], f"hydra.run.dir={tmp_path / 'experiment'}"
    )
    assert done.returncode == 70


def test_a_fault_outside_of_any_point_is_a_traceback_too() -> None:
    code = "import sys; from sparsednn.system.console import run_program; sys.exit(run_program(lambda: {}['no']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 70
    assert done.stderr.rstrip().endswith("please report it to the project")
    assert "KeyError: 'no'" in done.stderr


def test_all_errors_are_of_one_family_and_of_the_built_in_kind() -> None:
    family = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, SparseDnnError)]
    kinds = {base for one in family for base in one.__mro__ if base.__module__ == "builtins"}
    assert {
        ValueError,
        TypeError,
        FileNotFoundError,
        OSError,
        MemoryError,
        ImportError,
        FloatingPointError,
        RuntimeError,
    } <= kinds
    with pytest.raises(OptionError):
        sparsednn.clipped_relu(-1)


def test_what_the_system_refuses_can_be_mended(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere") as caught:
        (tmp_path / "nowhere" / "file").write_text("")
    found = mendable(caught.value)
    assert isinstance(found, StorageError)
    assert str(found) == f"{tmp_path / 'nowhere' / 'file'}: No such file or directory"
    assert isinstance(mendable(MemoryError()), MemoryShortageError)
    assert mendable(ValueError("invalid literal")) is None
    assert mendable(OSError("no file at all")) is None
