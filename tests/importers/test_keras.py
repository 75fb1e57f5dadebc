"""Models that Keras has saved give what Keras predicts; what would run code is refused."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsednn
from sparsednn.data import labelled
from sparsednn.importers.onnx_graph.graph import read_graph
from tests.importers.keras_models import needs_h5py, needs_keras, refused

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, on PyTorch


@pytest.fixture(scope="module")
def keras() -> Any:
    """Keras with a backend that is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "numpy" if importlib.util.find_spec("torch") is None else "torch")
        return importlib.import_module("keras")


def sequence(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([
        keras.Input((12,)), layers.Activation("tanh"), layers.Dense(9, activation="leaky_relu"),
        layers.BatchNormalization(), layers.Dropout(0.3),
        layers.Dense(8), layers.PReLU(), layers.Dense(7, activation="relu6", use_bias=False), layers.LeakyReLU(0.2),
        layers.Dense(4, activation="softmax"),
    ])  # fmt: skip


def images(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([
        keras.Input((11, 9, 2)), layers.Rescaling(0.5, offset=-0.1), layers.ZeroPadding2D(((1, 0), (2, 1))),
        layers.Conv2D(6, (3, 2), strides=2, padding="same", activation="relu"), layers.MaxPooling2D(2, strides=1),
        layers.DepthwiseConv2D(3, depth_multiplier=2, activation=layers.ReLU(max_value=1.5)),
        layers.Cropping2D(((1, 0), (0, 0))),
        layers.SeparableConv2D(5, 2, padding="same"), layers.AveragePooling2D(2, padding="same"), layers.Flatten(),
        layers.Reshape((-1, 5)), layers.Permute((2, 1)), layers.Flatten(), layers.Dense(3),
    ])  # fmt: skip


def residual(keras: Any) -> Any:
    layers = keras.layers
    given = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", groups=1, use_bias=False)(given)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.Activation("relu")(x)
    y = layers.Conv2D(4, 3, padding="same", dilation_rate=2)(x)
    twice = layers.Dense(4)
    x = layers.ReLU()(layers.Add()([twice(x), twice(y)]))
    x = layers.Concatenate()([x, layers.Subtract()([x, y]), layers.Average()([x, y, x])])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(given, layers.Dense(1, activation="sigmoid")(x))


def signal(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([
        keras.Input((20, 2)), layers.Conv1D(4, 3, padding="causal", dilation_rate=2, activation="relu"), layers.MaxPooling1D(3),
        layers.Conv1D(3, 2, activation="relu"), layers.ZeroPadding1D(1), layers.GlobalAveragePooling1D(), layers.Dense(2),
        layers.Softmax(),
    ])  # fmt: skip


@needs_h5py
@needs_keras
@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("make", [sequence, images, residual, signal])
def test_saved_models_predict_the_same(keras: Any, make: Callable[[Any], Any], ending: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    rng, trained = np.random.default_rng(5), make(keras)
    matrices = [rng.normal(size=w.shape) / 3 if w.ndim > 1 else 0.2 + rng.random(w.shape) for w in trained.get_weights()]
    trained.set_weights(matrices)
    trained.save(tmp_path / f"model{ending}")
    x = rng.normal(size=(5, *trained.input_shape[1:])).astype(np.float32)
    expected = np.asarray(trained.predict(x, verbose=0))
    model = sparsednn.from_keras(tmp_path / f"model{ending}")
    assert model.input_shape == trained.input_shape[1:]
    with model.compile(threads=1) as compiled:
        np.testing.assert_allclose(compiled(x), expected, rtol=0, atol=5e-6 * float(np.abs(expected).max()))
    assert model.check(x[:2])
    assert model.provenance.file == str(tmp_path / f"model{ending}")


@needs_h5py
@needs_keras
def test_what_keras_would_run_is_refused(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers

    class Mine(layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return x

    class Dense(layers.Dense):  # type: ignore[misc, name-defined]
        pass

    cases = [
        (layers.Lambda(lambda x: x + 1), r"\(Lambda\): runs code of its own"),
        (Mine(), r"\(Mine\): runs code of its own"),
        (Dense(3), r"\(Dense\): runs code of its own"),
        (layers.Dense(3, activation="selu"), "its activation is 'selu'; those that can be had are linear, relu"),
        (layers.LayerNormalization(), r"\(LayerNormalization\): there is nothing for this layer; .*Conv2D"),
        (layers.ReLU(threshold=0.5), "has a threshold"),
    ]
    for number, (layer, message) in enumerate(cases):
        path = tmp_path / f"{number}.keras"
        keras.Sequential([keras.Input((4,)), layer]).save(path)
        refused(path, message)
    free = keras.Sequential([keras.Input((None, 4)), layers.Dense(2)])
    free.save(tmp_path / "free.keras")
    refused(tmp_path / "free.keras", r"the shape of its input is \[None, None, 4\]")
    one, other = keras.Input((3,)), keras.Input((3,))
    keras.Model([one, other], layers.Add()([one, other])).save(tmp_path / "two.keras")
    refused(tmp_path / "two.keras", "has 2 of its input_layers")
    nested = keras.Sequential([keras.Input((4,)), keras.Sequential([keras.Input((4,)), layers.Dense(2)])])
    nested.save(tmp_path / "nested.keras")
    refused(tmp_path / "nested.keras", "Sequential")
    free.save_weights(tmp_path / "a.weights.h5")
    refused(tmp_path / "a.weights.h5", "holds weights without their model")


@needs_h5py
@needs_keras
@pytest.mark.parametrize(("name", "correct"), [("mlp_80", 557), ("mlp_90", 550), ("mlp_95", 545), ("cnn_80", 550)])
def test_digits_networks_read_as_many_digits(keras: Any, name: str, correct: int, tmp_path: Path) -> None:
    """Rebuilt in Keras, whose images have channels last: kernels are turned, and so are the rows after the flattening."""
    layers, constants = keras.layers, read_graph(labelled.digits_network(name)).constants
    arrays = [array for array in constants.values() if array.dtype == np.float32 and array.ndim > 0]
    matrices, biases = [a for a in arrays if a.ndim > 1], [a for a in arrays if a.ndim == 1]
    if name == "cnn_80":
        made = keras.Sequential([
            keras.Input((8, 8, 1)), layers.Conv2D(8, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
            layers.Conv2D(16, 3, padding="same", activation="relu"), layers.AveragePooling2D(2), layers.Flatten(),
            layers.Dense(32, activation="relu"), layers.Dense(10),
        ])  # fmt: skip
        first = next(a for a in matrices if a.shape == (32, 64)).reshape(32, 16, 2, 2).transpose(2, 3, 1, 0).reshape(64, 32)
        turned = {a.shape: a.transpose(2, 3, 1, 0) if a.ndim == 4 else a.T for a in matrices} | {(32, 64): first}
        kernels = [turned[shape] for shape in ((8, 1, 3, 3), (16, 8, 3, 3), (32, 64), (10, 32))]
        by_size = {len(a): a for a in biases}
        made.set_weights([array for kernel in kernels for array in (kernel, by_size[kernel.shape[-1]])])
    else:
        sizes = (128, 128, 64, 10)
        made = keras.Sequential([
            keras.Input((8, 8)), layers.Flatten(), *(layers.Dense(n, activation="relu") for n in sizes[:-1]), layers.Dense(10)
        ])  # fmt: skip
        made.set_weights([array for w, b in zip(matrices, biases, strict=True) for array in (w.T, b)])
    made.save(tmp_path / "digits.keras")
    images, labels = labelled.digits_test()
    with sparsednn.from_keras(tmp_path / "digits.keras").compile(threads=1) as compiled:
        assert compiled.accuracy(images, labels).correct == correct
