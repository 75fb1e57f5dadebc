"""Stragglers on purpose: they take what the record says, cost what the figure says, and end with the run, however it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from time import monotonic, perf_counter, sleep
from typing import Any

import pandas as pd
import psutil
import pytest
from hydra import initialize_config_dir
from rich.console import Console

from experiments import figures
from experiments.config.composer import Composer
from experiments.config.resolve import Config, ConfigError, register, resolve
from experiments.records.display import Display
from experiments.run.disturbance import PERIOD_S, Disturber
from experiments.sweeps.direct_peers import is_installed
from sparsednn.comm import LocalCommunicator
from sparsednn.engine import default_threads
from tests.experiments.made_up import environment_on, measured, point_of_experiment, whole, write_all
from tests.experiments.toys import CONF, planned, python, record

TWO_CORES = pytest.mark.skipif(default_threads() < 2, reason="stragglers need two cores")
PROGRAMS = Path(figures.__file__).parents[1] / "run" / "disturbance"


def configured(*overrides: str) -> Config:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolve(Composer().compose(overrides))


@TWO_CORES
def test_a_burner_takes_the_share_that_is_recorded() -> None:
    """The system's own count of the program's time, in hundredths of a second, is the oracle: for less, and for more time."""
    disturber = Disturber(configured("cluster.pin=true", "cluster.disturb.burner_nice=3"), LocalCommunicator())
    outside = perf_counter()
    with disturber.around():
        [burner] = _programs(psutil.Process(), "burner.py")
        assert (burner.cpu_affinity(), burner.nice()) == ([min(os.sched_getaffinity(0))], min(os.nice(0) + 3, 19))
        before, began = sum(burner.cpu_times()[:2]), perf_counter()
        sleep(0.4)
        wall = perf_counter() - began
        after, seen = sum(burner.cpu_times()[:2]), perf_counter()
    ended = perf_counter()
    assert not _runs(burner)
    said = io.StringIO()
    found = disturber.record(Display(Console(file=said, width=120)))
    assert said.getvalue() == f"note: another program, at nice 3, took {100 * found.shares[0]:.0f} % of core {found.core}\n"
    assert (found.kind, found.process, found.nice) == ("burner", 0, 3)
    assert found.core == min(os.sched_getaffinity(0))
    assert found.shares == [found.share_median]
    assert 0 < after - before <= found.shares[0] * (ended - outside) + 0.02
    assert found.shares[0] * wall <= after + ended - seen + 0.02


STOPPED = """
import os, subprocess, sys
from time import perf_counter
command = [sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), sys.argv[2], sys.argv[3]]
before, gaps = perf_counter(), []
stopper = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
stopper.stdout.readline()
end = perf_counter() + 0.5
while before < end:
    now = perf_counter()
    if now - before > 0.001:
        gaps.append(now - before)
    before = now
stopper.terminate()
told = float(stopper.stdout.readline())
print(sum(gaps) + perf_counter() - before, len(gaps), told, stopper.wait())
"""


def test_a_process_is_stopped_for_as_long_as_is_told() -> None:
    """It sees holes in its own time, which are about as long, or longer: other programs make some, too."""
    command = [sys.executable, "-c", STOPPED, str(PROGRAMS / "stopper.py"), "0.6", str(PERIOD_S)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    seen_s, n_seen, told_s, status = (float(word) for word in done.stdout.split())
    assert status == 0
    assert 0.1 < told_s <= 1.25 * seen_s, "a signal comes late where cores are busy, and holes below a millisecond do not count"
    assert n_seen >= 5, "in short pieces, of which several look like one where other programs run in between"


def _programs(process: psutil.Process, name: str) -> list[psutil.Process]:
    return [one for one in process.children(recursive=True) if any(word.endswith(name) for word in one.cmdline())]


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)  # which nobody has asked about
    except psutil.NoSuchProcess:
        return False


def _until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = monotonic() + seconds
    while not (found := condition()):
        assert monotonic() < end, "too long"
        sleep(0.01)
    return found


@TWO_CORES
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_burner_does_not_outlive_a_run_that_is_ended(number: signal.Signals, tmp_path: Path) -> None:
    job = ["backend=scipy_reference", "instances=4000", "threads=2", "cluster.pin=true", "cluster.disturb.burner_nice=10"]
    command = [sys.executable, "run.py", *job, f"hydra.run.dir={tmp_path}"]
    with subprocess.Popen(command, cwd=CONF.parent, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        [burner] = _until(lambda: _programs(psutil.Process(run.pid), "burner.py"))
        run.send_signal(number)
        _until(lambda: not _runs(burner), 10)
        said = run.communicate(timeout=60)[1]
    assert run.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in said


def test_a_stopper_does_not_outlive_its_parent_and_leaves_it_running_when_ended() -> None:
    code = "import subprocess, sys, os, time\n" + textwrap.dedent(
        f"""
        path = {str(PROGRAMS / "stopper.py")!r}
        subprocess.Popen([sys.executable, "-I", "-S", path, str(os.getpid()), "0.9", "{PERIOD_S}"])
        time.sleep(60)
        """
    )
    for last in (signal.SIGKILL, signal.SIGTERM):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as parent:
            [stopper] = _until(lambda parent=parent: _programs(psutil.Process(parent.pid), "stopper.py"))
            _until(lambda parent=parent: psutil.Process(parent.pid).status() == psutil.STATUS_STOPPED)
            (parent if last == signal.SIGKILL else stopper).send_signal(last)
            _until(lambda stopper=stopper: not _runs(stopper), 10)
            if last == signal.SIGTERM:
                assert psutil.Process(parent.pid).status() != psutil.STATUS_STOPPED
            parent.kill()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            ["cluster.disturb.burner_nice=0"], "workers that are not pinned .*; add cluster.pin=true", id="not pinned"
        ),
        pytest.param(["cluster.disturb.burner_nice=20"], "must be from 0 to 19", id="no nice value"),
        pytest.param(
            ["cluster.disturb.burner_nice=0", "executor=simulated"],
            "not with executor=simulated.*cluster.slow_core",
            id="virtual",
        ),
        pytest.param(
            ["cluster.disturb.burner_nice=0", "cluster.pin=true", "processes=2", "cluster.disturb.stopped_share=0.5"],
            "one disturbance at a time",
            id="both",
        ),
        pytest.param(["cluster.disturb.stopped_share=0.5"], "one of several processes, .*; add processes=2", id="1 process"),
        pytest.param(["cluster.disturb.stopped_share=1"], "must be from 0.01 to 0.95", id="for ever"),
    ],
)
def test_what_cannot_be_disturbed_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^cluster\.disturb\.\w+=.*{message}"):
        configured(*overrides)


ON_ONE_CORE = """
import os, runpy, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
sys.argv = ["run.py", *sys.argv[1:]]
runpy.run_path("run.py", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        pytest.param(["experiment=stragglers"], 1, "error: experiment=stragglers: needs 2 cores, and this process may use 1",
                     id="the experiment"),
        pytest.param(["cluster.pin=true", "cluster.disturb.burner_nice=0"], 1,
                     "error: cluster.disturb.burner_nice=0: needs two cores", id="a run"),
        pytest.param(["experiment=smoke", "experiment.members=[stragglers]"], 0,
                     "left out: stragglers: needs 2 cores, and this process may use 1", id="all experiments"),
    ],
)  # fmt: skip
def test_one_core_is_too_few(arguments: list[str], status: int, message: str, tmp_path: Path) -> None:
    done = python("-c", ON_ONE_CORE, *arguments, f"hydra.run.dir={tmp_path}")
    assert (done.returncode, (done.stdout + done.stderr).count("error:")) == (status, status)
    assert message in " ".join((done.stdout + done.stderr).split())


@TWO_CORES
def test_points_are_disturbed_as_they_say_and_find_the_same(toys: Callable[[str], Path]) -> None:
    folder, points = toys("stragglers"), planned("stragglers")
    drawn = pd.read_csv(folder / "stragglers.csv")
    records = [record(folder / str(number)) for number in range(len(points))]
    for point, found, (_, row) in zip(points, records, drawn.iterrows(), strict=True):
        disturbance = found.get("disturbance")
        assert (disturbance is not None) == any("disturb." in text and "=null" not in text for text in point.overrides)
        if disturbance is not None:
            assert len(disturbance["shares"]) == 1
            assert 0 <= disturbance["shares"][0] <= 1.05
            assert row["share"] == disturbance["share_median"]
        base = next((one for one in records if _undisturbed_twin(one, found)), None)
        if pd.notna(row["straggler"]):
            assert base is not None
            ratio = found["seconds"]["inference_median"] / base["seconds"]["inference_median"]
            assert row["loss"] == pytest.approx(ratio)
    assert len({found["categories_sha256"] for found in records}) == 1
    expected = {"burner at nice 0", "alive rows first"}
    assert set(drawn["straggler"].dropna()) == expected | ({"stopped for 50 % (SIGSTOP)"} if is_installed("mpi4py") else set())


def _undisturbed_twin(one: dict[str, Any], found: dict[str, Any]) -> bool:
    alike = all(one["config"][key] == found["config"][key] for key in ("kernel", "optimize", "scheduler", "processes"))
    undisturbed = "disturbance" not in one and one["row_order"] == "given"
    return alike and undisturbed and one["experiment"]["sweep"] == found["experiment"]["sweep"]


def test_losses_are_ratios_of_the_same_round(tmp_path: Path) -> None:
    """Undisturbed 1, 2 and 4 s; with a burner that takes half of one of two cores 2, 3 and 4 s."""
    records = []
    for undisturbed, slowed in ((1.0, 2.0), (2.0, 3.0), (4.0, 4.0)):
        for seconds, disturbance in ((undisturbed, None), (slowed, 0.5)):
            label = f"burner {disturbance}"
            body = measured(threads=2)
            body.seconds.inference, body.seconds.inference_median = [seconds], seconds
            about = point_of_experiment(name="stragglers", figure="stragglers", sweep="burner", point=label)
            made = whole(body=body, experiment=about, environment=environment_on())
            if disturbance is not None:
                made["disturbance"] = {
                    "kind": "burner", "process": 0, "core": 0, "nice": 0, "shares": [disturbance], "share_median": disturbance,
                }  # fmt: skip
            records.append(made)
    figures.redraw("stragglers", [write_all(tmp_path, records)], tmp_path)
    drawn = pd.read_csv(tmp_path / "stragglers.csv").set_index("point")
    row = drawn.loc["burner 0.5"]
    assert (row["loss"], row["loss_min"], row["loss_max"], row["rounds"]) == (1.5, 1.0, 2.0, 3)
    assert row["loss_at_best"] == pytest.approx(2 / 1.5)
    assert row["share"] == 0.5
    assert pd.isna(drawn.loc["burner None", "loss"])
    kept = json.loads((tmp_path / "stragglers.sources.json").read_text())
    assert [one["record"]["disturbance"]["shares"] for one in kept if "disturbance" in one["record"]] == [[0.5]] * 3
