"""Compiled models: shapes, preprocessing, post-processing, classes, and accuracy with its interval."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.importers import CompiledModel, Preprocessing
from sparsednn.importers.accuracy import among_best

RNG = np.random.default_rng(7)
SHAPE = (2, 3, 4)
W = RNG.normal(size=(24, 8)).astype(np.float32)
B = RNG.normal(size=8).astype(np.float32)
NETWORK = sparsednn.Network.from_dense([W], [B])
IMAGES = RNG.random((9, *SHAPE), dtype=np.float32)


def linear(x: Any) -> np.ndarray:
    return np.asarray(x, np.float64).reshape(len(x), -1) @ W.astype(np.float64) + B


def model(**fields: Any) -> sparsednn.Model:
    return sparsednn.Model(**{"network": NETWORK, "input_shape": SHAPE} | fields)


@pytest.fixture(scope="module")
def compiled() -> Iterator[CompiledModel]:
    with model().compile(threads=1) as made:
        yield made


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(IMAGES, id="images"),
        pytest.param(IMAGES.reshape(9, 24), id="flattened"),
        pytest.param(np.asfortranarray(IMAGES), id="other strides"),
        pytest.param(sp.csr_array(IMAGES.reshape(9, 24)), id="sparse"),
    ],
)
def test_instances_come_in_the_model_s_shape_or_flattened(compiled: CompiledModel, x: Any) -> None:
    np.testing.assert_allclose(compiled(x), linear(IMAGES), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(compiled.logits(x), compiled(x))
    np.testing.assert_array_equal(compiled.predict(x), linear(IMAGES).argmax(1))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        pytest.param(IMAGES[0], ValueError, r"x has shape \(2, 3, 4\); .* \(n, 2, 3, 4\) or \(n, 24\)", id="one image"),
        pytest.param(IMAGES.transpose(0, 2, 3, 1), ValueError, r"x has shape \(9, 3, 4, 2\)", id="channels last"),
        pytest.param(np.float32(1), TypeError, "x: .* is needed, not float32", id="a number"),
        pytest.param(IMAGES.tolist(), TypeError, "x: a NumPy array, .*not list", id="a list"),
        pytest.param(IMAGES.astype(np.float64), TypeError, r"x\.astype\(np\.float32\)", id="float64"),
        pytest.param(np.full((1, 24), math.nan, np.float32), ValueError, "not finite", id="NaN"),
        pytest.param(np.ma.masked_less(IMAGES, 0.5), TypeError, "masked", id="masked"),
    ],
)
def test_other_inputs_are_refused(compiled: CompiledModel, x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        compiled(x)
    assert "\n" not in str(caught.value)


def test_no_instances_give_no_outputs(compiled: CompiledModel) -> None:
    assert compiled(IMAGES[:0]).shape == (0, 8)
    assert compiled.predict(IMAGES[:0]).shape == (0,)


def test_integers_are_taken_exactly_and_scaled_only_on_request(compiled: CompiledModel) -> None:
    pixels = RNG.integers(0, 256, (5, *SHAPE), np.uint8)
    with pytest.warns(UserWarning, match=r"integers up to \d+ .*with_preprocessing\(scale=255\)"):
        np.testing.assert_allclose(compiled(pixels), linear(pixels), rtol=1e-4)
    with model().with_preprocessing(scale=255).compile(threads=1) as scaled, warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(scaled(pixels), linear(pixels / 255), rtol=1e-4, atol=1e-5)
    with model().with_preprocessing().compile(threads=1) as unscaled, warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(unscaled(pixels), linear(pixels), rtol=1e-4)


def test_images_are_normalised_by_channel_and_turned() -> None:
    pixels = RNG.integers(0, 256, (5, 3, 4, 2), np.uint8)  # height, width, channels
    expected = linear(((pixels / 255 - [0.4, 0.6]) / [0.2, 0.3]).transpose(0, 3, 1, 2))
    turned = model().with_preprocessing(scale=255, mean=(0.4, 0.6), std=(0.2, 0.3), layout="hwc")
    with turned.compile(threads=1) as made:
        for x in (pixels, pixels.reshape(5, 24)):
            np.testing.assert_allclose(made(x), expected, rtol=1e-4, atol=1e-4)
        with pytest.raises(ValueError, match=r"\(n, 3, 4, 2\) or \(n, 24\)"):
            made(pixels.transpose(0, 3, 1, 2))
    channels_last = model(input_shape=(3, 4, 2), preprocessing=Preprocessing(mean=[0.4, 0.6], layout="chw"))
    with channels_last.compile(threads=1) as made:
        x = IMAGES - np.array([0.4, 0.6], np.float32)[:, None, None]
        np.testing.assert_allclose(made(IMAGES), linear(x.transpose(0, 2, 3, 1)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": 0}, "Preprocessing: scale=0.0: a finite number above 0"),
        ({"std": (1, 0)}, "Preprocessing: std=0.0: a finite number above 0"),
        ({"mean": (1, 2, 5)}, r"Preprocessing: mean has 3 numbers, but inputs of shape \(2, 3, 4\)"),
        ({"mean": ()}, "Preprocessing: mean is empty"),
        ({"layout": "nhwc"}, "layout=nhwc: did you mean hwc"),
    ],
)
def test_a_preprocessing_that_does_not_fit_is_refused(fields: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model().with_preprocessing(**fields)


@pytest.mark.parametrize(
    ("postprocess", "function"),
    [
        ("softmax", lambda z: np.exp(z) / np.exp(z).sum(1, keepdims=True)),
        ("logsoftmax", lambda z: z - np.log(np.exp(z).sum(1, keepdims=True))),
        ("sigmoid", lambda z: 1 / (1 + np.exp(-z))),
    ],
)
def test_a_call_gives_the_graph_s_output_and_logits_what_comes_before(postprocess: Any, function: Any) -> None:
    with model(postprocess=postprocess).compile(threads=1) as made:
        z = linear(IMAGES)
        np.testing.assert_allclose(made(IMAGES), function(z), rtol=1e-5)
        np.testing.assert_allclose(made.logits(IMAGES), z, rtol=1e-5)
        np.testing.assert_array_equal(made.predict(IMAGES), z.argmax(1))


def test_large_logits_do_not_overflow() -> None:
    network = sparsednn.Network.from_dense([np.diag(np.float32([1e4, -1e4]))], layout="in_out")
    for postprocess, expected in (("softmax", [1, 0]), ("sigmoid", [1, 0]), ("logsoftmax", [0, -2e4])):
        with sparsednn.Model(network=network, postprocess=postprocess).compile(threads=1) as made:  # type: ignore[arg-type]
            np.testing.assert_allclose(made(np.ones((1, 2), np.float32)), [expected])


def test_a_graph_that_ends_in_argmax_gives_ids() -> None:
    with model(postprocess="argmax", output_shape=(1,)).compile(threads=1) as made:
        ids = made(IMAGES)
        np.testing.assert_array_equal(ids, linear(IMAGES).argmax(1)[:, None])
        assert ids.dtype == np.int64
        assert made.logits(IMAGES).shape == (9, 8)
    with model(postprocess="argmax").compile(threads=1) as made:
        assert made(IMAGES).shape == (9,)


def test_a_single_sigmoid_says_yes_or_no() -> None:
    network = sparsednn.Network.from_dense([np.float32([[2.0], [-1.0]])])
    x = np.float32([[1, 1], [0, 1], [1, 2], [0, 0]])
    with sparsednn.Model(network=network, postprocess="sigmoid", class_names=("no", "yes")).compile(threads=1) as made:
        np.testing.assert_array_equal(made.predict(x), [1, 0, 1, 1])  # the third and fourth are exactly 0.5
        found = made.accuracy(x, [1, 0, 0, 1])
    assert (found.correct, found.of, found.top5) == (3, 4, None)
    np.testing.assert_array_equal(found.confusion, [[1, 1], [0, 2]])


def test_accuracy_has_its_interval_its_five_best_and_who_is_taken_for_whom(compiled: CompiledModel) -> None:
    x, labels = RNG.normal(size=(50, 24)).astype(np.float32), RNG.integers(0, 8, 50)
    ranks = np.argsort(-linear(x), axis=1)
    found = compiled.accuracy(x, labels)
    correct = int((ranks[:, 0] == labels).sum())
    assert (found.correct, found.of) == (correct, 50)
    assert found.top5 == np.mean([label in five for label, five in zip(labels, ranks[:, :5], strict=True)])
    expected = np.zeros((8, 8), int)
    for label, best in zip(labels, ranks[:, 0], strict=True):
        expected[label, best] += 1
    np.testing.assert_array_equal(found.confusion, expected)
    assert found.interval[0] < float(found) < found.interval[1]
    assert f"({correct} of 50; 95 % interval" in str(found)


def test_the_interval_is_wilson_s() -> None:
    """Newcombe (Statistics in Medicine 17, 1998), table I, method 3: 81 of 263 and 0 of 20."""
    square = np.zeros((2, 2), np.int64)
    assert sparsednn.importers.Accuracy(81, 263, square, None).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert sparsednn.importers.Accuracy(0, 20, square, None).interval == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_of_equal_outputs_the_lower_is_among_the_best() -> None:
    assert among_best(np.zeros((7, 7), np.float32), np.arange(7)) == 5


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([1, 8] + [0] * 7, ValueError, r"labels: 8 \(instance 1, from 0\) is no class: there are 8"),
        ([1, 8] + [1] * 7, ValueError, "give labels - 1"),
        ([-1] * 9, ValueError, "labels: -1"),
        ([0] * 8, ValueError, r"labels have shape \(8,\), but there are 9 instances"),
        (np.zeros(9), TypeError, "labels hold float64"),
    ],
)
def test_labels_that_are_none_are_refused(compiled: CompiledModel, labels: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        compiled.accuracy(IMAGES, labels)


def test_no_instances_have_no_accuracy(compiled: CompiledModel) -> None:
    with pytest.raises(ValueError, match="no accuracy"):
        compiled.accuracy(IMAGES[:0], np.zeros(0, int))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_shape": (3, 3)}, r"input_shape=\(3, 3\): has 9 elements, but the network has 24"),
        ({"output_shape": (2, 3)}, r"output_shape=\(2, 3\): has 6 elements, but the network has 8"),
        ({"postprocess": "tanh"}, "postprocess=tanh: .*legal: none, softmax"),
        ({"class_names": ("a", "b")}, "class_names: 2 given for 8 classes"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(fields: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model(**fields)


def test_a_closed_model_says_so() -> None:
    made = model().compile(threads=1)
    made.close()
    with pytest.raises(ValueError, match="closed"):
        made(IMAGES)
    assert model().sparsity == (0.0,)
