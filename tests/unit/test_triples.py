"""Files of triples and ids: what is written is read back, and what is malformed is named by file and line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from sparsednn.data.triples import RECORD, read_ids, read_triples, to_matrix, write_ids, write_triples

LIMIT = 6


def read(path: Path) -> sp.coo_array:
    """Read a file that holds a square matrix of width `LIMIT`."""
    return to_matrix(read_triples(path), LIMIT, LIMIT, "row", "column")


def refusal(reader: Callable[[Path], object], path: Path) -> str:
    """The message with which `reader` refuses a file; one line that begins with the file."""
    with pytest.raises(ValueError, match=str(path)) as caught:
        reader(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


@pytest.fixture
def matrix(rng: np.random.Generator) -> sp.csr_array:
    """Values that text must keep to the last bit."""
    values = rng.normal(size=(LIMIT, LIMIT)).astype(np.float32) * (rng.random((LIMIT, LIMIT)) < 0.5)
    values[0, :4] = [1 / 16, 1e-40, 3.4028235e38, -1 / 3]
    return sp.csr_array(values)


@pytest.mark.parametrize("name", ["a.tsv", "a.bin", "a.tsv.gz"])
@pytest.mark.parametrize("by_column", [True, False], ids=["sorted by column", "sorted by row"])
def test_what_is_written_is_read_back(name: str, by_column: bool, matrix: sp.csr_array, tmp_path: Path) -> None:
    write_triples(tmp_path / name, matrix, by_column=by_column)
    triples = read_triples(tmp_path / name)
    ids = triples.columns if by_column else triples.rows
    assert (np.diff(ids) >= 0).all()
    assert read(tmp_path / name).toarray().tobytes() == matrix.toarray().tobytes()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.tsv", "a.bin"])
def test_gzipped_files_are_read_like_plain_ones(name: str, matrix: sp.csr_array, tmp_path: Path) -> None:
    write_triples(tmp_path / name, matrix, by_column=True)
    zipped = tmp_path / f"{name}.gz"
    zipped.write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    assert read(zipped).toarray().tobytes() == matrix.toarray().tobytes()


def test_files_are_laid_out_as_published(tmp_path: Path) -> None:
    matrix = sp.csr_array(np.array([[0.0625, 0], [0.0625, 0.5]], np.float32))
    write_triples(tmp_path / "a.tsv", matrix, by_column=True)
    write_triples(tmp_path / "ones.tsv", sp.csr_array(np.eye(2, dtype=np.float32)), by_column=False)
    write_triples(tmp_path / "a.bin", matrix, by_column=False)
    assert (tmp_path / "a.tsv").read_text() == "1\t1\t0.0625\n2\t1\t0.0625\n2\t2\t0.5\n"
    assert (tmp_path / "ones.tsv").read_text() == "1\t1\t1\n2\t2\t1\n"
    assert (tmp_path / "a.bin").read_bytes() == np.array([(1, 1, 0.0625), (2, 1, 0.0625), (2, 2, 0.5)], RECORD).tobytes()


@pytest.mark.parametrize("name", ["a.tsv", "a.bin"])
def test_whole_numbers_beyond_64_bits_are_written_right(name: str, tmp_path: Path) -> None:
    matrix = sp.csr_array(np.array([[2.0**70, 0], [0, -(2.0**63)]], np.float32))
    write_triples(tmp_path / name, matrix, by_column=True)
    assert to_matrix(read_triples(tmp_path / name), 2, 2, "row", "column").toarray().tolist() == matrix.toarray().tolist()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("1\t2\t0.5\n6\t6\t1\n", id="plain"),
        pytest.param("1\t2\t0.5\r\n6\t6\t1\r\n", id="line ends of Windows"),
        pytest.param("\n1\t2\t0.5\n\n  \n6\t6\t1\n\n", id="blank lines"),
        pytest.param("6\t6\t1e0\n1\t2\t+.5\n", id="in any order, values in any notation"),
        pytest.param("1\t2\t5D-1\n6\t6\t1d0\n", id="Fortran's exponents"),
        pytest.param("\ufeff1\t2\t0.5\n6\t6\t1\n", id="a byte-order mark"),
    ],
)
def test_text_that_is_well_formed_is_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(text.encode())
    expected = np.zeros((LIMIT, LIMIT))
    expected[0, 1], expected[5, 5] = 0.5, 1
    assert np.array_equal(read(path).toarray(), expected)


def test_a_text_cut_in_its_last_number_is_refused(tmp_path: Path) -> None:
    """0.06 of 0.0625 is a number too."""
    (tmp_path / "a.tsv").write_text("1\t2\t0.5\n\n6\t6\t0.06")
    with pytest.raises(ValueError, match=r"a.tsv:3: the last line has no end, so the file may be truncated"):
        read_triples(tmp_path / "a.tsv")


@pytest.mark.parametrize("blank", ["", "\n  \n\n"], ids=["at the start", "behind blank lines"])
@pytest.mark.parametrize(
    ("lines", "wrong", "expected"),
    [
        pytest.param("1\t1\t1\n2\t2\n", 2, "2 tab-separated fields in place of 3", id="too few fields"),
        pytest.param("2\t2\n1\t1\t1\n", 1, "2 tab-separated fields in place of 3", id="too few fields in the first line"),
        pytest.param("1\t1\t1\n2\t2\t1\t7\n", 2, "4 tab-separated fields in place of 3", id="too many fields"),
        pytest.param("1\t1\t1\t7\n2\t2\t1\n", 1, "4 tab-separated fields", id="too many fields in the first line"),
        pytest.param("1\t1\t1\t7\n2\t2\t1\t7\n", 1, "4 tab-separated fields in place of 3", id="too many fields in all lines"),
        pytest.param("1 1 1\n", 1, "'1 1 1'", id="separated by spaces"),
        pytest.param("row\tcolumn\tvalue\n1\t1\t1\n", 1, "row 'row' is not an id", id="a header"),
        pytest.param("1\t1\t1\nx\t2\t1\n", 2, "row 'x' is not an id", id="text for an id"),
        pytest.param("1\t1\t1\n2\t\t1\n", 2, "column '' is not an id", id="nothing for an id"),
        pytest.param("1\t1\t1\n1.5\t2\t1\n", 2, "row '1.5' is not an id", id="a fraction for an id"),
        pytest.param("1\t1\t1\n2\tTrue\t1\n", 2, "column 'True' is not an id", id="a truth value for an id"),
        pytest.param("TRUE\tTRUE\tTRUE\n", 1, "row 'TRUE' is not an id", id="truth values for ids"),
        pytest.param("1\t1\tTRUE\n2\t2\tFALSE\n", 1, "value 'TRUE' is not a number", id="truth values for values"),
        pytest.param("1\t2.\t1\n2\t2\t1\n", 1, "column '2.' is not an id", id="a point behind an id"),
        pytest.param("1\t1\t1\n2e0\t2\t1\n", 2, "row '2e0' is not an id", id="an exponent for an id"),
        pytest.param("1\t1\t0x10\n", 1, "value '0x10' is not a number", id="a hexadecimal value"),
        pytest.param("1\t1\t1\n2\t2\t1e 5\n", 2, "value '1e 5' is not a number", id="a blank in an exponent"),
        pytest.param("1\t1\t1\n2\t2\t1_000\n", 2, "value '1_000' is not a number", id="a value in Python's notation"),
        pytest.param("1\t1\t1\n2\t2\tabc\n", 2, "value 'abc' is not a number", id="text for a value"),
        pytest.param("1\t1\t1\n2\t2\tNA\n", 2, "value 'NA' is not a number", id="NA for a value"),
        pytest.param("1\t1\t1\n2\t2\t\n", 2, "value '' is not a number", id="nothing for a value"),
        pytest.param("1\t1\t1\n2\t2\tnan\n", 2, "the value nan is not finite", id="NaN"),
        pytest.param("1\t1\t1\n2\t2\t-inf\n", 2, "the value -inf is not finite", id="an infinite value"),
        pytest.param("1\t1\t1\n2\t2\t1e39\n", 2, "is not finite", id="a value beyond float32"),
        pytest.param("1\t1\t1\n-2\t2\t1\n", 2, "row -2 is outside 1..6", id="a negative id"),
        pytest.param("1\t1\t1\n2\t0\t1\n", 2, "column 0 is outside 1..6", id="id 0"),
        pytest.param("1\t1\t1\n\n2\t7\t1\n", 3, "column 7 is outside 1..6", id="an id beyond the range"),
        pytest.param("1\t1\t1\n4294967297\t1\t1\n", 2, "row 4294967297 is outside 1..6", id="an id beyond 32 bits"),
        pytest.param("1\t1\t1\n9223372036854775808\t1\t1\n", 2, "row '9223372036854775808' is not", id="an id beyond 63 bits"),
        pytest.param("1\t1\t1\n99999999999999999999\t1\t1\n", 2, "'99999999999999999999' is not", id="an id beyond 64 bits"),
        pytest.param("1\t2\t1\n\n3\t4\t1\n1\t2\t5\n", 4, "row 1, column 2 is there for the second time", id="a duplicate"),
        pytest.param("1\t1\t1\n\t\t\n", 2, "3 tab-separated fields|is not an id", id="a line of tabs only"),
    ],
)  # fmt: skip
def test_malformed_text_is_refused_naming_file_line_and_value(
    blank: str, lines: str, wrong: int, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(blank + lines)
    message = refusal(read, path)
    assert message.startswith(f":{blank.count(chr(10)) + wrong}: ")
    assert any(part in message for part in expected.split("|"))


RECORDS = np.array([(1, 1, 1), (2, 3, 0.5)], RECORD)
LINES = gzip.compress(b"1\t1\t1\n" * 50)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        pytest.param("a.tsv", b"", ": is empty", id="an empty file"),
        pytest.param("a.tsv", b"\n  \n\n", ": is empty", id="only blank lines"),
        pytest.param("a.tsv.gz", gzip.compress(b""), ": is empty", id="a gzip file of nothing"),
        pytest.param("a.tsv.gz", LINES[:-6], ": cannot be read", id="truncated gzip"),
        pytest.param("a.tsv.gz", b"1\t1\t1\n", ": cannot be read", id="text that is not gzipped"),
        pytest.param("a.tsv", b"1\t1\t1\n2\t2\t\xff\n", ": cannot be read as text: .*0xff", id="a value that is not UTF-8"),
        pytest.param("a.tsv", b"\xff\xfe1\t1\t1\n", ": cannot be read as text: .*0xff", id="UTF-16"),
        pytest.param("a.bin", b"", ": is empty", id="an empty binary file"),
        pytest.param("a.bin", RECORDS.tobytes()[:-1], ": 23 bytes are not a whole number of 12-byte", id="truncated binary"),
        pytest.param("a.bin.gz", gzip.compress(RECORDS.tobytes())[:-6], ": cannot be read", id="truncated gzip of a binary"),
        pytest.param("a.bin.gz", RECORDS.tobytes(), ": cannot be read", id="a binary that is not gzipped"),
    ],
)
def test_damaged_files_are_refused_by_name(name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=expected) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        pytest.param((0, 2, 1), "row 0 is outside 1..6", id="id 0"),
        pytest.param((2, 7, 1), "column 7 is outside 1..6", id="an id beyond the range"),
        pytest.param((2**32 - 1, 2, 1), "row 4294967295 is outside 1..6", id="the largest id there is"),
        pytest.param((2, 2, np.nan), "the value nan is not finite", id="NaN"),
        pytest.param((2, 2, np.inf), "the value inf is not finite", id="an infinite value"),
        pytest.param((1, 1, 5), "row 1, column 1 is there for the second time", id="a duplicate"),
    ],
)
@pytest.mark.parametrize("name", ["a.bin", "a.bin.gz"])
def test_malformed_records_are_refused_naming_file_record_and_value(
    name: str, record: tuple[int, int, float], expected: str, tmp_path: Path
) -> None:
    raw = np.concatenate([RECORDS, np.array([record], RECORD)]).tobytes()
    (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    assert refusal(read, tmp_path / name) == f": record 3: {expected}"


@pytest.mark.parametrize("reader", [read_triples, read_ids])
@pytest.mark.parametrize("name", ["a.tsv", "a.bin"])
def test_a_file_that_is_not_there_is_named(reader: Callable[[Path], object], name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"{name}: no such file"):
        reader(tmp_path / name)


@pytest.mark.parametrize("name", ["ids.tsv", "ids.bin"])
@pytest.mark.parametrize("ids", [[3], [1, 2, 60_000], []], ids=["one", "many", "none"])
def test_ids_that_are_written_are_read_back(name: str, ids: list[int], tmp_path: Path) -> None:
    write_ids(tmp_path / name, np.array(ids, np.int64))
    assert read_ids(tmp_path / name).dtype == np.int64
    assert read_ids(tmp_path / name).tolist() == ids


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("ids.tsv", b"2\n5\n\n", id="a last blank line"),
        pytest.param("ids.tsv", b"\n 2\n  \n5\t\n", id="blank lines and white space"),
        pytest.param("ids.tsv", b"2\r\n5\r\n", id="line ends of Windows"),
        pytest.param("ids.tsv", b"\xef\xbb\xbf2\n5\n", id="a byte-order mark"),
        pytest.param("ids.tsv", b"2\n5", id="a last line without an end"),
        pytest.param("ids.tsv.gz", gzip.compress(b"2\n5\n"), id="gzipped text"),
        pytest.param("ids.bin.gz", gzip.compress(b"\2\0\0\0\5\0\0\0"), id="gzipped binary"),
    ],
)
def test_ids_that_are_well_formed_are_read(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_ids(tmp_path / name).tolist() == [2, 5]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        pytest.param(
            "ids.tsv", b"1\n5\n\n3\n", ":4: id 3: ids must be above 0 and ascend", id="descending behind a blank line"
        ),
        pytest.param("ids.tsv", "1\n\u0662\n".encode(), ":2: '\u0662' is not an id", id="digits that are not ASCII"),
        pytest.param("ids.bin.gz", b"\1\0\0\0", ": cannot be read", id="a binary that is not gzipped"),
        pytest.param("ids.tsv", b"1\n5\n3\n", ":3: id 3: ids must be above 0 and ascend", id="descending ids"),
        pytest.param("ids.tsv", b"1\n1\n", ":2: id 1: ids must be above 0 and ascend", id="an id twice"),
        pytest.param("ids.tsv", b"0\n1\n", ":1: id 0: ids must be above 0 and ascend", id="id 0"),
        pytest.param("ids.tsv", b"1\n-2\n", ":2: '-2' is not an id", id="a negative id"),
        pytest.param("ids.tsv", b"1\nx\n", ":2: 'x' is not an id", id="text"),
        pytest.param("ids.tsv", b"1\n2.5\n", ":2: '2.5' is not an id", id="a fraction"),
        pytest.param("ids.tsv", b"1\n2\t1\n", r":2: '2\t1' is not an id", id="two fields"),
        pytest.param("ids.tsv", b"1\n99999999999999999999\n", ":2: ", id="an id beyond 64 bits"),
        pytest.param("ids.tsv", b"1\n\xff\n", ": cannot be read as text", id="not UTF-8"),
        pytest.param("ids.bin", b"\1\0\0\0\2\0", ": 6 bytes are not a whole number of 4-byte ids", id="truncated binary"),
        pytest.param("ids.bin", b"\2\0\0\0\1\0\0\0", "id 1: ids must be above 0 and ascend", id="descending binary ids"),
        pytest.param("ids.bin", b"\0\0\0\0", "id 0: ids must be above 0 and ascend", id="binary id 0"),
    ],
)
def test_malformed_ids_are_refused(name: str, content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert expected in refusal(read_ids, tmp_path / name)


@pytest.mark.parametrize("name", ["a.tsv", "a.bin", "ids.tsv", "ids.bin"])
@pytest.mark.parametrize("there", [False, True], ids=["no file yet", "an older file"])
def test_a_write_that_fails_halfway_changes_nothing(
    name: str, there: bool, tmp_path: Path, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    path = tmp_path / name
    if there:
        path.write_bytes(b"older")

    def write() -> None:
        if name.startswith("ids"):
            write_ids(path, np.arange(1, 5000))
        else:
            write_triples(path, sp.eye_array(5000, format="csr", dtype=np.float32), by_column=True)

    with full_disk(), pytest.raises(OSError, match=r"File too large|requested and \d+ written"):
        write()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == ([(name, b"older")] if there else [])
