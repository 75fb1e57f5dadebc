"""Rows with one value and 16-bit ids: the same rows as a matrix of scipy's, and the same answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.data import cached_rows, compact_rows
from sparsednn.data.compact_rows import CompactRows
from sparsednn.execution import prepared_run
from tests import oracle

N, WIDTH, VALUE = 700, 40, 0.5


def dense(rng: np.random.Generator, n: int = N, width: int = WIDTH) -> np.ndarray:
    """Rows of which some are empty, some full, with one value."""
    made = (rng.random((n, width)) < rng.random((n, 1)) ** 2) * np.float32(VALUE)
    made[:: n // 5], made[-1] = 0, VALUE
    return made


def compact(x: np.ndarray) -> CompactRows:
    csr = sp.csr_array(x)
    return CompactRows(csr.indptr.astype(np.int32), csr.indices.astype(np.uint16), x.shape[1], VALUE)


@pytest.mark.parametrize(
    "ids",
    [
        pytest.param(range(N), id="all"),
        pytest.param(range(130, 260), id="neighbours"),
        pytest.param([5], id="one"),
        pytest.param([], id="none"),
        pytest.param(range(3, N, 7), id="some"),
        pytest.param([0, 2, 1, 3, 699, 3], id="in another order, and twice"),
    ],
)
def test_rows_are_taken_as_scipy_takes_them(ids: range | list[int], rng: np.random.Generator) -> None:
    x = dense(rng)
    taken = compact(x).taken(np.array(ids, np.int64))
    csr = compact(x)[np.array(ids, np.int64)]
    assert taken.shape == csr.shape == (len(ids), WIDTH)
    assert taken.nnz == csr.nnz == (x[list(ids)] != 0).sum()
    assert np.array_equal(taken.to_csr().toarray(), x[list(ids)])
    assert np.array_equal(csr.toarray(), x[list(ids)])
    assert (csr.dtype, csr.indices.dtype, csr.has_canonical_format) == (np.float32, np.int32, True)


def test_rows_are_converted_in_parts(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact_rows, "CONVERTED_ENTRIES", 100)
    x = dense(rng)
    assert np.array_equal(compact(x).to_csr().toarray(), x)


@pytest.fixture
def weights(rng: np.random.Generator) -> list[np.ndarray]:
    return [
        np.where(rng.random(shape) < 0.3, rng.normal(size=shape), 0).astype(np.float32) for shape in ((12, 9), (9, 9), (9, 4))
    ]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="the default"),
        pytest.param({"kernel": "udc_csc", "scheduler": "model"}, id="blocks that are spread out, in a team"),
        pytest.param({"columns": "none", "rows": "none"}, id="no work avoided"),
        pytest.param({"kernel": "udc_udc"}, id="dense layers"),
        pytest.param({"kernel": "csc"}, id="a kernel that wants a matrix"),
        pytest.param({"backend": "scipy_reference"}, id="a backend that wants a matrix"),
        pytest.param({"hashing": "both", "buckets": 1}, id="hashed neurons and rows"),
        pytest.param({"scheduler": "global_work_stealing"}, id="row groups that processes may take"),
        pytest.param({"scheduler": "work_stealing", "row_order": "alive_first"}, id="living instances first"),
        pytest.param({"rebalance_after": 1}, id="rows that are balanced after a layer"),
        pytest.param({"split": "work"}, id="parts of equal work"),
        pytest.param({"scheduler": "auto"}, id="a scheduler that is chosen by simulating"),
    ],
)
def test_answers_are_those_of_the_same_matrix(
    options: dict[str, object], weights: list[np.ndarray], rng: np.random.Generator
) -> None:
    x = dense(rng, 90, 12)
    network = sparsednn.Network(weights, bias=-0.1)
    y = oracle.infer(weights, [-0.1] * 3, "nonzero", [(0, np.inf)] * 3, x)
    result = sparsednn.infer(network, compact(x), output=True, threads=2, **options)  # type: ignore[arg-type]
    assert result.output is not None
    assert result.output.toarray().tobytes() == y.tobytes()
    assert result.categories.tolist() == oracle.categories(y)


@pytest.mark.parametrize(("kernel", "expected"), [("auto", CompactRows), ("udc_udc", CompactRows), ("csr", sp.csr_array)])
def test_kernels_for_blocks_read_them_as_they_are(
    kernel: str, expected: type, weights: list[np.ndarray], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Seeing(prepared_run.RowGroup):
        def __new__(cls, inputs: object, *rest: object) -> Seeing:
            seen.append(inputs)
            return super().__new__(cls, inputs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(prepared_run, "RowGroup", Seeing)
    rows = compact(dense(rng, 90, 12))
    sparsednn.infer(sparsednn.Network(weights), rows, kernel=kernel, threads=1)
    assert {type(inputs) for inputs in seen} == {expected}


def test_another_width_than_the_networks_is_refused(weights: list[np.ndarray], rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"inputs have shape \(90, 13\), but the network has 12 inputs"):
        sparsednn.infer(sparsednn.Network(weights), compact(dense(rng, 90, 13)))


@pytest.fixture
def stored(rng: np.random.Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray]:
    """A file of 700 rows in parts of 100, and the rows."""
    monkeypatch.setattr(cached_rows, "PART_ROWS", 100)
    x, path = dense(rng), tmp_path / "cache" / "some.rows"
    cached_rows.write_rows(path, compact(x), "again")
    return path, x


def mapped(path: Path, *ids: int, shape: tuple[int, int] = (N, WIDTH)) -> CompactRows | None:
    return cached_rows.map_rows(path, shape, VALUE, np.array(ids or range(N)), "again")


def test_what_is_written_is_mapped(stored: tuple[Path, np.ndarray]) -> None:
    path, x = stored
    rows = mapped(path)
    assert rows is not None
    assert np.array_equal(rows.to_csr().toarray(), x)
    assert [file.name for file in path.parent.iterdir()] == ["some.rows"]


def test_only_parts_that_are_asked_for_are_read(stored: tuple[Path, np.ndarray], caplog: pytest.LogCaptureFixture) -> None:
    path, x = stored
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1  # of the last row
    path.write_bytes(raw)
    rows = mapped(path, *range(600))
    assert rows is not None
    assert np.array_equal(rows[np.arange(600)].toarray(), x[:600])
    assert mapped(path, 0, 699) is None
    assert caplog.messages == [f"{path}: not readable (the checksum of instances from 601 on differs); again"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda raw: b"", "it is cut off", id="an empty file"),
        pytest.param(lambda raw: raw[:50], "it is cut off", id="a file cut off in its starts"),
        pytest.param(lambda raw: raw[:-2], "bytes long, not", id="a file cut off at its end"),
        pytest.param(lambda raw: raw + bytes(2), "bytes long, not", id="a file that is longer"),
        pytest.param(lambda raw: b"x" + raw[1:], "does not hold these rows", id="another file"),
        pytest.param(lambda raw: raw.replace(b"rows 1:", b"rows 2:"), "another version", id="another version"),
        pytest.param(lambda raw: raw[:90] + bytes([raw[90] ^ 4]) + raw[91:], "starts of rows differs", id="a start"),
    ],
)
def test_what_is_damaged_is_told_in_one_line_and_left_out(
    change: Callable[[bytes], bytes], said: str, stored: tuple[Path, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    path, _ = stored
    path.write_bytes(change(path.read_bytes()))
    assert mapped(path, 0) is None
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{path}: not readable (")
    assert said in record.getMessage()
    assert record.getMessage().endswith("); again")


def test_rows_of_another_shape_are_not_taken(stored: tuple[Path, np.ndarray], caplog: pytest.LogCaptureFixture) -> None:
    assert mapped(stored[0], 0, shape=(N, WIDTH + 1)) is None
    assert "does not hold these rows" in caplog.text


def test_a_file_that_is_not_there_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert mapped(tmp_path / "none.rows") is None
    assert mapped(tmp_path / "file" / "below.rows") is None
    assert caplog.messages == []
