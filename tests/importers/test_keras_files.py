"""Files of Keras that are old, damaged, or want what lies elsewhere: read by h5py alone."""

from __future__ import annotations

import importlib
import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsednn
from sparsednn.errors import SparseDnnError
from tests.importers.keras_models import needs_h5py, refused

ENTRIES: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("InputLayer", {"batch_input_shape": [None, 3], "name": "in"}, []),
    ("Dense", {"name": "fc", "units": 3, "activation": "relu", "use_bias": True}, [[["in", 0, 0, {}]]]),
    ("Add", {"name": "sum"}, [[["in", 0, 0, {}], ["fc", 0, 0, {}]]]),
]
OLD = {
    "class_name": "Functional",
    "config": {
        "name": "old",
        "layers": [
            {"class_name": kind, "config": config, "name": config["name"], "inbound_nodes": inbound}
            for kind, config, inbound in ENTRIES
        ],
        "input_layers": [["in", 0, 0]],
        "output_layers": [["sum", 0, 0]],
    },
}
"""A model as Keras 2 describes it."""

KERNEL, BIAS = np.random.default_rng(1).normal(size=(3, 3)).astype("f4"), np.float32([0.5, -0.25, 0.125])


def old_file(path: Path, model: Any = OLD, change: Callable[[Any], Any] | None = None) -> Path:
    """A file as Keras 2 saved it."""
    h5py = importlib.import_module("h5py")
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = model if isinstance(model, str) else json.dumps(model)
        group = file.create_group("model_weights/fc")
        group.attrs["weight_names"] = [b"fc/kernel:0", b"fc/bias:0"]
        group["fc/kernel:0"], group["fc/bias:0"] = KERNEL, BIAS
        if change is not None:
            change(group)
    return path


@needs_h5py
def test_files_of_keras_2_are_read(tmp_path: Path) -> None:
    model = sparsednn.from_keras(str(old_file(tmp_path / "old.h5")))
    x = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    with model.compile(threads=1) as compiled:
        np.testing.assert_allclose(compiled(x), x + np.maximum(x @ KERNEL + BIAS, 0), rtol=1e-5, atol=1e-6)


@needs_h5py
def test_links_to_elsewhere_are_not_followed(tmp_path: Path) -> None:
    h5py = importlib.import_module("h5py")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["kernel"] = KERNEL
    np.zeros(9, "f4").tofile(tmp_path / "secret.bin")

    def link(group: Any) -> None:
        del group["fc/kernel:0"]
        group["fc/kernel:0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/kernel")

    def outside(group: Any) -> None:
        del group["fc/kernel:0"]
        group.create_dataset("fc/kernel:0", (3, 3), "f4", external=[(str(tmp_path / "secret.bin"), 0, 36)])

    def virtual(group: Any) -> None:
        del group["fc/kernel:0"]
        layout = h5py.VirtualLayout((3, 3), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "kernel", shape=(3, 3))
        group.create_virtual_dataset("fc/kernel:0", layout)

    def text(group: Any) -> None:
        del group["fc/kernel:0"]
        group["fc/kernel:0"] = "text"

    for change, message in (
        (link, "is a link to elsewhere, which is not followed"),
        (outside, "lies in another file, which is not read"),
        (virtual, "lies in another file, which is not read"),
        (text, "is no array of numbers"),
    ):
        refused(old_file(tmp_path / "model.h5", change=change), message)


@needs_h5py
def test_damaged_files_are_refused_in_a_line(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")
    refused(tmp_path / "none.keras", "no such file")
    refused(None, "path of a .keras or .h5 file is needed, not NoneType")
    (tmp_path / "text.keras").write_text("no model")
    refused(tmp_path / "text.keras", "no file of Keras, or a damaged one")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    refused(tmp_path / "empty.keras", "no file of Keras: ")
    with zipfile.ZipFile(tmp_path / "cut.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(OLD))
        archive.writestr("model.weights.h5", old_file(tmp_path / "old.h5").read_bytes()[:300])
    refused(tmp_path / "cut.keras", "no file of Keras, or a damaged one")
    refused(old_file(tmp_path / "a.h5", "{"), "its configuration is no JSON")
    refused(old_file(tmp_path / "b.h5", [1]), "its configuration is of no model")
    changes = [
        ('["fc", 0, 0, {}]', '["no", 0, 0, {}]'),
        ('"relu"', '{"class_name": "function", "config": "mine"}'),
        ('[["sum", 0, 0]]', "3"),
        ('"Dense"', '"Conv2D"'),
        ('"Dense"', "7"),
        ("[null, 3]", '["a"]'),
        ('"name": "sum", "inbound_nodes"', '"name": "fc", "inbound_nodes"'),
        ('[["in", 0, 0, {}], ["fc", 0, 0, {}]]', '[["in", 0, 0, {}]]'),
        ('[["in", 0, 0, {}]]', '[["sum", 0, 0, {}]]'),
        ('"Functional"', '"Mine"'),
    ]
    for number, (old, new) in enumerate(changes):
        changed = json.dumps(OLD).replace(old, new)
        assert changed != json.dumps(OLD)
        refused(old_file(tmp_path / f"{number}.h5", changed), f"{number}.h5: ")


@needs_h5py
def test_bytes_changed_anywhere_give_a_line_or_a_model(tmp_path: Path) -> None:
    whole, rng = np.frombuffer(old_file(tmp_path / "old.h5").read_bytes(), np.uint8), np.random.default_rng(3)
    messages = []
    for number in range(60):
        data = whole.copy()
        data[rng.integers(0, len(data), 4)] = rng.integers(0, 256, 4)
        (tmp_path / f"{number}.h5").write_bytes(data.tobytes())
        try:
            sparsednn.from_keras(tmp_path / f"{number}.h5")
        except SparseDnnError as error:
            messages.append(str(error))
    assert messages
    assert not [message for message in messages if "\n" in message]


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.keras").write_bytes(io.BytesIO().getvalue())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"from_keras needs the package h5py .*sparsednn\[keras\]"):
        sparsednn.from_keras(tmp_path / "model.keras")
