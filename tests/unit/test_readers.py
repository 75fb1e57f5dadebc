"""All file readers against slow ones that use Python's own int() and float(): both read the same, or both refuse."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparsednn.data import text
from sparsednn.data.files import read_inputs
from sparsednn.data.matrix_market import read_matrix_market
from sparsednn.data.triples import read_ids, read_triples, to_matrix
from sparsednn.system.memory import KEEP_FREE_BYTES
from tests.unit import plain_readers as plain

LIMIT = 4
GOOD_NUMBERS = "1 0 0.0625 -3 +.5 5. 1e3 5D-1 1d+2 2.5E-3 -1e-400 007 0.1 16777217 3.4028235e38".split()
BAD_NUMBERS = (
    '0x10|0,5|1.2.3|nan|inf|-Infinity|1e39|1e400|TRUE|False|1_0|\u0661|5e|e5||1 2|--1|+-1|1e5.0|1e 5|5+3|1.0-101|NA|None|"1"|'
    "'1'|1j|.|-|+|1f|1\x00|1\x0b|1\xa0|\ufeff1|0b1|1%|5d5d5|1d1e1|²"
).split("|")
GOOD_IDS = [*map(str, range(1, LIMIT + 1)), "+2", "003", " 4", "1 ", "00000000000000000000002"]
BAD_IDS = (
    "0|-1|7|1.0|1e0|2.|.5|x||TRUE|1_0|99999999999999999999|9223372036854775808|-9223372036854775809|18446744073709551617|4294967297|"
    "²|\uff11|0x1|nan|1 2|1d0|--1|+"
).split("|")
ENDS = (
    ["\n"] * 12
    + ["\r\n"] * 3
    + ["\r", "\n\n", "\n  \n", "\n\t\n", "\x0b\n", "\x0c", "\x85", "\u2028", "\n\ufeff", " \n", "\t\n"]
)


def cases(n: int) -> Iterator[random.Random]:
    """A generator for each of `n` cases; a case can be had again by its number."""
    for seed in range(n):
        yield random.Random(seed)


def usually(rng: random.Random, good: list[str], bad: list[str], how_often: float = 0.97) -> str:
    return rng.choice(good if rng.random() < how_often else bad)


def a_number(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return rng.choice(["{!r}", "{:.3f}", "{:e}", "{:.12g}"]).format(rng.gauss(0, 1) * 10 ** rng.randint(-9, 9))
    return usually(rng, GOOD_NUMBERS, BAD_NUMBERS)


def lines_of(rng: random.Random, fields: Callable[[], list[str]], separators: list[str], n: int) -> str:
    """Lines of fields, with now and then a field too few, a wrong end or a character in a wrong place."""
    out = ""
    for _ in range(n):
        line = fields()
        if rng.random() < 0.02:
            line = rng.choice([line[:-1], [*line, "1"], []])
        out += rng.choice(separators).join(line) + rng.choice(ENDS if rng.random() < 0.3 else ["\n"])
    if out and rng.random() < 0.05:
        at = rng.randrange(len(out))
        out = out[:at] + rng.choice('0.eE+-dD \t\r\n"#x,\x00') + out[at + rng.randint(0, 1) :]
    return out[: -rng.randint(1, 3)] if rng.random() < 0.03 else out


def saved(folder: Path, rng: random.Random, name: str, content: bytes) -> Path:
    """A file of that content, now and then with a byte-order mark, or gzipped."""
    if not name.endswith(".bin") and rng.random() < 0.05:
        content = plain.MARK.encode() + content
    zipped = rng.random() < 0.2
    path = folder / (f"{name}.gz" if zipped else name)
    path.write_bytes(gzip.compress(content, 1) if zipped else content)
    return path


def outcome(read: Callable[[Path], Any], path: Path) -> Any:
    """Return the matrix that a reader finds, to the last bit but for the sign of a zero; None if it refuses."""
    try:
        found = read(path)
    except plain.RefusedError:
        return None
    except ValueError as error:
        message = str(error)
    else:
        return (found.shape, (found + np.float32(0)).tobytes()) if isinstance(found, np.ndarray) else found
    assert message.startswith(f"{path}:"), "a refusal names the file"
    assert "\n" not in message
    return None


def compare(fast: Callable[[Path], Any], slow: Callable[[Path], Any], path: Path) -> bool:
    """Hold one reader against the other; say whether the file is a good one."""
    expected = outcome(slow, path)
    assert outcome(fast, path) == expected, path.read_bytes()
    return expected is not None


def dense(entries: plain.Entries) -> np.ndarray:
    matrix = np.zeros((LIMIT, LIMIT), np.float32)
    for (row, column), value in entries.items():
        matrix[row - 1, column - 1] = value
    return matrix


def a_matrix(path: Path) -> np.ndarray:
    return to_matrix(read_triples(path), LIMIT, LIMIT, "row", "column").toarray()


def check_triples(folder: Path, rng: random.Random) -> bool:
    def fields() -> list[str]:
        return [usually(rng, GOOD_IDS, BAD_IDS), usually(rng, GOOD_IDS, BAD_IDS), a_number(rng)]

    content = lines_of(rng, fields, ["\t"] * 60 + [" \t", "\t ", " ", "\t\t", ","], rng.randint(0, 4))
    path = saved(folder, rng, "a.tsv", content.encode())
    return compare(a_matrix, lambda file: dense(plain.triples(file, LIMIT)), path)


def check_records(folder: Path, rng: random.Random) -> bool:
    def an_id() -> int:
        return rng.randint(1, LIMIT) if rng.random() < 0.95 else rng.choice([0, LIMIT + 1, 2**31, 2**32 - 1])

    values = [struct.pack("<f", rng.gauss(0, 1)), rng.randbytes(4), struct.pack("<I", rng.choice([0x7F800000, 0x7FC00000, 1]))]
    content = b"".join(
        struct.pack("<II", an_id(), an_id()) + rng.choices(values, [20, 4, 1])[0] for _ in range(rng.randint(0, 4))
    )
    path = saved(folder, rng, "a.bin", content[: -rng.randint(1, 11)] if rng.random() < 0.05 else content)
    return compare(a_matrix, lambda file: dense(plain.records(file, LIMIT)), path)


def check_ids(folder: Path, rng: random.Random) -> bool:
    good = [str(i) for i in sorted(rng.sample(range(1, 60), rng.randint(0, 6)))]
    given = iter([text if rng.random() < 0.97 else rng.choice(BAD_IDS) for text in good])
    content = lines_of(rng, lambda: [next(given)], [""], len(good))
    path = saved(folder, rng, "ids.tsv", content.encode())
    return compare(lambda file: read_ids(file).tolist(), plain.ids, path)


def check_matrix_market(folder: Path, rng: random.Random) -> bool:
    form = rng.choice(["coordinate", "coordinate", "array"])
    kind = usually(rng, ["real", "integer", "pattern", "double", "unsigned-integer"], ["complex", "Real", "x"])
    symmetry = usually(rng, ["general", "general", "symmetric", "skew-symmetric"], ["hermitian", "upper"])
    n_rows = rng.randint(1, 3)
    n_columns = n_rows if symmetry != "general" or rng.random() < 0.5 else rng.randint(1, 3)
    skew = symmetry == "skew-symmetric"
    lower = [(i, j) for j in range(1, n_columns + 1) for i in range(1, n_rows + 1) if symmetry == "general" or i >= j + skew]
    n = rng.randint(0, 4) if form == "coordinate" else len(lower)
    n = n if lower else 0

    def fields() -> list[str]:
        ids = [str(i) for i in rng.choice(lower)] if rng.random() < 0.97 else [rng.choice(BAD_IDS), rng.choice(GOOD_IDS)]
        value = [] if kind == "pattern" else [str(rng.randint(-9, 9)) if "integer" in kind else a_number(rng)]
        if "integer" in kind and rng.random() < 0.05:
            value = [rng.choice([*GOOD_NUMBERS, *BAD_NUMBERS])]
        return [*(ids if form == "coordinate" else []), *value]

    head = (
        f"%%MatrixMarket matrix {form} {kind} {symmetry}"
        if rng.random() < 0.98
        else rng.choice(["%%MatrixMarket", "1 1 1", ""])
    )
    sizes = [n_rows, n_columns, *([n + (rng.random() < 0.03)] if form == "coordinate" else [])]
    content = (
        head + rng.choice(["\n", "\r\n", "\n% remark\n%\n", "\n\n"]) + " ".join(map(str, sizes)) + rng.choice(["\n", " \n"])
    )
    content += lines_of(rng, fields, [" "] * 30 + ["\t", "  ", " \t ", ",", ", "], n)
    path = saved(folder, rng, "a.mtx", content.encode())
    return compare(lambda file: read_matrix_market(file).toarray(), plain.matrix_market, path)


CHECKS = [check_triples, check_records, check_ids, check_matrix_market]


def run(check: Callable[[Path, random.Random], bool], n: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of files must come up, and lines that lie across the blocks that are read."""
    good = 0
    for rng in cases(n):
        monkeypatch.setattr(text, "BLOCK_BYTES", rng.choice([1, 5, 40, 1 << 20]))
        good += check(folder, rng)
    assert n / 5 < good < n * 4 / 5


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_a_reader_finds_what_a_slow_one_finds_or_both_refuse(
    check: Callable[[Path, random.Random], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(check, 500, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_a_reader_and_a_slow_one_agree_on_very_many_files(
    check: Callable[[Path, random.Random], bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(check, 10_000, tmp_path, monkeypatch)


@pytest.mark.parametrize("value", [*GOOD_NUMBERS, *BAD_NUMBERS])
def test_each_notation_of_a_number_is_read_right_or_refused_in_every_text_format(value: str, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(f"1\t2\t{value}\n", encoding="utf-8")
    compare(a_matrix, lambda file: dense(plain.triples(file, LIMIT)), tmp_path / "a.tsv")
    for form, line in (("coordinate", "1 1 1\n1 1 "), ("array", "1 1\n")):
        (tmp_path / "a.mtx").write_text(f"%%MatrixMarket matrix {form} real general\n{line}{value}\n", encoding="utf-8")
        assert compare(lambda file: read_matrix_market(file).toarray(), plain.matrix_market, tmp_path / "a.mtx") == (
            value in GOOD_NUMBERS
        )


@pytest.mark.parametrize(("instances", "n_bytes"), [(None, 8_000_000), (1_000_000, 16_000_000)])
def test_instances_up_to_the_largest_id_must_fit(
    instances: int | None, n_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ones are copied out of all that there are."""
    path = tmp_path / "inputs.tsv"
    path.write_text("1000000\t1\t1\n")
    monkeypatch.setattr("sparsednn.system.memory.available_bytes", lambda: KEEP_FREE_BYTES + n_bytes - 1)
    with pytest.raises(MemoryError, match=r"1,000,000 instances needs .* The largest id is at .*inputs.tsv:1"):
        read_inputs(path, 4, instances)
    monkeypatch.setattr("sparsednn.system.memory.available_bytes", lambda: KEEP_FREE_BYTES + n_bytes)
    assert read_inputs(path, 4, instances).shape == (1_000_000, 4)
