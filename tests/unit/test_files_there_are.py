"""Which file is read, and how many instances it has: what is not said is not guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

import sparsednn
from sparsednn.data.files import export, read_inputs, read_network, read_truth
from sparsednn.data.triples import write_triples


@pytest.mark.parametrize("ending", ["npz", "mtx", "tsv", "bin"])
def test_instances_are_cut_to_the_first_or_all_are_taken(ending: str, small_inputs: sp.csr_array, tmp_path: Path) -> None:
    path = tmp_path / f"inputs.{ending}"
    if ending == "npz":
        sp.save_npz(path, small_inputs)
    elif ending == "mtx":
        scipy.io.mmwrite(path, small_inputs)
    else:
        write_triples(path, small_inputs, by_column=False)
    assert (read_inputs(path, 12, 4) != small_inputs[:4]).nnz == 0
    everything = read_inputs(path, 12, None)
    assert everything.dtype == np.float32
    assert everything.shape == (9, 12)
    assert (everything != small_inputs).nnz == 0


def test_more_instances_than_a_file_with_a_shape_has_are_refused(small_inputs: sp.csr_array, tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "inputs.npz", small_inputs)
    with pytest.raises(ValueError, match=r"inputs.npz: has 9 instances, fewer than instances=10"):
        read_inputs(tmp_path / "inputs.npz", 12, 10)


@pytest.mark.parametrize("ending", ["tsv", "bin"])
def test_more_instances_than_the_largest_id_of_a_file_without_a_shape_are_refused(
    ending: str, small_inputs: sp.csr_array, tmp_path: Path
) -> None:
    path = tmp_path / f"inputs.{ending}"
    write_triples(path, small_inputs, by_column=False)
    with pytest.raises(ValueError, match=rf"inputs.{ending}: has 9 instances, fewer than instances=11; .*\(11, 1, 0\)"):
        read_inputs(path, 12, 11)


def test_an_entry_of_value_0_says_that_there_is_an_instance_without_nonzeros(tmp_path: Path) -> None:
    """The way out that the refusal of too many instances names."""
    (tmp_path / "inputs.tsv").write_text("1\t2\t1\n11\t1\t0\n")
    rows = read_inputs(tmp_path / "inputs.tsv", 12, 11)
    assert rows.shape == (11, 12)
    assert rows.count_nonzero() == 1


@pytest.mark.parametrize("ending", ["tsv", "bin"])
@pytest.mark.parametrize("empty", [slice(8, 9), slice(7, 9), slice(0, 9)], ids=["the last", "the last two", "all"])
def test_exported_instances_without_nonzeros_at_the_end_are_read_back(
    ending: str, empty: slice, small_network: sparsednn.Network, small_inputs: sp.csr_array, tmp_path: Path
) -> None:
    dense = small_inputs.toarray()
    dense[empty] = 0
    export(tmp_path, small_network, sp.csr_array(dense), np.array([1]), f".{ending}")
    assert read_inputs(tmp_path, 12, None).toarray().tolist() == dense.tolist()


@pytest.mark.parametrize("ending", ["npz", "mtx", "tsv"])
@pytest.mark.parametrize("instances", [0, -1])
def test_fewer_than_one_instance_is_refused(instances: int, ending: str, small_inputs: sp.csr_array, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"instances={instances}: must be at least 1"):
        read_inputs(tmp_path / f"inputs.{ending}", 12, instances)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("n12-l1.tsv", "n12-l1.bin", id="two formats"),
        pytest.param("n12-l1.tsv", "n12-l1.tsv.gz", id="plain and gzipped"),
        pytest.param("n12-l1.tsv", "neuron12/n12-l1.tsv", id="two folders"),
        pytest.param("n12-l1.mtx", "neuron12/n12-l1.npz", id="two formats in two folders"),
    ],
)
def test_two_files_for_one_layer_are_refused_naming_both(one: str, other: str, tmp_path: Path) -> None:
    (tmp_path / "neuron12").mkdir()
    for name in (one, other):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{tmp_path}/{one} and {tmp_path}/{other} are both there"):
        read_network(tmp_path, 12, 1, bias=0, activation=sparsednn.relu())


def test_two_files_for_inputs_or_truth_are_refused_naming_both(tmp_path: Path) -> None:
    (tmp_path / "neuron12").mkdir()
    for name in ("sparse-images-12.tsv", "neuron12/sparse-images-12.tsv"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"sparse-images-12.tsv and .*neuron12/sparse-images-12.tsv are both there"):
        read_inputs(tmp_path, 12, None)
    for name in ("neuron12-l4-categories.tsv", "neuron12-l4-categories.bin.gz"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"l4-categories.tsv and .*l4-categories.bin.gz are both there"):
        read_truth(tmp_path, 12, 4)


def test_one_file_that_is_found_under_two_names_is_one(small_inputs: sp.csr_array, tmp_path: Path) -> None:
    write_triples(tmp_path / "sparse-images-12.tsv", small_inputs, by_column=False)
    (tmp_path / "neuron12").symlink_to(tmp_path)
    assert (read_inputs(tmp_path, 12, None) != small_inputs).nnz == 0


def test_an_export_beside_files_of_another_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Readers refuse two files for one layer; what writes them must not make such a folder."""
    network = sparsednn.radixnet(12, 2, radices=(2, 3), dense_width=2, bias=-0.1)
    inputs, categories = sp.csr_array(np.eye(12, dtype=np.float32)), np.array([1])
    export(tmp_path, network, inputs, categories, ".tsv")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"n12-l1\.tsv: is there already, .* n12-l1\.bin; take another folder"):
        export(tmp_path, network, inputs, categories, ".bin")
    assert sorted(tmp_path.rglob("*")) == before
    export(tmp_path, network, inputs, categories, ".tsv")  # the same again is legal
