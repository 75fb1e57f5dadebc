"""Images of a point: they come to the network in its shape and scale, or are refused; each process has its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from experiments.config.resolve import Config
from experiments.run.images import Images
from experiments.run.labels import load_labels, load_logits
from experiments.run.model_files import ModelUse
from sparsednn.data import labelled
from sparsednn.errors import SparseDnnError
from sparsednn.importers import Preprocessing
from tests.experiments.test_models import record, run

PIXELS = np.random.default_rng(5).integers(0, 256, (7, 4, 5, 3), np.uint8)


def config(*given: str) -> Config:
    """A configuration without Hydra, whose composing would take longer than all else here."""
    dots = [one.replace("input=", "input.name=") for one in given]
    found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.from_dotlist(dots)))
    assert isinstance(found, Config)
    return found


@pytest.fixture
def stored(tmp_path: Path) -> str:
    np.save(tmp_path / "x.npy", PIXELS)
    return f"input.path={tmp_path / 'x.npy'}"


def rows(chosen: Config, model: ModelUse, n_inputs: int, ids: np.ndarray | None = None) -> tuple[np.ndarray, list[str]]:
    said: list[str] = []
    images = Images(chosen, model, n_inputs)
    ids = np.arange(images.n) if ids is None else ids
    return images.rows(ids, lambda done, total: None, said.append).toarray(), said


def test_images_are_scaled_and_turned_as_they_are_told(stored: str) -> None:
    chosen = config("input=npy", stored, "input.scale=255", "input.mean=[0.1,0.2,0.3]", "input.std=0.5", "input.layout=hwc")
    found, said = rows(chosen, ModelUse((3, 4, 5)), 60)
    expected = (PIXELS / 255 - [0.1, 0.2, 0.3]) / 0.5
    np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2).reshape(7, 60), atol=1e-6)
    assert said == []


def test_the_model_s_own_preprocessing_holds_but_for_what_is_given(stored: str) -> None:
    own = Preprocessing(scale=255, mean=(0.1, 0.2, 0.3), std=(0.5,), layout="hwc")
    found, said = rows(config("input=npy", stored, "input.std=2"), ModelUse((3, 4, 5), own), 60)
    expected = (PIXELS / 255 - [0.1, 0.2, 0.3]) / 2
    np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2).reshape(7, 60), atol=1e-6)
    assert said == []


def test_pixels_that_nobody_scales_are_warned_of(stored: str) -> None:
    found, said = rows(config("input=npy", stored), ModelUse((4, 5, 3)), 60)
    np.testing.assert_array_equal(found, PIXELS.reshape(7, 60))
    assert len(said) == 1
    assert f"integers up to {PIXELS.max()}, and nothing scales them" in said[0]
    assert "use input.scale=255, and input.scale=1 if not" in said[0]
    assert rows(config("input=npy", stored, "input.scale=1"), ModelUse((4, 5, 3)), 60)[1] == []


def test_each_process_takes_its_own_rows(stored: str) -> None:
    found, _ = rows(config("input=npy", stored, "input.scale=1"), ModelUse((4, 5, 3)), 60, np.array([1, 4, 6]))
    np.testing.assert_array_equal(found, PIXELS[[1, 4, 6]].reshape(3, 60))
    assert rows(config("input=npy", stored), ModelUse((4, 5, 3)), 60, np.array([], np.int64))[0].shape == (0, 60)


def test_numbers_of_double_precision_are_rounded_as_everywhere(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.linspace(0, 1, 12).reshape(3, 4))
    found, _ = rows(config("input=npy", f"input.path={tmp_path}/x.npy"), ModelUse((4,)), 4)
    np.testing.assert_array_equal(found, np.linspace(0, 1, 12).reshape(3, 4).astype(np.float32))


@pytest.mark.parametrize(("has", "takes"), [((4, 5), (1, 4, 5)), ((1, 4, 5), (4, 5)), ((4, 5), (20,)), ((20,), (4, 5, 1))])
def test_axes_of_one_element_count_for_nothing(has: tuple[int, ...], takes: tuple[int, ...], tmp_path: Path) -> None:
    pixels = PIXELS[..., 0]
    np.save(tmp_path / "x.npy", pixels.reshape(7, *has))
    found, _ = rows(config("input=npy", f"input.path={tmp_path}/x.npy", "input.scale=1"), ModelUse(takes), 20)
    np.testing.assert_array_equal(found, pixels.reshape(7, 20))


def test_decoded_images_are_turned_without_a_word(tmp_path: Path) -> None:
    for number, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    chosen = config("input=images_folder", f"input.path={tmp_path}", "input.scale=255")
    images = Images(chosen, ModelUse((3, 4, 5)), 60)
    assert images.record.layout == "hwc"
    found, _ = rows(chosen, ModelUse((3, 4, 5)), 60)
    np.testing.assert_allclose(found, PIXELS.transpose(0, 3, 1, 2).reshape(7, 60) / 255, atol=1e-7)


def test_digits_in_folders_are_read_as_those_in_the_package(tmp_path: Path) -> None:
    """By run.py, from pixels that are whole numbers up to 16."""
    digits, labels = labelled.digits_test()
    for number, (pixels, label) in enumerate(zip(np.rint(digits * 16).astype(np.uint8), labels, strict=True)):
        (tmp_path / "digits" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.reshape(8, 8)).save(tmp_path / "digits" / str(label) / f"{number}.png")
    network = ["network=onnx", f"network.path={labelled.digits_network('cnn_80')}"]
    done = run(
        *network, "input=images_folder", f"input.path={tmp_path}/digits", "input.scale=16", f"hydra.run.dir={tmp_path}/out"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert record(tmp_path / "out")["truth"]["correct"] == 550


def test_a_folder_of_idx_files_is_answered_by_its_test_set(tmp_path: Path) -> None:
    """By run.py; a training set is not looked at."""
    digits, labels = labelled.digits_test()
    pixels = np.rint(digits * 16).astype(np.uint8).reshape(-1, 8, 8)
    for name, array in (("images-idx3", pixels), ("labels-idx1", labels.astype(np.uint8))):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        (tmp_path / f"t10k-{name}-ubyte").write_bytes(header + array.tobytes())
    network = ["network=onnx", f"network.path={labelled.digits_network('cnn_80')}"]
    done = run(*network, "input=idx", f"input.path={tmp_path}", "input.scale=16", f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 0, done.stdout + done.stderr
    truth = record(tmp_path / "out")["truth"]
    assert (truth["correct"], truth["of"], truth["source"]) == (550, 597, "given")


def test_a_folder_that_is_no_data_set_is_one_line_of_run_py(tmp_path: Path) -> None:
    network = ["network=onnx", f"network.path={labelled.digits_network('cnn_80')}"]
    done = run(*network, "input=cifar10", f"input.path={tmp_path}", f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if "test_batch.bin" in line]
    assert "no such file; the folder cifar-10-batches-bin is needed: the binary version" in line


@pytest.mark.parametrize(
    ("overrides", "shape", "message"),
    [
        pytest.param([], (3, 4, 5), r"of shape \(4, 5, 3\), but the network takes \(3, 4, 5\); input.layout=hwc turns",
                     id="other axes"),
        pytest.param([], (60,), r"takes \(60,\), in an order that nobody has said; input.layout=as_is takes them as they lie",
                     id="channels in an unknown order"),
        pytest.param([], (4, 5), r"has instances of shape \(4, 5, 3\), but the network takes \(4, 5\)$", id="another size"),
        pytest.param(["input.layout=hwc"], (60,), r"input.layout='hwc' is for images of three axes; the network takes \(60,\)",
                     id="a layout for no image"),
        pytest.param(["input.mean=[0,1]"], (4, 5, 3), "input.mean has 2 numbers, but inputs of shape",
                     id="channels"),
        pytest.param(["instances=8"], (4, 5, 3), "has 7 instances, fewer than instances=8; instances=null takes",
                     id="too few"),
    ],
)  # fmt: skip
def test_images_that_do_not_go_with_the_network(
    stored: str, overrides: list[str], shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(SparseDnnError, match=message):
        Images(config("input=npy", stored, *overrides), ModelUse(shape), int(np.prod(shape)))


def test_an_order_that_is_said_is_taken(stored: str) -> None:
    found, _ = rows(config("input=npy", stored, "input.layout=as_is", "input.scale=1"), ModelUse((60,)), 60)
    np.testing.assert_array_equal(found, PIXELS.reshape(7, 60))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_numbers_that_are_not_finite_are_named(bad: float, tmp_path: Path) -> None:
    values = np.zeros((3, 4))
    values[2, 1] = bad
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(SparseDnnError, match=r"x\.npy: instance 3 has a number that is not finite in float32"):
        rows(config("input=npy", f"input.path={tmp_path}/x.npy"), ModelUse((4,)), 4)


def test_integers_that_float32_does_not_hold_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[2**24 + 1]]))
    with pytest.raises(SparseDnnError, match=r"x\.npy: x holds the integer 16777217, which float32 does not hold"):
        rows(config("input=npy", f"input.path={tmp_path}/x.npy"), ModelUse((1,)), 1)


@pytest.mark.parametrize(
    ("folders", "known", "expected", "names"),
    [
        pytest.param(("10", "2"), (), [10, 2], (), id="numbers of classes"),
        pytest.param(("cat", "dog"), ("dog", "frog", "cat"), [2, 0], ("dog", "frog", "cat"), id="names that the model has"),
        pytest.param(tuple(f"k{n:02}" for n in range(11)), (), list(range(11)), tuple(f"k{n:02}" for n in range(11)),
                     id="a folder for each class"),
    ],
)  # fmt: skip
def test_folders_are_classes(
    folders: tuple[str, ...], known: tuple[str, ...], expected: list[int], names: tuple[str, ...], tmp_path: Path
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / name / "a.png")
    chosen, model = config("input=images_folder", f"input.path={tmp_path}"), ModelUse((2, 2), class_names=known)
    found = load_labels(chosen, Images(chosen, model, 4), len(folders), len(known) or 11, model)
    assert found is not None
    assert (found.classes.tolist(), found.names, found.source) == (expected, names, "given")


def test_fewer_folders_than_classes_say_nothing_by_their_order(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / name / "a.png")
    chosen = config("input=images_folder", f"input.path={tmp_path}")
    with pytest.raises(SparseDnnError, match="has 2 folders of images for 11 classes, so that their order says nothing"):
        load_labels(chosen, Images(chosen, ModelUse((2, 2)), 4), 2, 11, ModelUse((2, 2)))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param("0 1 2", r"labels have shape \(3,\), but there are 7 instances", id="too few"),
        pytest.param("0 1 2 0 1 2 3", r"labels: 3 \(instance 6, from 0\) is no class: there are 3, from 0", id="no class"),
        pytest.param("1 2 3 1 2 3 3", r"they may count from 1: give labels - 1", id="from 1"),
    ],
)
def test_labels_that_do_not_go_with_the_instances(stored: str, labels: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "y.txt").write_text("\n".join(labels.split()) + "\n")
    chosen, model = config("input=npy", stored, f"input.labels={tmp_path}/y.txt"), ModelUse((4, 5, 3))
    with pytest.raises(SparseDnnError, match=rf"input.labels=.*y\.txt: .*{message}.*; ids of true categories are input.truth"):
        load_labels(chosen, Images(chosen, model, 60), 7, 3, model)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        pytest.param(np.zeros((7, 2)), r"has shape \(7, 2\); 7 instances of 3 outputs are needed", id="too few outputs"),
        pytest.param(np.zeros((6, 3)), r"has shape \(6, 3\); 7 instances of 3 outputs are needed", id="too few instances"),
        pytest.param(np.full((7, 3), np.inf), "holds a number that is not finite in float32", id="infinite"),
        pytest.param(np.zeros((7, 3), complex), "complex", id="no real numbers"),
    ],
)
def test_logits_that_do_not_go_with_the_network(logits: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "l.npy", logits)
    with pytest.raises(SparseDnnError, match=message) as caught:
        load_logits(config(f"input.logits={tmp_path}/l.npy"), 7, 3)
    assert str(caught.value).startswith(f"input.logits={tmp_path}/l.npy")


def test_logits_come_in_the_shape_of_the_output_or_flat(tmp_path: Path) -> None:
    np.save(tmp_path / "l.npy", np.arange(24.0).reshape(4, 3, 2))
    found = load_logits(config(f"input.logits={tmp_path}/l.npy", "instances=2"), 2, 6)
    np.testing.assert_array_equal(found, np.arange(12, dtype=np.float32).reshape(2, 6))
    assert load_logits(config(), 2, 6) is None
