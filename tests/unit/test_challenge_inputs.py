"""The challenge's inputs are the published ones, and a cache or an installation that is damaged is noticed."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import scipy.sparse as sp

import sparsednn
from sparsednn.data import challenge_inputs as module
from sparsednn.data.cached_rows import write_rows
from sparsednn.data.compact_rows import CompactRows


@pytest.fixture(scope="module")
def rows(challenge_rows: sp.csr_array) -> CompactRows:
    """The rows of 1024 neurons as they are cached, or built where the user's cache cannot be written."""
    return module.compact_challenge_inputs(1024)


class Builder:
    """Stands in for the seconds of work of `_build`, and counts how often it was asked."""

    def __init__(self, rows: CompactRows) -> None:
        self.rows, self.builds = rows, 0

    def __call__(self, neurons: int, progress: object) -> CompactRows:
        assert neurons == 1024
        self.builds += 1
        return self.rows


@pytest.fixture
def builder(rows: CompactRows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """A cache folder that is not there yet, and the stand-in."""
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path / "cache"))
    stand_in = Builder(rows)
    monkeypatch.setattr(module, "_build", stand_in)
    return stand_in


def first_rows_are_right(challenge_rows: sp.csr_array) -> bool:
    """Whether the first 20 instances, asked for now, are the real ones."""
    rows = sparsednn.challenge_inputs(1024, 20)
    return rows.shape == (20, 1024) and (rows != challenge_rows[:20]).nnz == 0


def test_the_inputs_of_1024_neurons_have_the_published_nonzero_count(challenge_rows: sp.csr_array) -> None:
    assert challenge_rows.shape == (60_000, 1024)
    assert challenge_rows.nnz == 6_374_505


@pytest.mark.slow
def test_the_inputs_of_4096_neurons_have_the_published_nonzero_count() -> None:
    assert sparsednn.challenge_inputs(4096).nnz == 25_019_051


def test_entries_are_zero_or_one_and_in_canonical_order(challenge_rows: sp.csr_array) -> None:
    assert challenge_rows.dtype == np.float32
    assert (challenge_rows.data == 1).all()
    steps = np.diff(challenge_rows.indices.astype(np.int64))
    starts = challenge_rows.indptr[1:-1]
    within = np.ones(len(steps), bool)
    within[starts[(starts > 0) & (starts < challenge_rows.nnz)] - 1] = False
    assert (steps[within] > 0).all()
    assert challenge_rows.indices.min() >= 0
    assert challenge_rows.indices.max() < 1024


@pytest.mark.parametrize("instances", [1, 7, 2001])
def test_fewer_instances_are_the_prefix_of_the_whole(instances: int, challenge_rows: sp.csr_array) -> None:
    rows = sparsednn.challenge_inputs(1024, instances)
    whole = challenge_rows[:instances]
    assert rows.shape == (instances, 1024)
    assert np.array_equal(rows.indptr, whole.indptr)
    assert np.array_equal(rows.indices, whole.indices)


def test_the_first_instances_look_like_their_images(challenge_rows: sp.csr_array) -> None:
    """Each image resampled on its own differs from the data set's long transform only close to the threshold."""
    images = module.mnist_images()[:50].astype(np.float64)
    resampled = scipy.signal.resample(scipy.signal.resample(images, 32, axis=1), 32, axis=2)
    expected = np.abs(resampled) > module.THRESHOLDS[1024]
    pixels = challenge_rows[:50].toarray().reshape(50, 32, 32).transpose(0, 2, 1) != 0
    assert (pixels != expected).mean(axis=(1, 2)).max() < 0.02
    assert (pixels.transpose(0, 2, 1) != expected).mean() > 0.05


@pytest.mark.parametrize(
    ("neurons", "instances", "message"),
    [
        pytest.param(2048, 10, "neurons=2048: .*1024, 4096, 16384, 65536", id="a width that the challenge does not have"),
        pytest.param(1024, 0, "instances=0: the challenge has 1 to 60000", id="no instances"),
        pytest.param(1024, -1, "instances=-1: ", id="a negative number of instances"),
        pytest.param(1024, 60_001, "instances=60001: the challenge has 1 to 60000", id="more instances than there are"),
    ],
)
def test_what_the_challenge_does_not_have_is_refused(neurons: int, instances: int, message: str, builder: Builder) -> None:
    with pytest.raises(ValueError, match=message):
        sparsednn.challenge_inputs(neurons, instances)
    assert builder.builds == 0


def test_inputs_are_built_once_and_stored(builder: Builder, challenge_rows: sp.csr_array) -> None:
    assert first_rows_are_right(challenge_rows)
    assert module.cache_path(1024).is_file()
    assert first_rows_are_right(challenge_rows)
    assert builder.builds == 1
    assert [path.name for path in module.cache_path(1024).parent.iterdir()] == ["challenge-inputs-1024.rows"]


def one_entry_less(rows: CompactRows) -> CompactRows:
    """The right shape, and one nonzero too few."""
    indptr = rows.indptr.copy()
    indptr[-1] -= 1
    return CompactRows(indptr, rows.indices[:-1], rows.shape[1])


def flipped(path: Path, at: int) -> None:
    """Flip a bit of a file."""
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    "corrupt",
    [
        pytest.param(lambda path, _: path.write_bytes(path.read_bytes()[:-1000]), id="a truncated file"),
        pytest.param(lambda path, _: path.write_bytes(b""), id="an empty file"),
        pytest.param(lambda path, _: path.write_bytes(bytes(range(256)) * 40), id="random bytes"),
        pytest.param(lambda path, _: flipped(path, 10), id="a flipped bit in what the file says of itself"),
        pytest.param(lambda path, _: flipped(path, 1000), id="a flipped bit in the starts of rows"),
        pytest.param(lambda path, _: flipped(path, 240_132), id="a flipped bit in a checksum"),
        pytest.param(lambda path, _: flipped(path, 300_000), id="a flipped bit in an id of the first instances"),
        pytest.param(lambda path, rows: write_rows(path, rows.taken(np.arange(59_999)), ""), id="an instance too few"),
        pytest.param(lambda path, rows: write_rows(path, one_entry_less(rows), ""), id="a nonzero too few"),
    ],
)
def test_a_damaged_cache_is_reported_and_built_anew(
    corrupt: Callable[[Path, CompactRows], None],
    builder: Builder,
    challenge_rows: sp.csr_array,
    rows: CompactRows,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = module.cache_path(1024)
    write_rows(path, rows, "")
    corrupt(path, rows)
    assert first_rows_are_right(challenge_rows)
    assert builder.builds == 1
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(path) in warning.getMessage()
    assert warning.getMessage().endswith("building it anew")
    assert first_rows_are_right(challenge_rows)
    assert builder.builds == 1


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("file", id="a regular file"),
        pytest.param("file/below/it", id="a path below a regular file"),
        pytest.param("x" * 300, id="a name that is too long"),
    ],
)
def test_a_cache_folder_that_cannot_be_written_is_reported_and_done_without(
    name: str,
    builder: Builder,
    tmp_path: Path,
    challenge_rows: sp.csr_array,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path / name))
    assert first_rows_are_right(challenge_rows)
    assert builder.builds == 1
    assert "cannot be written" in caplog.records[-1].getMessage()
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_failed_write_leaves_no_temporary_files(
    builder: Builder,
    challenge_rows: sp.csr_array,
    full_disk: Callable[[], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with full_disk():
        assert first_rows_are_right(challenge_rows)
    assert "cannot be written (File too large)" in caplog.text
    assert list(module.cache_path(1024).parent.iterdir()) == []


def test_missing_images_are_reported_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARSEDNN_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_MNIST", tmp_path / "not-there.gz")
    with pytest.raises(FileNotFoundError, match=r"not-there.gz: the MNIST images .* are missing; install the package again"):
        sparsednn.challenge_inputs(1024, 1)
    assert list(tmp_path.iterdir()) == []


def published_gzip() -> bytes:
    return module._MNIST.read_bytes()


HEADER = np.array([0x803, 60_000, 28, 28], ">u4").tobytes()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: b"", id="an empty file"),
        pytest.param(lambda: b"no gzip at all", id="no gzip file"),
        pytest.param(lambda: published_gzip()[:1000], id="a truncated file"),
        pytest.param(lambda: gzip.compress(HEADER + bytes(100)), id="too few images"),
        pytest.param(lambda: gzip.compress(b"something else that is long enough"), id="another file"),
        pytest.param(lambda: gzip.compress(b"abc"), id="less than a header"),
    ],
)
def test_damaged_images_are_reported_with_the_way_out(
    content: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(content())
    monkeypatch.setattr(module, "_MNIST", path)
    with pytest.raises(ValueError, match=r"images.gz: .*; install the package again"):
        module.mnist_images()
