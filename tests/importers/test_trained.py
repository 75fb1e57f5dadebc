"""Trained networks that come with the package give the right answers, and the logits that other programs compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from onnx.reference import ReferenceEvaluator

import sparsednn
from sparsednn.data import labelled

DIGITS = {"mlp_80": 557, "mlp_90": 550, "mlp_95": 545, "cnn_80": 550}
"""Right answers of 597, as PyTorch counted them when the networks were trained."""


@pytest.mark.parametrize("name", DIGITS)
def test_digits_are_read_as_the_trained_networks_read_them(name: str) -> None:
    images, labels = labelled.digits_test()
    model = sparsednn.from_onnx(labelled.digits_network(name))
    assert (model.input_shape, model.output_shape) == ((1, 8, 8), (10,))
    with model.compile(threads=1) as compiled:
        found = compiled.accuracy(images.reshape(-1, 1, 8, 8), labels)
        logits = compiled(images)
    assert (found.correct, found.of) == (DIGITS[name], 597)
    reference = ReferenceEvaluator(str(labelled.digits_network(name)))
    expected = reference.run(None, {model.input_name: images[:64].reshape(-1, 1, 8, 8)})[0]
    np.testing.assert_allclose(logits[:64], expected, atol=1e-6 * float(np.abs(expected).max()))


@pytest.mark.parametrize("name", DIGITS)
def test_a_dry_run_knows_the_layers_and_entries_of_the_digits_networks(name: str) -> None:
    planned = sparsednn.from_onnx(labelled.digits_network(name), explain=True)
    made = sparsednn.from_onnx(labelled.digits_network(name))
    assert planned.layers == made.report.layers
    assert (planned.exact, made.report.exact) == (False, True)
    assert [layer.entries for layer in made.report.layers] == [layer.nnz for layer in made.network.layers]


def test_bytes_and_files_are_read_alike() -> None:
    path = labelled.digits_network("cnn_80")
    by_path, by_bytes = sparsednn.from_onnx(str(path)), sparsednn.from_onnx(bytearray(path.read_bytes()))
    assert by_path.network.fingerprint() == by_bytes.network.fingerprint()
    assert by_path.provenance.sha256 == by_bytes.provenance.sha256
    assert (by_path.provenance.file, by_bytes.provenance.file) == (str(path), None)


def test_provenance_counts_weights_before_they_are_unrolled() -> None:
    """3 x 3 convolutions of 1, 8 and 16 channels, 64 x 32 and 32 x 10 weights; a fifth of them is left."""
    provenance = sparsednn.from_onnx(labelled.digits_network("cnn_80")).provenance
    assert provenance.weights == 9 * 8 + 9 * 8 * 16 + 64 * 32 + 32 * 10
    assert provenance.nonzero_weights == pytest.approx(0.2 * provenance.weights, abs=5)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["auto", "udc_csc", "csc_csc", "csr_csr"])
def test_snicit_s_network_reads_9494_of_10000_digits(kernel: str) -> None:
    images, labels = labelled.mnist_test()
    model = sparsednn.Model(network=labelled.snicit_network(), input_shape=(28, 28)).with_preprocessing(scale=255)
    with model.compile(kernel=kernel, threads=2) as compiled:
        assert compiled.accuracy(images, labels).correct == 9494
        logits = compiled.logits(images[:256])
    np.testing.assert_allclose(logits, by_scipy(images[:256]), atol=5e-5 * float(np.abs(logits).max()))


@pytest.mark.slow  # compiles kernels for weights of 16 bits
@pytest.mark.parametrize(("weights", "of_mnist"), [("bfloat16", 9493), ("float16", 9494)])
def test_trained_networks_are_as_good_with_weights_of_16_bits(weights: str, of_mnist: int) -> None:
    """The figures in docs/guide/compiled.md, by direct calls and by dense blocks."""
    images, labels = labelled.digits_test()
    for name, correct in DIGITS.items():
        with sparsednn.from_onnx(labelled.digits_network(name)).compile(weights=weights) as compiled:
            assert compiled.accuracy(images, labels).correct == correct
    images, labels = labelled.mnist_test()
    model = sparsednn.Model(network=labelled.snicit_network(), input_shape=(28, 28)).with_preprocessing(scale=255)
    for kernel in ("auto", "udc_csc"):
        with model.compile(kernel=kernel, weights=weights) as compiled:
            assert compiled.accuracy(images, labels).correct == of_mnist


def by_scipy(images: np.ndarray) -> np.ndarray:
    """SNICIT's network in float64, from its arrays."""
    stored = np.load(Path(labelled.__file__).parent / "snicit" / "n128_l18.npz")
    y = images.reshape(len(images), -1) / 255.0
    for k in range(20):
        parts = (stored[f"values{k}"], stored[f"indices{k}"], stored[f"indptr{k}"])
        csc = sp.csc_array(parts, shape=tuple(stored[f"shape{k}"]))
        y = y @ csc.astype(np.float64).toarray() + stored[f"bias{k}"]
        y = np.clip(y, 0, 1) if k < 19 else y
    return np.asarray(y)


def test_what_comes_with_the_package_is_there_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = labelled.mnist_test()
    assert (images.shape, images.dtype, labels.shape) == ((10000, 28, 28), np.uint8, (10000,))
    np.testing.assert_array_equal(np.bincount(labels), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
    images, labels = labelled.digits_test()
    assert (images.shape, float(images.max()), labels.shape) == ((597, 64), 1.0, (597,))
    with pytest.raises(ValueError, match="network=mlp: did you mean mlp_95"):
        labelled.digits_network("mlp")
    (tmp_path / "digits").mkdir()
    (tmp_path / "mnist").mkdir()
    monkeypatch.setattr(labelled, "_FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match="install the package again"):
        labelled.digits_test()
    (tmp_path / "digits" / "test.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match=r"test\.npz: damaged"):
        labelled.digits_test()
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match="damaged"):
        labelled.mnist_test()
