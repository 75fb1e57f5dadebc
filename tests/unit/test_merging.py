"""Columns that are the same, rows that are saturated, rows that are the same: found, taken out, and put back exactly."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from backends.common.column_merging import MergedColumns, saturated_rows_stay
from sparsednn.network import RepeatedLayer


def network(*weights: list[list[float]], **options: object) -> sparsednn.Network:
    return sparsednn.Network([sp.csr_array(np.array(w, np.float32)) for w in weights], **options)  # type: ignore[arg-type]


def merge_columns(whole: sparsednn.Network) -> tuple[sparsednn.Network, list[int], list[int]]:
    """The merged network, what stands for its outputs, and how many outputs each one stands for."""
    merged = MergedColumns(whole)
    layers = list(merged.layers())
    return sparsednn.Network.from_layers(layers), merged.last.tolist(), np.concatenate(merged.stands_for).tolist()


def test_equal_columns_are_kept_once_and_the_next_layer_takes_its_inputs_from_them() -> None:
    merged, last, stands_for = merge_columns(network([[1, 1, 2], [0, 0, 3]], [[5, 0, 5], [0, 5, 6], [7, 7, 0]]))
    assert [layer.n_outputs for layer in merged.layers] == [2, 2]
    first, second = (layer.expanded() for layer in merged.layers)
    assert first.to_scipy().toarray().tolist() == [[1, 2], [0, 3]]
    assert second.n_inputs == 2
    assert second.indices.tolist() == [0, 1, 0, 0]  # columns 0 and 1 became the same; in column 2 an input occurs twice
    assert second.values.tolist() == [5, 7, 5, 6]
    assert last == [0, 0, 1]
    assert stands_for == [2, 1, 2, 1]


def test_columns_that_differ_in_weight_bias_or_order_are_kept_apart() -> None:
    same = [[1.0, 1.0], [2.0, 2.0]]
    assert merge_columns(network(same))[0].layers[0].n_outputs == 1
    assert merge_columns(network(same, bias=[np.array([0.0, 1.0])]))[0].layers[0].n_outputs == 2
    assert merge_columns(network([[1.0, 1.0], [2.0, 2.5]]))[0].layers[0].n_outputs == 2
    assert merge_columns(network([[1.0, 2.0], [2.0, 1.0]]))[0].layers[0].n_outputs == 2


def test_the_challenge_has_one_column_in_sixteen() -> None:
    challenge = sparsednn.radixnet(1024, 120)
    merged, last, stands_for = merge_columns(challenge)
    assert max(layer.n_outputs for layer in merged.layers) == 64
    assert len(last) == 1024
    assert sum(stands_for) == 120 * 1024
    by_hand = merge_columns(sparsednn.Network.from_layers([layer.expanded() for layer in challenge.layers]))
    assert [layer.n_outputs for layer in by_hand[0].layers] == [layer.n_outputs for layer in merged.layers]
    assert by_hand[1] == last


@pytest.mark.parametrize(
    ("bias", "activation", "expected"),
    [
        pytest.param(0.0, sparsednn.clipped_relu(2), [False, True, True, True], id="sums of 4 are clipped to 2 again"),
        pytest.param(-2.5, sparsednn.clipped_relu(2), [False, False, False, True], id="a bias takes them below the maximum"),
        pytest.param(0.0, sparsednn.relu(), [False] * 4, id="without a maximum nothing is saturated"),
    ],
)
def test_whether_saturated_rows_stay_is_computed_for_each_layer(
    bias: float, activation: sparsednn.Activation, expected: list[bool]
) -> None:
    two = [[1.0, 1.0], [1.0, 1.0]]
    assert saturated_rows_stay(network(two, two, two, bias=bias, activation=activation)).tolist() == expected


def test_a_layer_that_does_not_keep_them_spoils_all_layers_before_it() -> None:
    two, weak = [[1.0, 1.0], [1.0, 1.0]], [[0.1, 0.1], [0.1, 0.1]]
    found = saturated_rows_stay(network(two, two, weak, two, two, activation=sparsednn.clipped_relu(2)))
    assert found.tolist() == [False, False, False, True, True, True]


@pytest.mark.parametrize("rows", ["retire", "merge"])
def test_rows_that_are_taken_out_are_in_the_result(rows: str) -> None:
    """48 rows: some saturate at once, some are the same, some die, and one goes its own way to the end."""
    weights = np.full((4, 4), 0.5, np.float32) + np.eye(4, dtype=np.float32)
    deep = sparsednn.Network([sp.csr_array(weights)] * 9, bias=-0.3, activation=sparsednn.clipped_relu(3))
    inputs = np.zeros((48, 4), np.float32)
    inputs[:20] = 3
    inputs[20:40] = [0.15, 0.1, 0, 0]
    inputs[40] = [0.151, 0.1, 0.05, 0]
    expected = sparsednn.infer(deep, inputs, backend="scipy_reference", output=True)
    result = sparsednn.infer(deep, inputs, rows=rows, columns="none", block_rows=48, threads=1, output=True)
    none = sparsednn.infer(deep, inputs, rows="none", columns="none", block_rows=48, threads=1)
    assert result.output is not None
    assert expected.output is not None
    assert result.output.data.tobytes() == expected.output.data.tobytes()
    assert np.array_equal(result.output.indptr, expected.output.indptr)
    assert result.categories.tolist() == expected.categories.tolist()
    assert result.record["performed_edges"] < none.record["performed_edges"]


def test_blocks_may_be_larger_than_small_integers_count() -> None:
    """A block of 40,000 instances of which two are different: ids beyond 32,767 are merged too."""
    inputs = np.ones((40_000, 2), np.float32)
    inputs[39_000:] = 2
    deep = network(*[np.eye(2).tolist()] * 4)
    result = sparsednn.infer(deep, inputs, block_rows=40_000, threads=1, output=True)
    assert result.output is not None
    assert (result.output.toarray() == inputs).all()
    assert result.record["performed_edges"] < 40_000 * 2 * 2


def test_the_record_says_what_was_on() -> None:
    small = network([[1.0, 1.0], [2.0, 2.0]])
    on = {
        (kernel, columns): sparsednn.infer(small, np.ones((3, 2)), kernel=kernel, columns=columns).record["optimizations"]
        for kernel in ("auto", "csc", "csr")
        for columns in ("none", "merge")
    }
    assert (on["auto", "merge"]["rows"], on["auto", "merge"]["columns"]) == ("merge", "merge")
    assert on["auto", "merge"]["structure_aware"] is True
    assert on["auto", "none"]["structure_aware"] is False
    assert (on["csc", "merge"]["rows"], on["csc", "merge"]["columns"]) == ("prune", "none")  # the paper's algorithm
    assert on["csr", "merge"]["columns"] == "none"  # it adds in the order of the neurons, which merging would change


def test_a_repeated_layer_looks_like_any_other() -> None:
    columns = np.array([[0, 2], [1, 2]], np.uint16)
    column = np.array([0, 1, 0], np.int32)
    layer = RepeatedLayer(3, 3, columns, column, np.float32(0.5), np.float32(-1), sparsednn.relu())
    plain = layer.expanded()
    assert layer.nnz == plain.nnz == 6
    assert layer.to_scipy().toarray().tolist() == [[0.5, 0, 0.5], [0, 0.5, 0], [0.5, 0.5, 0.5]]
    assert plain.bias.tolist() == [-1, -1, -1]
    distinct, of = layer.distinct()
    assert of is not None
    assert distinct.to_scipy().toarray()[:, of].tolist() == layer.to_scipy().toarray().tolist()
    assert plain.distinct() == (plain, None)


def test_merged_layers_share_no_connections_with_the_network() -> None:
    """Who takes one may sort its entries where they are."""
    whole = network([[1, 2, 2], [0, 3, 4]])
    for merged, layer in zip(MergedColumns(whole).layers(), whole.layers, strict=True):
        assert merged.n_outputs == layer.n_outputs
        for name in ("indptr", "indices", "values"):
            assert not np.shares_memory(getattr(merged, name), getattr(layer, name)), name
