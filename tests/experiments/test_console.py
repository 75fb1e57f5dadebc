"""A console does nothing to a program, but that the exit status tells.

Takes more than 10 s: some programs start anew, as users start them; the others fork (see `tests.warm`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparsednn.system.console import Enduring
from tests import warm
from tests.experiments.made_up import made_up, write_all
from tests.experiments.toys import ROOT
from tests.warm import FULL, GONE

RUN = [sys.executable, str(ROOT / "run.py")]
SMALL = ["instances=50", "layers=6"]
NO_SPACE = "error: standard output cannot be written: No space left on device; all else was done\n"


def started(command: list[str], out: str, err: str = "") -> tuple[int, str]:
    """Run a program with its output there; return its exit status and what it said on standard error."""
    done = warm.run(command, out=out, err=err)
    return done.returncode, done.stderr


def started_anew(command: list[str], out: str) -> tuple[int, str]:
    """The same in a Python of its own."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") if out == GONE else Path(out).open("w") as stdout:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=stdout, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(("layers", "status"), [("6,12", 0), ("6,7", 1)], ids=["all go well", "one fails"])
def test_a_sweep_goes_on_when_its_reader_has_gone(layers: str, status: int, tmp_path: Path) -> None:
    command = [*RUN, "-m", "instances=50", f"layers={layers}", f"hydra.sweep.dir={tmp_path}"]
    found, said = (started if status else started_anew)(command, GONE)
    assert found == status
    assert said.count("error: ") == 2 * status, "the point, and the sweep"
    assert len(list(tmp_path.glob("*/result.json"))) == 2
    assert not list(tmp_path.glob("*/running.json"))


def test_a_sweep_on_a_full_disks_console_is_done_and_then_fails(tmp_path: Path) -> None:
    found, said = started_anew([*RUN, "-m", "instances=50", "layers=6,12", f"hydra.sweep.dir={tmp_path}"], FULL)
    assert (found, said) == (1, NO_SPACE)
    assert len(list(tmp_path.glob("*/result.json"))) == 2


def test_errors_that_nobody_reads_end_nothing(tmp_path: Path) -> None:
    command = [*RUN, "-m", "instances=50", "layers=7,6", f"hydra.sweep.dir={tmp_path}"]
    assert started(command, GONE, GONE)[0] == 1, "a point has failed"
    assert len(list(tmp_path.glob("*/result.json"))) == 2
    alone = [*RUN, *SMALL, f"hydra.run.dir={tmp_path}/alone"]
    assert started(alone, FULL, FULL)[0] == 1
    assert (tmp_path / "alone" / "result.json").exists()


def test_a_folder_that_the_console_cannot_spell_ends_nothing(tmp_path: Path) -> None:
    """With processes too, whose words come through a pipe."""
    here = tmp_path / "é…"
    here.mkdir()
    for number in (1, 2):
        command = [*RUN, *SMALL, "threads=1", f"processes={number}"]
        done = subprocess.run(
            command, cwd=here, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert r"\xe9\u2026/outputs/" in done.stdout
    assert len(list(here.rglob("result.json"))) == 2


def test_processes_of_a_point_go_on_when_its_reader_has_gone(tmp_path: Path) -> None:
    command = [*RUN, "-m", *SMALL, "processes=2", "threads=1", "repeats=1,2", f"hydra.sweep.dir={tmp_path}"]
    assert started(command, GONE) == (0, "")
    assert len(list(tmp_path.glob("*/result.json"))) == 2


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]], ids=["help", "configuration"])
def test_what_only_shows_something_says_that_it_could_not(arguments: list[str]) -> None:
    assert started([*RUN, *arguments], FULL) == (1, NO_SPACE)
    assert started([*RUN, *arguments], GONE) == (0, "")


def test_other_programs_write_their_files_all_the_same(tmp_path: Path) -> None:
    records = write_all(
        tmp_path / "records", [made_up("layers", f"layers={n}", figure="linear_cost", layers=n) for n in (6, 12)]
    )
    programs = {
        "linear_cost.png": ["experiments.figures", "linear_cost", str(records), "--into", str(tmp_path)],
        "all.csv": ["experiments.records", str(records), "--csv", str(tmp_path / "all.csv")],
        "data/neuron1024-l6-categories.tsv": [
            "sparsednn.data", "export", "--layers", "6", "--instances", "20", str(tmp_path / "data")
        ],
    }  # fmt: skip
    for file, (program, *arguments) in programs.items():
        for stdout, status in ((GONE, 0), (FULL, 1)):
            found, said = started([sys.executable, "-m", program, *arguments], stdout)
            assert found == status, said
            assert (NO_SPACE in said) == bool(status)
            assert "Traceback" not in said
            (tmp_path / file).unlink()


def test_every_program_outlives_its_console() -> None:
    for path in [ROOT / "run.py", *(ROOT / "experiments").rglob("*.py"), *(ROOT / "sparsednn").rglob("*.py")]:
        _, _, program = path.read_text(encoding="utf-8").partition('if __name__ == "__main__":')
        if path.name in ("start_rank.py", "mpi_worker.py", "burner.py", "stopper.py"):
            continue  # the status of a rank is about the point alone; burners and stoppers say nothing
        assert not program or "run_program(" in program, path


def test_a_terminal_that_has_hung_up_is_a_reader_that_has_gone() -> None:
    leader, follower = os.openpty()
    with os.fdopen(follower, "w", encoding="utf-8") as stream:
        enduring = Enduring(stream)
        os.close(leader)
        enduring.write("said to nobody\n")
        enduring.flush()
        assert enduring.error is None
        assert os.fstat(follower).st_rdev == Path(os.devnull).stat().st_rdev
