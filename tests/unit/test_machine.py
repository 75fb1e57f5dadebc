"""NUMA domains of cores and workers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sparsednn.system import cores as machine
from sparsednn.system.cores import numa_domains, pinning_order, worker_domains


def tree(root: Path, **nodes: str) -> Path:
    """A folder like /sys/devices/system/node."""
    (root / "online").write_text("0-1\n")
    for name, cores in nodes.items():
        (root / name).mkdir()
        (root / name / "cpulist").write_text(cores + "\n")
    return root


def test_ranges_and_single_cores_are_read(tmp_path: Path) -> None:
    root = tree(tmp_path, node0="0-3,8-11", node1="4-7,12", node10="13,14", node11="")
    assert numa_domains([0, 3, 4, 7, 8, 11, 12, 13, 14, 3], root) == (0, 0, 1, 1, 0, 0, 1, 10, 10, 0)


def test_a_system_that_does_not_tell_has_one_domain(tmp_path: Path) -> None:
    assert numa_domains([0, 5, 9], tmp_path / "nothing") == (0, 0, 0)
    assert numa_domains([0, 5], tree(tmp_path)) == (0, 0)


@pytest.mark.parametrize("text", ["0-", "a", "3-1", "0-3,x", "0--3", "-1", "0;1"])
def test_a_list_that_cannot_be_understood_names_its_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"node1/cpulist: .* is not a core or a range"):
        numa_domains([0], tree(tmp_path, node0="0", node1=text))


def test_a_core_that_no_node_has_names_the_folder_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path}: core 7 is in no .*numa_domains=1"):
        numa_domains([0, 7], tree(tmp_path, node0="0-3"))


def test_this_machine_can_be_read() -> None:
    cores = sorted(os.sched_getaffinity(0))
    assert len(numa_domains(cores)) == len(cores)


@pytest.mark.parametrize(
    ("n_workers", "override", "expected"),
    [
        pytest.param(5, 2, (0, 0, 0, 1, 1), id="sizes differ by one at most"),
        pytest.param(4, 1, (0, 0, 0, 0), id="one"),
        pytest.param(2, 3, (0, 1), id="more domains than workers"),
    ],
)
def test_domains_may_be_pretended(n_workers: int, override: int, expected: tuple[int, ...]) -> None:
    assert (
        worker_domains(n_workers, pinned=True, override=override)
        == worker_domains(n_workers, pinned=False, override=override)
        == expected
    )


def test_pinned_workers_are_in_the_domain_of_their_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six workers on four cores: the last two go around."""
    tree(tmp_path, node0="2,3", node1="8-9")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {9, 2, 8, 3})
    monkeypatch.setattr(machine.numa_domains, "__defaults__", (tmp_path,))
    assert worker_domains(6, pinned=True) == (0, 0, 1, 1, 0, 0)
    assert worker_domains(6, pinned=False) == (0,) * 6


def test_no_domains_are_refused() -> None:
    with pytest.raises(ValueError, match="numa_domains=0: must be at least 1"):
        worker_domains(2, pinned=False, override=0)


def test_processes_of_a_node_are_pinned_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {5, 2, 3, 8})
    assert [pinning_order(first) for first in (0, 2, 5)] == [[2, 3, 5, 8], [5, 8, 2, 3], [3, 5, 8, 2]]


def test_there_are_no_more_domains_than_workers() -> None:
    """However many are asked for, nothing is counted but workers."""
    assert worker_domains(3, pinned=False, override=2**62) == (0, 1, 2)
