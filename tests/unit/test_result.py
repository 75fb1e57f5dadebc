"""Records are written whole or not at all; memory is asked for before it is taken."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import psutil
import pytest

from sparsednn.results.result import categories_sha256
from sparsednn.system import memory
from sparsednn.system.files import atomic_path, write_json

FullDisk = Callable[[], AbstractContextManager[None]]


def test_a_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    record = {"seconds": {"inference": [0.1, 2]}, "status": "complete", "truth": None}
    write_json(tmp_path / "record.json", record)
    assert json.loads((tmp_path / "record.json").read_text()) == record
    assert (tmp_path / "record.json").read_text().endswith("}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)], ids=["usual", "private"])
def test_a_record_has_the_permissions_that_the_user_gives_new_files(mask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write_json(tmp_path / "record.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "record.json").stat().st_mode & 0o777 == mode


def test_a_file_system_that_refuses_permissions_takes_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    for name in ("chmod", "fchmod", "lchmod", "link", "utime"):
        monkeypatch.setattr(os, name, refuse, raising=False)
    for run in (1, 2):
        write_json(tmp_path / "record.json", {"run": run})
    with atomic_path(tmp_path / "ids.bin") as temporary:
        np.arange(3).tofile(temporary)
    assert json.loads((tmp_path / "record.json").read_text()) == {"run": 2}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids.bin", "record.json"]


def test_a_record_replaces_an_older_one(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {"run": 1})
    write_json(tmp_path / "record.json", {"run": 2})
    assert json.loads((tmp_path / "record.json").read_text()) == {"run": 2}


@pytest.mark.parametrize("there", [False, True], ids=["no record yet", "an older record"])
def test_a_write_that_fails_halfway_changes_nothing(there: bool, tmp_path: Path, full_disk: FullDisk) -> None:
    path = tmp_path / "record.json"
    if there:
        path.write_text("older")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write_json(path, {"workers": list(range(1000))})
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == ([("record.json", "older")] if there else [])


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_an_interrupted_write_leaves_the_older_file_alone(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text("older")

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("newer")
            raise error

    with pytest.raises(error):
        interrupted()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("record.json", "older")]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_are_refused(value: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "record.json", {"seconds": value})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="not-there"):
        write_json(tmp_path / "not-there" / "record.json", {})


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        pytest.param([1, 20, 60_000], "1\n20\n60000\n", id="three ids"),
        pytest.param([], "", id="no ids"),
    ],
)
def test_categories_are_hashed_as_the_published_text(ids: list[int], text: str) -> None:
    assert categories_sha256(np.array(ids, np.int64)) == hashlib.sha256(text.encode()).hexdigest()


def test_what_does_not_fit_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000_000)
    with pytest.raises(MemoryError) as caught:
        memory.require(2_500_000_000, "building it", "use fewer neurons")
    assert str(caught.value) == ("building it needs 2.5 GB, but only 1.0 GB of memory are available; use fewer neurons")


def test_a_reserve_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1_000_000_000)
    most = 1_000_000_000 - memory.KEEP_FREE_BYTES
    memory.require(most, "it", "")
    with pytest.raises(MemoryError):
        memory.require(most + 1, "it", "")


def test_a_limit_of_the_address_space_bounds_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = psutil.Process().memory_info().vms
    monkeypatch.setattr("resource.getrlimit", lambda _: (taken + 50_000_000, -1))
    assert 0 <= memory.available_bytes() <= 60_000_000


def test_available_memory_is_what_psutil_says_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here both read what Linux tells; elsewhere psutil is asked."""
    assert memory._machine_available() == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    assert memory._address_space() == pytest.approx(psutil.Process().memory_info().vms, rel=0.05)
    monkeypatch.setattr(memory, "MACHINE", memory.Path("/nonexistent"))
    monkeypatch.setattr(memory, "PROCESS", memory.Path("/nonexistent"))
    assert memory._machine_available() == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    assert memory._address_space() == pytest.approx(psutil.Process().memory_info().vms, rel=0.05)


def test_the_peak_grows_with_what_is_taken_and_stays_until_it_is_reset() -> None:
    """The kernel counts pages in batches, so the peak may be off by a little."""
    memory.reset_peak_rss()
    before = memory.peak_rss_bytes()
    taken = np.ones(200_000_000, np.uint8)
    at_peak = memory.peak_rss_bytes()
    del taken
    assert at_peak > before + 150_000_000
    assert memory.peak_rss_bytes() > before + 150_000_000
    memory.reset_peak_rss()
    assert memory.peak_rss_bytes() < at_peak - 100_000_000
