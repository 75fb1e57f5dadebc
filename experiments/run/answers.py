"""Turns the last activations of a point into answers: accuracy, truth, and the files that were asked for."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from experiments.records.files import PREDICTIONS
from experiments.run.labels import Labels
from experiments.run.model_files import ModelUse
from sparsednn.data.layouts.predictions import classes_of as classes_as_distsparsednn
from sparsednn.importers.accuracy import AccuracyCount
from sparsednn.importers.postprocessing import classes_of, finish
from sparsednn.results.model_record import AccuracyRecord
from sparsednn.results.record import LABELS, LOGITS, Truth
from sparsednn.system.files import atomic_path

AT_ONCE = 4096
"""Instances whose outputs are dense in memory at a time."""

TOP = 5
"""Classes of each instance in `PREDICTIONS`."""

MEANINGS = {"softmax": "probability", "sigmoid": "probability", "logsoftmax": "log_probability"}
"""Meaning of the outputs after each post-processing; logits after the others."""


def accuracy_of(output: sp.csr_array, labels: Labels, model: ModelUse) -> AccuracyRecord:
    """Compare predicted classes with labels; output : float32 (instances, outputs), the last activations."""
    count = AccuracyCount(output.shape[1], model.postprocess)
    for first, logits in _batches(output):
        count.add(logits, labels.classes[first : first + len(logits)])
    found = count.accuracy()
    return AccuracyRecord(
        source=labels.source,
        correct=found.correct,
        of=found.of,
        share=found.share,
        interval95=list(found.interval),
        top5=found.top5,
        confusion=found.confusion.tolist(),
        class_names=list(model.class_names or labels.names),
    )


def truth_of(accuracy: AccuracyRecord, labels: Labels) -> Truth:
    """Return what a record says of labels: wrong predictions are a result, and fail nothing."""
    return Truth(checked=True, source=labels.source, kind=LABELS, correct=accuracy.correct, of=accuracy.of)


def compared(output: sp.csr_array, logits: NDArray[np.float32], tolerance: float) -> Truth:
    """Return what a record says of given logits, float32 (instances, outputs); differences are by the largest of them."""
    largest, right, worst = float(np.abs(logits).max(initial=0)) or 1.0, 0, 0.0
    for first, found in _batches(output):
        differences = np.abs(found.astype(np.float64) - logits[first : first + len(found)]).max(axis=1, initial=0) / largest
        right += int(np.count_nonzero(differences <= tolerance))
        worst = max(worst, float(differences.max(initial=0)))
    n = output.shape[0]
    return Truth(checked=True, source="given", match=right == n, kind=LOGITS, correct=right, of=n, difference=worst)


@dataclass(frozen=True, slots=True)
class Top:
    """The best classes of some instances: classes int64 (n, k), and the numbers that the model gives them, float32 (n, k)."""

    predicted: NDArray[np.int64]
    classes: NDArray[np.int64]
    values: NDArray[np.float32]


def best_classes(logits: NDArray[np.float32], model: ModelUse) -> Top:
    """Return the five largest outputs of each instance (of equal ones the lower class first); logits : float32 (n, outputs)."""
    predicted = classes_of(logits, model.postprocess)
    if model.postprocess == "sigmoid" and logits.shape[1] == 1:
        sure = finish(logits, "sigmoid")
        return Top(predicted, predicted[:, np.newaxis], np.where(predicted[:, np.newaxis] == 1, sure, 1 - sure))
    order = np.argsort(-logits, axis=1, kind="stable")[:, :TOP]
    values = logits if model.postprocess == "argmax" else finish(logits, model.postprocess)
    return Top(predicted, order.astype(np.int64), np.take_along_axis(values, order, axis=1))


def write_predictions(
    folder: Path, output: sp.csr_array, labels: Labels | None, model: ModelUse, classifier: str | None = None
) -> Path:
    """Write the predicted class of each instance into a folder, whole or not at all; return the file.

    A line for each instance: its number from 1, its class from 0 (and name), its label where there is one, and the best classes
    with what the model gives them, in digits that give the same float32 again. With a classifier of DistSparseDNN the class is
    the one that it finds.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path, names = folder / PREDICTIONS, model.class_names or (labels.names if labels is not None else ())
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for first, logits in _batches(output):
            top = best_classes(logits, model)
            predicted_classes = top.predicted if classifier is None else classes_as_distsparsednn(logits, classifier)
            if first == 0:
                writer.writerow(_head(top.classes.shape[1], bool(names), labels is not None, model.postprocess))
            for number, predicted in enumerate(predicted_classes.tolist()):
                named = [names[predicted]] if names else []
                label = [int(labels.classes[first + number])] if labels is not None else []
                best = zip(top.classes[number].tolist(), top.values[number].tolist(), strict=True)
                pairs = [text for of, value in best for text in (of, f"{value:.9g}")]
                writer.writerow([first + number + 1, predicted, *named, *label, *pairs])
    return path


def _head(n_best: int, named: bool, labelled: bool, postprocess: str) -> list[str]:
    meaning = MEANINGS.get(postprocess, "logit")
    pairs = [name for number in range(1, n_best + 1) for name in (f"class_{number}", f"{meaning}_{number}")]
    return ["instance", "class", *(["class_name"] if named else []), *(["label"] if labelled else []), *pairs]


def _batches(output: sp.csr_array) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield the number of the first instance of each batch, and its activations, dense."""
    for first in range(0, max(output.shape[0], 1), AT_ONCE):
        yield first, output[first : first + AT_ONCE].toarray()
