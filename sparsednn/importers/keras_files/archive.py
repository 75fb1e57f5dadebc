"""Reads what Keras has saved: a configuration in JSON, and arrays in HDF5. Links to other files are refused."""

from __future__ import annotations

import importlib
import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sparsednn.errors import DataError, MissingFileError, MissingPackageError, OptionTypeError, SparseDnnError
from sparsednn.importers.onnx_graph.tensors import WAY_OUT, shown
from sparsednn.system.memory import require

CONFIG, WEIGHTS = "config.json", "model.weights.h5"


class KerasArchive:
    """One file. A context manager.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    model : dict
        The configuration: class_name and config.
    """

    def __init__(self, path: Any) -> None:
        if not isinstance(path, str | Path):
            raise OptionTypeError(f"path: the path of a .keras or .h5 file is needed, not {type(path).__name__}")
        self.name = str(path)
        source = Path(path)
        if not source.is_file():
            raise MissingFileError(f"{path}: {'is a folder, no file of Keras' if source.is_dir() else 'no such file'}")
        try:
            self._h5py: Any = importlib.import_module("h5py")
        except ImportError as error:
            raise MissingPackageError(f"from_keras needs the package h5py ({error}): pip install 'sparsednn[keras]'") from error
        self._zipped = zipfile.is_zipfile(source)
        self._file: Any = None
        try:
            self.model = self._model(self._open_zip(source) if self._zipped else self._open_h5(source))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        """Return this."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the file."""
        self.close()

    def weights(self, layers: Sequence[tuple[str, str]]) -> list[list[NDArray[Any]]]:
        """Return the arrays of all layers, in order; layers : (name, class) of each.

        Raises
        ------
        ValueError, MemoryError
            If an array is damaged, lies in another file, or does not fit into memory.
        """
        try:
            return self._zip_weights(layers) if self._zipped else [self._h5_weights(name) for name, _ in layers]
        except SparseDnnError:
            raise
        except Exception as error:  # HDF5 raises nearly anything on a damaged file
            raise self._damaged(error) from error

    def _model(self, text: str) -> dict[str, Any]:
        try:
            model = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self.name}: its configuration is no JSON: {error}") from error
        if not isinstance(model, dict) or not isinstance(model.get("config"), dict):
            raise DataError(f"{self.name}: its configuration is of no model")
        return model

    def _open_zip(self, source: Path) -> Any:
        try:
            with zipfile.ZipFile(source) as archive:
                for name in (CONFIG, WEIGHTS):
                    require(2 * archive.getinfo(name).file_size, f"{self.name}: {name}", WAY_OUT)
                self._file = self._h5py.File(io.BytesIO(archive.read(WEIGHTS)), "r")
                return archive.read(CONFIG).decode("utf-8", "replace")
        except KeyError as error:
            raise DataError(f"{self.name}: no file of Keras: {error.args[0]}") from error
        except SparseDnnError:
            raise
        except Exception as error:
            raise self._damaged(error) from error

    def _open_h5(self, source: Path) -> Any:
        try:
            self._file = self._h5py.File(source, "r")
            text = self._file.attrs.get("model_config")
        except Exception as error:
            raise self._damaged(error) from error
        if text is None:
            raise DataError(f"{self.name}: holds weights without their model; load them in Keras, and save the whole model")
        return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)

    def _damaged(self, error: Exception) -> DataError:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        return DataError(f"{self.name}: no file of Keras, or a damaged one: {reason}")

    def _zip_weights(self, layers: Sequence[tuple[str, str]]) -> list[list[NDArray[Any]]]:
        """Return the arrays of a .keras file, which calls layers by their classes, with a number from the second on."""
        seen: Counter[str] = Counter()
        found = []
        for _, kind in layers:
            plain = _snake_case(kind)
            name = f"{plain}_{seen[plain]}" if seen[plain] else plain
            seen[plain] += 1
            group = self._member(f"layers/{name}/vars")
            count = 0 if group is None else len(group)
            found.append([self._array(f"layers/{name}/vars/{number}") for number in range(count)])
        return found

    def _h5_weights(self, layer: str) -> list[NDArray[Any]]:
        group = self._member(f"model_weights/{layer}")
        names = [] if group is None else [_text(name) for name in group.attrs.get("weight_names", [])]
        return [self._array(f"model_weights/{layer}/{name}") for name in names]

    def _member(self, path: str) -> Any:
        """Return a member by its path, None if there is none; follow no link."""
        member = self._file
        for part in path.split("/"):
            link = member.get(part, getlink=True) if isinstance(member, self._h5py.Group) else None
            if link is None:
                return None
            if not isinstance(link, self._h5py.HardLink):
                raise DataError(f"{self.name}: {shown(path)} is a link to elsewhere, which is not followed")
            member = member[part]
        return member

    def _array(self, path: str) -> NDArray[Any]:
        data = self._member(path)
        if not isinstance(data, self._h5py.Dataset) or data.dtype.kind not in "fiu":
            raise DataError(f"{self.name}: {shown(path)} is no array of numbers")
        if data.external or data.is_virtual:
            raise DataError(f"{self.name}: {shown(path)} lies in another file, which is not read")
        require(2 * data.size * data.dtype.itemsize, f"{self.name}: {shown(path)} of the shape {data.shape}", WAY_OUT)
        return np.asarray(data[()])


def _snake_case(name: str) -> str:
    """Return a class's name as Keras calls its layers in a file: Conv2D is conv2d, ReLU is re_lu."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
