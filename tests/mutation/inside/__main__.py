"""Runs tests in a checkout, by its Python: all of them to record their lines, or chosen ones with a mutant in forked processes.

Started by `tests.mutation`, in the checkout's folder. What has been imported once, without the library, is there in every fork.
Reads one job a line, and answers each with a line.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import resource
import select
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WARM = (
    "numpy", "scipy.sparse", "numba.core.types", "pandas", "hydra", "omegaconf", "jinja2", "rich.console", "psutil",
    "platformdirs", "plotly.graph_objects", "matplotlib.figure", "hypothesis", "pytest",
)  # fmt: skip
PYTEST = ["-o", "addopts=", "-m", "not slow", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
MEMORY_BYTES = 16 << 30
"""A mutant that takes more address space fails."""

COLLECTION_S = 60.0
REAPING_S = 10.0
PR_SET_CHILD_SUBREAPER = 36


def record(folder: str, *files_and_tests: str) -> int:
    """Run tests, and record their lines in the files that come before ``--``."""
    at = files_and_tests.index("--")
    import pytest
    from recorder import Recorder

    os.environ["SPARSEDNN_CACHE"] = str(Path(folder) / "cache")
    recorder = Recorder(Path(folder), list(files_and_tests[:at]))
    return pytest.main([*PYTEST, f"--basetemp={folder}/tmp", *files_and_tests[at + 1 :]], plugins=[recorder])


def serve() -> None:
    """Answer jobs until there are no more."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what a test leaves behind is ended with it
    for name in WARM:
        with suppress(ImportError):
            importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Run the tests of a job in a fork; return what became of it, with the test at which it ended."""
    out, into = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(out)
        try:
            code = run(job, into)
        except BaseException as error:
            print(repr(error), flush=True)
            code = 70
        os._exit(code)
    os.close(into)
    try:
        return {**follow(job, out, child), "seconds": round(time.monotonic() - started, 2)}
    finally:
        os.close(out)
        shutil.rmtree(job["folder"], ignore_errors=True)


def follow(job: dict[str, Any], out: int, child: int) -> dict[str, Any]:
    """Read what a fork says until it ends, or a test takes too long."""
    test, failed, n_started, text = None, None, 0, b""
    deadline = time.monotonic() + COLLECTION_S
    while failed is None:
        ready, _, _ = select.select([out], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            end(child)
            return {"outcome": "timeout", "test": test, "ran": n_started}
        received = os.read(out, 1 << 16)
        if not received:
            break
        *lines, text = (text + received).split(b"\n")
        for about in map(json.loads, lines):
            failed = failed or about.get("failed")
            if "started" in about:
                test, n_started = about["started"], n_started + 1
                deadline = time.monotonic() + job["limits"].get(test, COLLECTION_S)
    if failed is not None:
        end(child)
        return {"outcome": "failed", "test": failed, "ran": n_started}
    status = end(child, wait_s=5)
    if status == 0 or (status == 5 and n_started == 0):
        return {"outcome": "passed", "test": None, "ran": n_started}
    return {"outcome": "crashed", "test": test, "ran": n_started, "status": status}


def end(child: int, wait_s: float = 0) -> int | None:
    """End a fork and all that it has started; return its exit status, if it ended by itself in time."""
    import psutil

    status, deadline = None, time.monotonic() + wait_s
    while status is None:
        pid, code = os.waitpid(child, os.WNOHANG)
        if pid:
            status = os.waitstatus_to_exitcode(code)
        elif time.monotonic() > deadline:
            break
        else:
            time.sleep(0.01)
    ours, deadline = psutil.Process(), time.monotonic() + REAPING_S
    while (left := ours.children(recursive=True)) and time.monotonic() < deadline:
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.005)
    return status


def run(job: dict[str, Any], pipe: int) -> int:
    """Run pytest in this process, with the job's mutant."""
    folder = Path(job["folder"])
    folder.mkdir(parents=True)
    os.setsid()
    with open(job["log"], "ab") as log:  # noqa: PTH123
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if Path(job["cache"]).exists():
        shutil.copytree(job["cache"], folder / "cache")
    (folder / "temporary").mkdir()
    os.environ |= {"SPARSEDNN_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "temporary")}
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    import pytest
    import sitecustomize as hook
    from selection import Selection

    if job["mutant"] is not None:
        os.environ[hook.MUTANT] = os.pathsep.join(job["mutant"])
        hook.mutate(*job["mutant"])
    files = list(dict.fromkeys(nodeid.partition("::")[0] for nodeid in job["tests"]))
    return pytest.main([*PYTEST, "-x", f"--basetemp={folder}/tmp", *files], plugins=[Selection(job["tests"], pipe)])


if __name__ == "__main__":
    sys.path[0] = os.getcwd()  # noqa: PTH109
    sys.path.append(str(HERE))
    sys.modules.pop("sitecustomize", None)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    if sys.argv[1] == "record":
        sys.exit(record(*sys.argv[2:]))
    serve()
