"""Folders that are no sound compiled network: one line each, with the way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsednn
from backends.numba_cpu.layout.files import FORMAT
from sparsednn.engine import saved
from sparsednn.errors import OptionError, SparseDnnError, StorageError
from tests.unit.test_saved import MANY, NETWORK, X, folder

__all__ = ["folder"]


def damage(path: Path, at: int = -1) -> None:
    """Turn over one bit of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def at_of(folder: Path, file: str, array: str, entry: int) -> int:
    """Return where an entry of an array is in a file."""
    content = json.loads(json.loads((folder / saved.HEADER).read_text())["content"])
    one = content["layouts"][file]["arrays"][array]
    return int(one["at"] + entry * np.dtype(one["dtype"]).itemsize)


def test_a_damaged_layer_is_named_when_it_is_first_read_or_at_once_if_asked_for(folder: Path) -> None:
    damage(folder / "direct.bin", at_of(folder, "direct", "slices.weights", 500))
    with pytest.raises(StorageError, match=r"direct\.bin: layer 2, slices\.weights is damaged .*save it again"):
        sparsednn.load(folder, verify=True)
    with sparsednn.load(folder, threads=1) as loaded:
        assert loaded.infer(MANY).categories.tolist() == list(range(1, 91)), "the other layout is sound"
        for _ in range(2):
            with pytest.raises(StorageError, match=r"layer 2, slices\.weights"):
                loaded(X)


def test_other_damaged_files_are_named_by_what_reads_them(folder: Path) -> None:
    damage(folder / "plan.bin")
    with sparsednn.load(folder, threads=1) as loaded:
        assert loaded(X).shape == (3, 3)
        with pytest.raises(StorageError, match=r"plan\.bin: .* is damaged"):
            loaded.infer(MANY)
    damage(folder / "outline.bin")
    with pytest.raises(StorageError, match=r"outline\.bin: .* is damaged"):
        sparsednn.load(folder, verify=True)
    with sparsednn.load(folder, threads=1) as loaded, pytest.raises(StorageError, match=r"outline\.bin: .* is damaged"):
        loaded(X)


def change_header(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change what a header says, with a checksum that is right."""
    whole = json.loads((folder / saved.HEADER).read_text())
    content = json.loads(whole["content"])
    change(content)
    whole["content"] = json.dumps(content)
    whole["sha256"] = sha256(whole["content"].encode()).hexdigest()[: saved.DIGEST_DIGITS]
    (folder / saved.HEADER).write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda folder: damage(folder / saved.HEADER, 300), "header.json: (is damaged|cannot)", id="header"),
        pytest.param(lambda folder: (folder / saved.HEADER).write_text("{"), "header.json: cannot be read", id="cut header"),
        pytest.param(lambda folder: (folder / saved.HEADER).write_text("[]"), "is not of a compiled network", id="other JSON"),
        pytest.param(lambda folder: (folder / saved.HEADER).unlink(), r"has no header\.json", id="no header"),
        pytest.param(lambda folder: (folder / "plan.bin").unlink(), r"plan\.bin: is cut or missing", id="no file"),
        pytest.param(
            lambda folder: (folder / "direct.bin").write_bytes((folder / "direct.bin").read_bytes()[:-7]),
            r"direct\.bin: is cut or missing \([\d,]+ bytes long, not [\d,]+\)", id="cut file",
        ),
        pytest.param(
            lambda folder: change_header(folder, lambda header: header.update(layout_version=FORMAT + 1)),
            f"has layout version {FORMAT + 1}, and this package {FORMAT}; compile the network and save it again", id="layouts",
        ),
        pytest.param(
            lambda folder: change_header(folder, lambda header: header.update(byte_order="middle")),
            "byte order middle, and this machine has", id="byte order",
        ),
        pytest.param(
            lambda folder: change_header(folder, lambda header: header.update(backend="scipy_reference")),
            "is of backend=scipy_reference", id="backend",
        ),
        pytest.param(
            lambda folder: change_header(folder, lambda header: header["options"]["run"].update(speed=3)),
            "options that this version does not know", id="options",
        ),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_loaded_are_refused_in_a_line(spoil: Callable[[Path], Any], message: str, folder: Path) -> None:
    spoil(folder)
    with pytest.raises(SparseDnnError, match=message) as caught:
        sparsednn.load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_of_another_version_is_refused(folder: Path) -> None:
    whole = json.loads((folder / saved.HEADER).read_text())
    (folder / saved.HEADER).write_text(json.dumps(whole | {"version": 99}))
    with pytest.raises(StorageError, match="has version 99 of the format, not 1; compile the network and save it again"):
        sparsednn.load(folder)


def test_other_paths_are_refused_with_the_right_call(tmp_path: Path) -> None:
    model, text = tmp_path / "net.safetensors", tmp_path / "file"
    model.write_bytes(b"")
    text.write_text("")
    for path, message in (
        (model, "sparsednn.load_model reads it"),
        (text, "is a file; give the folder that CompiledNetwork.save has written"),
        (tmp_path / "nowhere", "no such folder; CompiledNetwork.save writes one"),
        (tmp_path, "no compiled network was saved there"),
    ):
        with pytest.raises(SparseDnnError, match=message):
            sparsednn.load(path)
    with pytest.raises(FileNotFoundError):
        sparsednn.load(tmp_path / "nowhere")
    with sparsednn.compile(NETWORK) as compiled:
        with pytest.raises(OptionError, match=r"is the name of a model in one file, which Model\.save writes"):
            compiled.save(model)
        for path in (text, tmp_path):
            with pytest.raises(StorageError, match="has something else in it; give a new folder"):
                compiled.save(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "net.safetensors"]
