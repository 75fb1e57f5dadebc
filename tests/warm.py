"""Runs a program in a fork of a process that has imported what it needs: as a new Python would, less its first second.

Tests that are about how Python starts (its environment, names of modules, launchers, signals) start one; all others, which are
about what `run.py` and ``python -m experiments.records`` do, need not wait for NumPy, Numba and Hydra a hundred times.
"""

from __future__ import annotations

import atexit
import gc
import io
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
AT_START = ("PYTHON", "NUMBA", "MPL", "OMP", "OPENBLAS", "MKL", "LD_", "PMI", "OMPI", "SLURM", "HYDRA")
"""Variables that begin so are read by Python or a library as they start: a run with others of them gets a new Python."""

_server: subprocess.Popen[str] | None = None
_environment: dict[str, str] = {}


GONE, FULL = "gone", "/dev/full"
"""Outputs of a run: a pipe whose reader has gone, and a file on a full disk."""


def run(
    command: Sequence[str], cwd: Path = ROOT, env: Mapping[str, str] | None = None, *, out: str = "", err: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``[sys.executable, file, "-m" or "-c", ...]``, and return what `subprocess.run` returns.

    Output that is given to `GONE` or `FULL` is not returned.
    """
    environment = dict(os.environ if env is None else env)
    if environment.get("PYTHONPATH") == str(ROOT):
        del environment["PYTHONPATH"]  # which is where modules are found anyway
    if command[0] != sys.executable or _differs_at_start(environment):
        assert not out + err, "a new Python has its output returned"
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        paths = (given or f"/proc/{os.getpid()}/fd/{file.fileno()}" for given, file in ((out, stdout), (err, stderr)))
        outputs = dict(zip(("out", "err"), paths, strict=True))
        status = _ask({"command": list(command[1:]), "cwd": str(cwd), "env": environment, **outputs})
        texts = []
        for file in (stdout, stderr):
            file.seek(0)
            texts.append(file.read())
    return subprocess.CompletedProcess(list(command), status, *texts)


def _differs_at_start(environment: Mapping[str, str]) -> bool:
    """Whether a variable that counts at the start is another than when the server was started."""
    known = _environment if _server is not None else os.environ
    names = {name for name in (*environment, *known) if name.startswith(AT_START) and name != "PYTEST_CURRENT_TEST"}
    return any(environment.get(name) != known.get(name) for name in names)


def _ask(request: dict[str, Any]) -> int:
    """Have the server run a program; return its exit status, negative for a signal."""
    global _server
    if _server is None or _server.poll() is not None:
        _environment.clear()
        _environment.update(os.environ)
        _server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        atexit.register(_server.kill)
    assert _server.stdin is not None
    assert _server.stdout is not None
    print(json.dumps(request), file=_server.stdin, flush=True)
    return int(_server.stdout.readline())


def _serve() -> dict[str, Any]:
    """Fork for request after request; return the request in the child."""
    requests = os.fdopen(os.dup(0), "r")
    answers = os.dup(1)
    for line in requests:
        request: dict[str, Any] = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.close(answers)
            return request
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(answers, f"{status}\n".encode())
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Give the process the input and output that it is to have, and all else that a new one would have."""
    for number, path, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, request["out"], os.O_WRONLY),
        (2, request["err"], os.O_WRONLY),
    ):
        file = _pipe_without_reader() if path == GONE else os.open(path, mode)
        os.dup2(file, number)
        os.close(file)
    become(request["env"], request["cwd"])


def become(environment: Mapping[str, str], folder: str) -> None:
    """Give the process new streams on its output, and the environment and the folder that a new one would have."""
    sys.stdout, sys.stderr = _reopened(sys.stdout, 1), _reopened(sys.stderr, 2)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _reopened(stream: Any, number: int) -> io.TextIOWrapper:
    """Return a stream like another, which knows what it was opened on: a file, a pipe or a device."""
    return io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _pipe_without_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def run_program(command: list[str]) -> NoReturn:
    """Run a file or a module as Python's command line does."""
    if command[0] == "-m":
        sys.argv = command[1:]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    elif command[0] == "-c":
        sys.argv = ["-c", *command[2:]]
        exec(compile(command[1], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.argv = command
        sys.path[0] = str(Path(command[0]).resolve().parent)
        runpy.run_path(command[0], run_name="__main__")
    sys.exit(0)


def import_what_figures_need() -> None:
    """Import what takes longest of all, and ranks do not need."""
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: F401
    from matplotlib.figure import Figure

    with_text = Figure()
    with_text.text(0, 0, "fonts")
    for kind in ("pdf", "png"):  # each imports more, and reads fonts, when it is written first
        with_text.savefig(BytesIO(), format=kind)
    import onnx  # noqa: F401 (which runs of models wait for)
    import scipy.stats  # noqa: F401 (intervals and slopes want it, and it takes longer than all others)

    import experiments.sweeps.experiment  # noqa: F401
    import sparsednn.importers  # noqa: F401


def _compose() -> None:
    """Have Hydra look for its plugins, and its parsers learn their grammars, which last as long as a process."""
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from experiments.config.resolve import CONF, register

    OverridesParser.create().parse_overrides(["a=1,2", "+b.c=[x,'y z']", "d={e:1.5}", "++f=null", "~g", "h=a/b.c"])
    register.__wrapped__()  # whoever forks does it again
    with initialize_config_dir(str(CONF), version_base="1.3"):
        compose("config", overrides=["instances=10"], return_hydra_config=True)


def import_what_runs_need() -> None:
    """Import libraries and the program, and load the default kernel with all that Numba wants for it."""
    import experiments.session  # noqa: F401
    import sparsednn.simulator.simulate
    from sparsednn.data.challenge_inputs import compact_challenge_inputs

    for inputs in (sparsednn.challenge_inputs(1024, instances=10), compact_challenge_inputs(1024, 10)):
        sparsednn.infer(sparsednn.radixnet(1024, 6), inputs, threads=1)
    _compose()
    gc.collect()
    gc.freeze()  # or each fork would visit all of these objects, and copy their pages, to find nothing


if __name__ == "__main__":
    import_what_figures_need()
    import_what_runs_need()
    _asked = _serve()
    _become(_asked)
    run_program(_asked["command"])
