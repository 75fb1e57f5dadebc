"""Jobs that will not fit are refused before anything is loaded, with switches that do make them fit."""

from __future__ import annotations

import ast
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from backends.cupy_gpu.backend import CupyBackend
from backends.numba_cpu.backend import NumbaBackend
from backends.peers.base import PeerBackend
from backends.reference import ScipyReferenceBackend
from experiments.config.resolve import Config, register, resolve
from experiments.launch.point import run_point
from experiments.run import measure as measuring
from experiments.run import memory_estimate as estimating
from experiments.run.memory_estimate import KEEP_FREE_BYTES, Node, estimate, require_room
from sparsednn.backend import KernelOptions, MemoryBytes, RunSize, SizedBackend, backend_names
from sparsednn.data.challenge_inputs import NONZEROS
from sparsednn.data.radixnet import radixnet
from sparsednn.network import RepeatedLayer
from tests import warm

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
BACKENDS = (CupyBackend, NumbaBackend, PeerBackend, ScipyReferenceBackend)


def composed(*overrides: str) -> Config:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolve(compose("config", list(overrides)))


def refusal(monkeypatch: pytest.MonkeyPatch, available: int, *overrides: str) -> str:
    monkeypatch.setattr(estimating, "available_bytes", lambda: available)
    with pytest.raises(MemoryError) as caught:
        require_room(composed(*overrides))
    return str(caught.value)


def total(*overrides: str) -> int:
    found = estimate(composed(*overrides))
    assert found is not None
    return found.total


@pytest.mark.parametrize("more", [["layers=120"], ["layers=12", "network.radices=[4,4,4]", "network.bias=-0.3"]])
def test_the_network_is_estimated_as_it_is_generated(more: list[str]) -> None:
    config = composed("neurons=1024", *more)
    network = radixnet(config.neurons, config.layers, radices=config.network.radices, bias=-0.3)
    found = estimate(config)
    assert found is not None
    assert found.network == sum(layer.columns.nbytes for layer in network.layers if isinstance(layer, RepeatedLayer))


def test_what_just_fits_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config, needed = composed("neurons=65536", "layers=1920"), total("neurons=65536", "layers=1920")
    monkeypatch.setattr(estimating, "available_bytes", lambda: needed)
    require_room(config)
    monkeypatch.setattr(estimating, "available_bytes", lambda: needed - 1)
    with pytest.raises(MemoryError, match="neurons=65536 layers=1920: this run needs about"):
        require_room(config)


@pytest.mark.parametrize(
    ("overrides", "changed", "named"),
    [
        (["kernel=csr_csr", "threads=2"], ["kernel=auto", "threads=2"], ["kernel=auto"]),
        (["kernel=csc_udc", "threads=2"], ["kernel=auto", "threads=2"], ["kernel=auto"]),
        (["optimize.columns=none"], ["optimize.columns=merge"], ["optimize.columns=merge"]),
        (["optimize.columns=none"], ["optimize.columns=none", "network.residency=stream"], ["network.residency=stream"]),
        (["threads=100"], ["threads=50"], ["threads=50"]),
        (["instances=60000"], ["instances=30000"], ["instances=30000"]),
    ],
)
def test_each_switch_that_makes_it_fit_is_named(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], changed: list[str], named: list[str]
) -> None:
    size = ["neurons=65536", "layers=480"]
    available = total(*size, *changed)
    message = refusal(monkeypatch, available, *size, *overrides)
    offered = re.split(" or ", message.partition("; enough with ")[2])
    assert set(named) <= set(offered)
    for switch in offered:
        kept = [override for override in overrides if override.split("=")[0] != switch.split("=")[0]]
        assert total(*size, *kept, switch) <= available


def test_where_no_switch_helps_this_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, KEEP_FREE_BYTES, "neurons=65536", "layers=1920")
    assert message.endswith("no single switch makes it fit; use fewer neurons or layers")
    assert "\n" not in message


SIZE = ("neurons=65536", "layers=480", "threads=1", "instances=1000")


def of_processes(n: int, room: int, *overrides: str) -> int:
    found = estimate(composed(*SIZE, *overrides), Node(0, n, room))
    assert found is not None
    return found.total


def test_processes_take_as_much_together_as_they_share() -> None:
    """Activations are each one's own; a network without room in shared memory is there for each."""
    alone, config = estimate(composed(*SIZE)), composed(*SIZE)
    assert alone is not None
    activations = alone.total + 2 * alone.activations
    assert of_processes(3, alone.shared) == activations
    assert of_processes(3, alone.shared - 1) == activations + 2 * (alone.network + alone.kernel // 2)
    assert of_processes(3, 10**12, "cluster.share_network=false") == activations + 2 * (alone.network + alone.kernel)
    assert estimate(config, Node(0, 1, 0)) == alone


@pytest.mark.parametrize(
    ("overrides", "room", "said", "offered"),
    [
        pytest.param([], 64 * 2**20, r"each of 3 processes, since /\S+ has room for 0.07 GB only", "one process", id="small"),
        pytest.param(
            ["cluster.share_network=false"], 10**12, "with a network for each of 3 processes;", "cluster.share_network=true",
            id="unshared",
        ),
    ],
)  # fmt: skip
def test_copies_that_do_not_fit_are_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, overrides: list[str], room: int, said: str, offered: str
) -> None:
    available = of_processes(3, 10**12)
    monkeypatch.setattr(estimating, "available_bytes", lambda: available)
    monkeypatch.setattr(estimating, "shared_memory_left", lambda: room)
    config = composed(*SIZE, *overrides)
    require_room(config)  # of one process
    with pytest.raises(MemoryError, match=said) as caught:
        require_room(config, 3)
    assert offered in str(caught.value).partition("; enough with ")[2]


class Unsized(ScipyReferenceBackend):
    """Somebody's backend, which does not say how much memory it takes."""

    name = "theirs"
    memory_bytes = None  # type: ignore[assignment]


def test_a_backend_that_does_not_say_what_it_takes_is_guessed_and_this_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = ("neurons=1024", "layers=120", "backend=scipy_reference")
    ours = estimate(composed(*overrides))
    monkeypatch.setattr(estimating, "load_backend", lambda name: Unsized())
    theirs = estimate(composed(*overrides))
    assert ours is not None
    assert theirs is not None
    assert (ours.kernel, ours.unsized) == (8 * 1024 * 32 * 120, "")
    assert theirs == replace(ours, unsized="theirs")
    said = refusal(monkeypatch, 0, *overrides)
    assert re.search(r"reserve [\d.]+; backend=theirs does not say what it takes: 8 bytes a connection are assumed\)", said)
    processes = estimate(composed(*overrides), Node(0, 2, 0))
    assert processes is not None
    assert processes.unsized == "theirs"


def test_a_backend_is_asked_with_the_options_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[RunSize, KernelOptions]] = []

    class Asked(ScipyReferenceBackend):
        def memory_bytes(self, size: RunSize, options: KernelOptions) -> MemoryBytes:
            asked.append((size, options))
            return MemoryBytes(7, 9)

    monkeypatch.setattr(estimating, "load_backend", lambda name: Asked())
    overrides = ["backend=scipy_reference", "optimize.rows=prune", "optimize.columns=none", "threads=3", "instances=600"]
    found = estimate(composed("neurons=1024", "layers=120", *overrides), Node(0, 2, 0))
    assert found is not None
    assert found.activations == 9
    ((size, options),) = asked
    assert size == RunSize(1024, 120, 1024 * 32 * 120, 1024 * 2 * 120, 64, 600, NONZEROS[1024] // 100, 6)
    assert (options.kernel, options.rows, options.columns, options.stream_from) == ("csr_csr", "prune", "none", None)


def test_the_estimate_knows_no_backend_and_no_kernel() -> None:
    """They are asked, so that one that nobody here knows is estimated as well."""
    kernels = {name for backend in BACKENDS for name in backend.kernels} - {"auto"}
    strings = {
        node.value for node in ast.walk(ast.parse(Path(estimating.__file__).read_text())) if isinstance(node, ast.Constant)
    }
    assert len(kernels) > 10
    assert not strings & (kernels | set(backend_names()))


def test_every_backend_of_ours_says_what_it_takes() -> None:
    assert all(callable(getattr(backend, "memory_bytes", None)) for backend in BACKENDS)
    assert isinstance(NumbaBackend(), SizedBackend)
    assert not isinstance(Unsized(), SizedBackend)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["network=files", "network.path=x"], id="a network in files"),
        pytest.param(["input=files", "input.path=x"], id="inputs in files"),
        pytest.param(["neurons=2048"], id="a size that has no inputs"),
    ],
)
def test_what_only_the_data_tell_is_not_estimated(monkeypatch: pytest.MonkeyPatch, overrides: list[str]) -> None:
    monkeypatch.setattr(estimating, "available_bytes", lambda: 0)
    assert estimate(composed(*overrides)) is None
    require_room(composed(*overrides))


def test_a_run_that_does_not_fit_fails_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loaded: list[Config] = []
    monkeypatch.setattr(measuring, "load", lambda config, *_: loaded.append(config))
    monkeypatch.setattr(estimating, "available_bytes", lambda: 2**30)
    config = composed("neurons=65536", "layers=1920")
    record = run_point(lambda: config, tmp_path, [], Console(quiet=True))
    assert not loaded
    assert record.status == "failed"
    assert re.search(r"needs about [\d.]+ GB \(network .*only 1.07 GB of memory are available", record.error or "")
    assert json.loads((tmp_path / "result.json").read_text())["error"] == record.error


def test_a_user_gets_one_line_and_no_network(tmp_path: Path) -> None:
    """33 TB of dense layers: more than any machine has."""
    arguments = ["neurons=65536", "layers=1920", "kernel=udc_udc", "instances=10", f"hydra.run.dir={tmp_path}"]
    done = warm.run([sys.executable, "run.py", *arguments])
    assert done.returncode == 1
    assert done.stderr.count("error:") == 1
    assert re.search(r"this run needs about 3\d{4}\.\d\d GB", " ".join(done.stderr.split()))
    assert "Traceback" not in done.stderr + done.stdout
    assert "network:" not in done.stdout
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "failed"
