"""The reader of packed layers: the layers that it reads next, gives up, and finds damaged; a test takes its steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backends.numba_cpu.layout import files as packed_files
from backends.numba_cpu.layout import reader
from backends.numba_cpu.layout.files import Segments
from backends.numba_cpu.layout.kernels.streaming import DAMAGED, NOT_READY, READY
from backends.numba_cpu.layout.reader import IDLE, LayerReader


def segments(tmp_path: Path, n_layers: int = 8, length: int = 4096) -> list[Segments]:
    """Layers of so many float32 in a file."""
    values = np.arange(n_layers * length, dtype=np.float32)
    values.tofile(tmp_path / "values.bin")
    array = np.memmap(tmp_path / "values.bin", np.float32, mode="c")
    at = np.arange(n_layers) * length
    checksums = [packed_files.zlib.crc32(array[start : start + length].data) for start in at]
    return [Segments("values", array, at, np.full(n_layers, length), np.array(checksums, np.uint32))]


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers whose thread ends at once: a test takes the steps."""
    monkeypatch.setattr(reader, "_read_on", lambda *_: None)


@pytest.mark.usefixtures("by_hand")
def test_what_comes_next_is_read_first_and_what_is_too_much_is_given_up(tmp_path: Path) -> None:
    stored = segments(tmp_path)
    one = stored[0].entries(0).nbytes
    read = LayerReader(stored, 2, tmp_path, keep_bytes=4 * one)
    read.begin(0)
    while read.step():
        pass
    assert read.ready.tolist() == [READY] * 3 + [NOT_READY] * 5
    read.at[:, 0] = [1, 5]
    assert read.step()
    assert read.ready.tolist() == [READY] * 3 + [NOT_READY] * 2 + [READY] + [NOT_READY] * 2  # sooner needed than layer 4
    while read.step():
        pass
    assert read.ready.tolist() == [NOT_READY] + [READY] * 3 + [NOT_READY] + [READY] * 3  # all that is near; layer 1 is too much
    read.at[:, 0] = [0, IDLE]
    while read.step():
        pass
    assert read.ready.sum() == 4
    assert read.ready[:3].tolist() == [READY] * 3
    assert (read.record().different_layers_read, read.record().layers_read) == (7, 8)
    assert read.record().bytes_read == 8 * one
    assert stored[0].entries(7).tolist() == list(range(7 * 4096, 8 * 4096))  # given up or not, it can be used


@pytest.mark.usefixtures("by_hand")
def test_counting_starts_again_without_the_layers(tmp_path: Path) -> None:
    read = LayerReader(segments(tmp_path), 1, tmp_path)
    read.begin(0)
    while read.step():
        pass
    read.end(0, 0.5)
    assert read.record().waited_s == 0.5
    read.reset()
    assert not read.ready.any()
    assert (read.record().layers_read, read.record().bytes_read, read.record().waited_s) == (0, 0, 0)
    assert read.record().overlap is None
    assert not read.step()


@pytest.mark.usefixtures("by_hand")
def test_a_damaged_layer_stays_so(tmp_path: Path) -> None:
    stored = segments(tmp_path)
    stored[0].checksums[1] += 1
    read = LayerReader(stored, 1, tmp_path, keep_bytes=0)
    read.begin(0)
    while read.step():
        pass
    read.end(0, 0)
    read.step()
    assert read.ready.tolist() == [NOT_READY, DAMAGED] + [NOT_READY] * 6
    with pytest.raises(OSError, match="layer 2 is damaged"):
        read.require_undamaged()
