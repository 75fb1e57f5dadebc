"""Writes folders as DistSparseDNN's own scripts do, and computes classes as that program does, line by line in plain Python."""

from __future__ import annotations

import math
import struct
from collections import defaultdict
from pathlib import Path

import numpy as np

Entries = list[tuple[int, int, float]]
SMALLEST = np.float32(2.0**-126)


def write_text(folder: Path, weights: list[np.ndarray], biases: list[np.ndarray], x: np.ndarray, classes: list[int]) -> None:
    """Write a folder as that program's generator of networks does: six decimals, no zeros, a line for each prediction."""
    for number, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
        lines = [f"{i} {j} {matrix[i, j]:f}\n" for i, j in zip(*np.nonzero(matrix), strict=True)]
        (folder / f"weights{number}.txt").write_text("".join(lines))
        (folder / f"bias{number}.txt").write_text("".join(f"{j} {b:f}\n" for j, b in enumerate(bias) if b != 0))
    (folder / "input.txt").write_text("".join(f"{i + 1} {j} {x[i, j]:f}\n" for i, j in zip(*np.nonzero(x), strict=True)))
    (folder / "predictions.txt").write_text("".join(f"{i} {c}\n" for i, c in enumerate(classes, start=1)))


def to_binary(text: Path, binary: Path) -> None:
    """Convert a folder as that program's converter does: each number of a line in four bytes."""
    for path in text.glob("*.txt"):
        kind = {"w": "<IIf", "b": "<If", "i": "<IIf", "p": "<II"}[path.name[0]]
        records = [struct.pack(kind, *_numbers(line, kind)) for line in path.read_text().splitlines()]
        (binary / f"{path.stem}.bin").write_bytes(b"".join(records))


def _numbers(line: str, kind: str) -> list[float]:
    return [float(text) if letter == "f" else int(text) for text, letter in zip(line.split(), kind[1:], strict=True)]


def classes(folder: Path, n_layers: int, n_instances: int, classifier: str) -> list[int]:
    """Return the class of each instance: sums of float32 in ascending order of the inputs, one product after the other."""
    rows = _rows((folder / "input.txt").read_text())
    layers = []
    for number in range(n_layers):
        bias = [line.split() for line in (folder / f"bias{number}.txt").read_text().splitlines()]
        layers.append((_rows((folder / f"weights{number}.txt").read_text()), {int(j): np.float32(b) for j, b in bias}))
    found = []
    for instance in range(1, n_instances + 1):
        values = rows.get(instance, {})
        for number, (weights, bias) in enumerate(layers):
            values = _layer(values, weights, bias, last=number == n_layers - 1)
        found.append(_class(values, classifier))
    return found


def _rows(text: str) -> dict[int, dict[int, np.float32]]:
    rows: dict[int, dict[int, np.float32]] = defaultdict(dict)
    for line in text.splitlines():
        row, column, value = line.split()
        rows[int(row)][int(column)] = np.float32(value)
    return rows


def _layer(
    values: dict[int, np.float32], weights: dict[int, dict[int, np.float32]], bias: dict[int, np.float32], *, last: bool
) -> dict[int, np.float32]:
    sums: dict[int, np.float32] = {}
    for row in sorted(values):
        for column, weight in weights.get(row, {}).items():
            sums[column] = np.float32(sums.get(column, np.float32(0)) + np.float32(values[row] * weight))
    kept = {}
    for column, total in sums.items():
        if total != 0:
            total = np.float32(total + bias.get(column, np.float32(0)))
            total = total if last or total > 0 else np.float32(0)
        if total != 0:
            kept[column] = total
    return kept


def _class(outputs: dict[int, np.float32], classifier: str) -> int:
    if classifier == "sigmoid":
        found = 0
        for column in sorted(outputs):
            found = int(1 / (1 + math.exp(-float(outputs[column]))) >= 0.5)
        return found
    best, largest = 0, SMALLEST
    for column in sorted(outputs):
        if outputs[column] > largest:
            best, largest = column, outputs[column]
    return best
