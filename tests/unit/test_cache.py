"""The cache folder of rebuilt data: nothing that happens to it ends a run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from sparsednn.system import cache
from sparsednn.system.temporary import LOCK


def save(path: Path) -> None:
    np.savez(path, counts=np.arange(1000))


def read(path: Path) -> list[int] | None:
    found = cache.read_cached(path, "counts", "counting anew")
    return None if found is None else found.tolist()


def test_what_is_written_is_read_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "counts.npz"
    assert read(path) is None
    cache.write_cached(path, save, "nothing is cached")
    assert read(path) == list(range(1000))
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["empty", "cut off", "zeros", "a folder in its place", "something else"])
def test_what_is_damaged_is_told_in_one_line_and_left_out(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "counts.npz"
    save(path)
    whole = path.read_bytes()
    path.unlink()
    if damage == "a folder in its place":
        path.mkdir()
    else:
        contents = {"empty": b"", "cut off": whole[:-50], "zeros": bytes(len(whole)), "something else": b"[1, 2]"}
        path.write_bytes(contents[damage])
    assert read(path) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{path}: not readable (")
    assert record.getMessage().endswith("counting anew")


@pytest.mark.parametrize("name", ["file/counts.npz", "file/below/counts.npz", "x" * 300 + "/counts.npz"])
def test_a_folder_that_cannot_be_written_is_told_with_the_way_out(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    cache.write_cached(tmp_path / name, save, "nothing is cached")
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{tmp_path / name}: cannot be written (")
    assert "another folder with the environment variable SPARSEDNN_CACHE" in record.getMessage()


def test_a_full_disk_is_told_once_and_keeps_what_was_there(
    tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "counts.npz"
    path.write_bytes(b"older")
    with full_disk():
        cache.write_cached(path, save, "nothing is cached")
    assert [record.getMessage().count("cannot be written (File too large)") for record in caplog.records] == [1]
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("counts.npz", b"older")]


@pytest.mark.parametrize("use", ["reading", "writing"])
def test_what_a_killed_writer_has_left_is_removed_by_the_next_use(tmp_path: Path, use: str) -> None:
    left = tmp_path / f"{cache.UNFINISHED}of a dead process"
    left.mkdir()
    (left / LOCK).touch()
    (left / "counts.npz").write_bytes(b"the first part")
    if use == "reading":
        read(tmp_path / "counts.npz")
    else:
        cache.write_cached(tmp_path / "counts.npz", save, "nothing is cached")
    assert not left.exists()


def test_no_folder_is_made_here_for_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARSEDNN_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name: f"~/.cache/{name}")  # as it is where nobody knows the user
    assert cache.cache_folder() == Path("/nonexistent/~/.cache/sparsednn")
