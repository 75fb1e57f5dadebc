"""Memory that control groups leave a process: made-up folders of both versions, as machines and containers have them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.run.environment import environment
from sparsednn.engine import default_threads
from sparsednn.system import control_groups, memory
from sparsednn.system.cores import usable_cores

GIB = 2**30
UNLIMITED = str(2**63 - 4096)
Groups = Callable[[str, str, dict[str, str]], Path]


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Groups:
    """Make a machine's own files: ``groups(cgroup, mountinfo, files)``, in which ROOT stands for where groups are mounted."""
    monkeypatch.setattr(control_groups, "PROC", tmp_path)
    (tmp_path / "meminfo").write_text(f"MemTotal: {99 * 2**20} kB\nMemAvailable: {64 * 2**20} kB\n")
    monkeypatch.setattr(memory, "MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))

    def make(cgroup: str, mountinfo: str, files: dict[str, str]) -> Path:
        root = tmp_path / "fs of groups"
        (tmp_path / "cgroup").write_text(cgroup)
        (tmp_path / "mountinfo").write_text(mountinfo.replace("ROOT", str(root).replace(" ", r"\040")))
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text + "\n")
        return root

    return make


def mounted(*lines: tuple[str, str, str, str]) -> str:
    """Lines of mountinfo: the group that is seen, where, the file system and its options; a disk is mounted too."""
    own = [f"3{n} 2 0:2{n} {root} {point} ro,relatime shared:9 - {kind} {kind} {options}" for n, (root, point, kind, options)
           in enumerate(lines)]  # fmt: skip
    return "\n".join(["27 1 254:0 / / rw,relatime - ext4 /dev/vda rw", *own, "a line that cannot be understood", ""])


V2 = mounted(("/", "ROOT", "cgroup2", "rw,nsdelegate"))
V1 = mounted(("/", "ROOT/memory", "cgroup", "rw,memory"), ("/", "ROOT/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"))
STAT = "anon 1\nfile 2\ninactive_file 1000\nactive_file 200\nslab_reclaimable 30\nshmem 7777"
STAT_V1 = "inactive_file 1\nactive_file 1\ntotal_inactive_file 1000\ntotal_active_file 200\ntotal_shmem 7777"


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "files", "expected"),
    [
        pytest.param(
            "0::/user.slice/run\n", V2,
            {"user.slice/run/memory.max": "5000", "user.slice/run/memory.current": "3000", "user.slice/run/memory.stat": STAT},
            5000 - (3000 - 1230), id="version 2: copies of files are given back",
        ),
        pytest.param("0::/a\n", V2, {"a/memory.max": "max", "a/memory.current": "3000"}, None, id="version 2 without a limit"),
        pytest.param(
            "0::/a/b/c\n", V2,
            {"a/memory.max": "9000", "a/memory.current": "8000", "a/b/memory.max": "5000", "a/b/memory.current": "10",
             "a/b/c/memory.max": "max", "a/b/c/memory.current": "5"},
            1000, id="the groups around bind too",
        ),
        pytest.param(
            "0::/a\n", V2, {"a/memory.max": "9000", "a/memory.high": "4000", "a/memory.current": "1000"}, 3000,
            id="a limit above which the group is slowed down",
        ),
        pytest.param("0::/\n", V2, {"memory.max": "5000", "memory.current": "1000"}, 4000, id="a container with its own root"),
        pytest.param("0::/../other\n", V2, {"memory.max": "5000", "memory.current": "1000"}, 4000, id="a group outside of it"),
        pytest.param("0::/a\n", V2, {"a/memory.max": "5000", "a/memory.current": "6000"}, 0, id="nothing when it is over"),
        pytest.param("0::/a\n", V2, {"a/memory.max": "5000", "a/memory.current": "100", "a/memory.stat": STAT}, 5000,
                     id="no more than the limit"),
        pytest.param("0::/a\n", V2, {"a/memory.max": "", "a/memory.current": "x"}, None, id="what cannot be understood"),
        pytest.param(
            "4:memory:/docker/1\n3:cpu,cpuacct:/docker/1\n", V1,
            {"memory/docker/1/memory.limit_in_bytes": "5000", "memory/docker/1/memory.usage_in_bytes": "3000",
             "memory/docker/1/memory.stat": STAT_V1, "memory/memory.limit_in_bytes": UNLIMITED,
             "memory/memory.usage_in_bytes": "9"},
            5000 - (3000 - 1200), id="version 1: with the groups inside",
        ),
        pytest.param(
            "4:memory:/docker/1\n", mounted(("/docker/1", "ROOT/memory", "cgroup", "rw,memory")),
            {"memory/memory.limit_in_bytes": "5000", "memory/memory.usage_in_bytes": "3000"}, 2000,
            id="version 1 in a container that sees its own group only",
        ),
        pytest.param(
            "4:memory:/job\n0::/job\n",
            mounted(("/", "ROOT/memory", "cgroup", "rw,memory"), ("/", "ROOT/unified", "cgroup2", "rw")),
            {"memory/job/memory.limit_in_bytes": "5000", "memory/job/memory.usage_in_bytes": "3000",
             "unified/job/cgroup.procs": ""},
            2000, id="both versions, memory in the first",
        ),
        pytest.param("", "", {}, None, id="no groups at all"),
    ],
)  # fmt: skip
def test_the_tightest_group_bounds_the_memory(
    groups: Groups, cgroup: str, mountinfo: str, files: dict[str, str], expected: int | None
) -> None:
    groups(cgroup, mountinfo, files)
    assert control_groups.memory_left() == expected
    assert memory.available_bytes() == (64 * GIB if expected is None else expected)


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "files", "quota", "cores"),
    [
        pytest.param("0::/a\n", V2, {"a/cpu.max": "200000 100000"}, 2.0, 2, id="version 2"),
        pytest.param("0::/a\n", V2, {"a/cpu.max": "150000 100000"}, 1.5, 2, id="a part of a core is a core"),
        pytest.param("0::/a\n", V2, {"a/cpu.max": "10000 100000"}, 0.1, 1, id="never less than one"),
        pytest.param("0::/a\n", V2, {"a/cpu.max": "9900000 100000"}, 99.0, 16, id="more than there are cores"),
        pytest.param("0::/a\n", V2, {"a/cpu.max": "max 100000"}, None, 16, id="version 2 without a quota"),
        pytest.param("0::/a/b\n", V2, {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3.0, 3, id="a group around"),
        pytest.param("0::/\n", V2, {"cpu.max": "400000 100000"}, 4.0, 4, id="a container with its own root"),
        pytest.param("0::/a\n", V2, {"a/cpu.max": "x"}, None, 16, id="what cannot be understood"),
        pytest.param(
            "3:cpu,cpuacct:/docker/1\n", V1,
            {"cpu,cpuacct/docker/1/cpu.cfs_quota_us": "250000", "cpu,cpuacct/docker/1/cpu.cfs_period_us": "50000"}, 5.0, 5,
            id="version 1",
        ),
        pytest.param(
            "3:cpu,cpuacct:/\n", V1, {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, None,
            16, id="version 1 without a quota",
        ),
        pytest.param("2:cpuset:/\n", V1, {"cpu,cpuacct/cpu.cfs_quota_us": "100000"}, None, 16, id="another controller"),
        pytest.param("", "", {}, None, 16, id="no groups at all"),
    ],
)  # fmt: skip
def test_a_quota_of_time_bounds_the_threads(
    groups: Groups, cgroup: str, mountinfo: str, files: dict[str, str], quota: float | None, cores: int
) -> None:
    groups(cgroup, mountinfo, files)
    assert control_groups.cpu_quota() == quota
    assert usable_cores() == default_threads() == cores


def test_a_record_says_what_cores_there_are_and_what_of_their_time(groups: Groups) -> None:
    groups("0::/\n", V2, {"cpu.max": "150000 100000"})
    found = environment.__wrapped__()
    assert (found.cores_usable, found.cores_quota) == (16, 1.5)


def test_this_machine_can_be_read() -> None:
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))
    assert memory.available_bytes() > 0
