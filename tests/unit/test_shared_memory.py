"""The memory that executor and kernels share has one layout: whoever reads or writes it takes the names, not the numbers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from backends.common.jit import as_python, kernel
from backends.numba_cpu.backend import OUTCOMES
from backends.numba_cpu.kernels.team import Place, must_leave
from sparsednn.backend import MEET_NS, MULTIPLY_ADDS, STOP_FLAG, Control, Outcome, Team
from sparsednn.backend.shared_memory import FIRST_MEMBER, LINE

ROOT = Path(__file__).parents[2]

LAYOUT = {
    "LINE = 8": "LINE = 16",
    "STOP_FLAG = 0": "STOP_FLAG = 5",
    "\nCALL = 0": "\nCALL = 3",
    "DONE, SCORE, WORK = range(3)": "WORK, DONE, SCORE = 2, 4, 9",
    "ARRIVED, MEETINGS, STEP, FIRST_MEMBER = 0, LINE, 2 * LINE, 3 * LINE": (
        "STEP, ARRIVED, MEETINGS, FIRST_MEMBER = 0, LINE, 2 * LINE, 4 * LINE"
    ),
    "FIGURE, MULTIPLY_ADDS, MEET_NS, FROM, TO, LAYER_OPS = range(6)": (
        "LAYER_OPS, TO, FROM, MEET_NS, MULTIPLY_ADDS, FIGURE = range(2, 14, 2)"
    ),
    "N_LOGGED, FIRST_LOGGED = 0, 1": "N_LOGGED, FIRST_LOGGED = 2, 3",
}
"""The module's layout, and another one that would do as well."""

CASES = [
    ("scipy_reference", "csr_csr", "work_stealing", 2),
    ("numba", "rowwise_first", "data_then_model", 3),
    ("numba", "csc_csc", "model", 2),
    ("numba", "csc_csc", "data_then_model", 3),
    ("numba", "dcsc_csc", "data_then_model", 3),
    ("numba", "csr_csr", "data_then_model", 3),
    ("numba", "udc_csc", "model", 2),
]

PROGRAM = f"""
import numpy as np
import scipy.sparse as sp
import sparsednn
from sparsednn.backend import DONE, SCORE, WORK, Control, Team, KernelOptions, Outcome, load_backend
from sparsednn.backend.shared_memory import FIRST_MEMBER

network, rng = sparsednn.radixnet(16, 6, radices=(2, 2), dense_width=4, bias=-0.01), np.random.default_rng(0)
inputs, options = (rng.random((40, 16)) < 0.4).astype(np.float32), dict(columns="none", rows="prune", minimum_work=0)
print(FIRST_MEMBER)
for backend, kernel, scheduler, threads in {CASES!r}:
    told = []
    options |= dict(trace=True, progress=lambda *finished: told.append(finished))
    result = sparsednn.infer(network, inputs, backend, kernel, scheduler, threads, **options)
    result.trace.validate()
    spans = sorted((s.kind, s.worker, s.row_group, s.first_layer, s.last_layer, s.multiply_adds) for s in result.trace.spans)
    waited = [worker["meet_s"] > 0 for worker in result.record["workers"]]
    print(kernel, scheduler, len(result.categories), result.record["performed_edges"], told[-1])
    if scheduler == "model":
        print([span for span in spans if span[0] == "team"], waited)
for name, kernel in {sorted({case[:2] for case in CASES})!r}:
    backend, control = load_backend(name), Control.for_workers(1)
    plan = backend.prepare(network, KernelOptions(kernel, rows="prune", columns="none"), 1)
    group = backend.open(plan, sp.csr_array(inputs), np.arange(40), 0, output=False)
    control.call(0, 2)
    while backend.run(plan, group, control, Team.of((0,)), 0) is Outcome.CALLED:
        print(kernel, control.progress[0, [DONE, SCORE, WORK]])
    control.request_stop()
    group = backend.open(plan, sp.csr_array(inputs), np.arange(40), 0, output=False)
    print(backend.run(plan, group, control, Team.of((0,)), 0))
"""


def run(tree: Path, **environment: str) -> list[str]:
    """Return the output of the program, with the sources of a tree."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tree, text=True, capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tree), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "disabled", [pytest.param("1", id="as plain Python"), pytest.param("0", id="compiled", marks=pytest.mark.slow)]
)
def test_another_layout_gives_the_same_runs(disabled: str, tmp_path: Path) -> None:
    """A number in the place of a name, or a second copy of the constants, would be left behind."""
    for package in ("sparsednn", "backends"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    module = tmp_path / "sparsednn" / "backend" / "shared_memory.py"
    text = module.read_text(encoding="utf-8")
    for said, other in LAYOUT.items():
        assert text.count(said) == 1, said
        text = text.replace(said, other)
    module.write_text(text, encoding="utf-8")
    (first_member, *runs), (moved, *again) = run(ROOT, NUMBA_DISABLE_JIT=disabled), run(tmp_path, NUMBA_DISABLE_JIT=disabled)
    assert (first_member, moved) == ("24", "64")
    assert sum(line.startswith(("csr_csr [", "csc_csc [", "udc_csc [")) for line in runs) >= 12  # called away, layer by layer
    assert again == runs


def test_the_lines_of_members_do_not_overlap() -> None:
    team = Team.of((4, 7, 9))
    assert team.shared.shape == (FIRST_MEMBER + 3 * LINE,)
    for member in range(3):
        team.count(member, 10 + member)
        team.wait(member, 100, 105 + member)
    assert [team.counter(member, MULTIPLY_ADDS) for member in range(3)] == [10, 11, 12]
    assert [team.counter(member, MEET_NS) for member in range(3)] == [5, 6, 7]
    assert not team.shared[:FIRST_MEMBER].any()


def test_waits_are_logged_while_there_is_room() -> None:
    team = Team.of((0, 1), log=2)
    for start in (1, 3, 5):
        team.wait(1, start * 10**9, (start + 1) * 10**9)
    assert team.waits(0) == ()
    assert team.waits(1) == ((1.0, 2.0), (3.0, 4.0))
    assert team.counter(1, MEET_NS) == 3 * 10**9


def test_a_team_leaves_where_compiled_kernels_leave() -> None:
    control, left, leaves = Control.for_workers(2), [], kernel(as_python(must_leave))
    team = Team.of((1, 0))
    for stop, call, score, fresh in product((0, 1), (None, 0, 3), (0, 2, 3, 4), (False, True)):
        control.flags[STOP_FLAG] = stop
        control.dismiss(1) if call is None else control.call(1, call)
        place = Place.of(team, control, 0)
        left.append(control.must_leave(1, score, fresh=fresh))
        assert left[-1] is OUTCOMES.get(leaves(place, score, fresh)), (stop, call, score, fresh)
        assert control.must_leave(0, score, fresh=fresh) is (Outcome.STOPPED if stop else None)  # nobody calls worker 0
    assert [left.count(outcome) for outcome in (Outcome.STOPPED, Outcome.CALLED, None)] == [24, 6, 18]


def test_each_worker_has_a_cache_line_of_its_own() -> None:
    control = Control.for_workers(3)
    assert control.calls.strides == control.progress.strides == (64, 8)
    assert control.flags.nbytes == 64
