"""A compiled network: what its calls take, refuse and leave behind."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.errors import DataError, OptionError, OptionTypeError

NETWORK = sparsednn.Network(
    [sp.csr_array(np.eye(4, 6) + np.eye(4, 6, 2)), sp.csr_array(np.ones((6, 3)) * [1, -1, 1])], bias=0.5, bias_on="all"
)  # fmt: skip
X = np.array([[1, 2, 0, 4], [0, 0, 0, 0], [3, 0, 1, 0]], np.float32)


@pytest.fixture
def expected() -> np.ndarray:
    output = sparsednn.infer(NETWORK, X, output=True).output
    assert output is not None
    return output.toarray()


def test_calls_give_what_infer_gives(expected: np.ndarray) -> None:
    with sparsednn.compile(NETWORK, threads=2) as compiled:
        assert np.array_equal(compiled(X), expected)
        assert compiled(X).flags.c_contiguous
        assert compiled.predict(X).tolist() == expected.argmax(axis=1).tolist()
        assert compiled.categories(X).tolist() == sparsednn.infer(NETWORK, X).categories.tolist()
        result = compiled.infer(X, output=True)
        assert result.output is not None
        assert np.array_equal(result.output.toarray(), expected)
        assert result.record["instances"] == 3
        assert (result.record["scheduler"], result.record["kernel"]) == ("model", "sliced")
        assert compiled.infer(X).output is None


def test_equal_outputs_are_the_lowest_class() -> None:
    assert sparsednn.compile(NETWORK).predict(X[1]) == 0


def test_batches_of_every_form(expected: np.ndarray) -> None:
    with sparsednn.compile(NETWORK, threads=1) as compiled:
        for x in (X.astype(np.uint8), X.astype(np.int64), np.asfortranarray(X), sp.csr_array(X), sp.coo_matrix(X), X[::1]):
            assert np.array_equal(compiled(x), expected)
        assert np.array_equal(compiled(X != 0), compiled((X != 0).astype(np.float32)))
        assert np.array_equal(compiled(X[2]), expected[2])
        assert compiled(X[:0]).shape == (0, 3)
        frozen = X.copy()
        frozen.flags.writeable = False
        assert np.array_equal(compiled(frozen), expected)
        sparse = compiled(X, sparse=True)
        assert isinstance(sparse, sp.csr_array)
        assert np.array_equal(sparse.toarray(), expected)


def test_a_tensor_comes_in_through_dlpack(expected: np.ndarray) -> None:
    class Tensor:
        def __dlpack__(self, **options: Any) -> Any:
            return X.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return X.__dlpack_device__()

    with sparsednn.compile(NETWORK) as compiled:
        assert np.array_equal(compiled(Tensor()), expected)


def test_out_is_written_and_returned(expected: np.ndarray) -> None:
    with sparsednn.compile(NETWORK) as compiled:
        out = np.full((3, 3), 7, np.float32)
        assert compiled.run(X, out) is out
        assert np.array_equal(out, expected)
        wide = np.zeros((3, 6), np.float32)
        compiled.run(X, wide[:, ::2])
        assert np.array_equal(wide[:, ::2], expected)
        assert not wide[:, 1::2].any()
        kept = compiled(X)
        compiled(np.zeros_like(X))
        assert np.array_equal(kept, expected), "no later call uses it"


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        pytest.param(X.astype(np.float64), OptionTypeError, r"holds float64.*x\.astype\(np\.float32\)", id="float64"),
        pytest.param(X.astype(complex), OptionTypeError, "holds complex128", id="complex"),
        pytest.param(np.full((1, 4), 2**24 + 1), DataError, "16777217, which float32 does not hold", id="large integer"),
        pytest.param(X[:, :3], DataError, r"shape \(3, 3\); the network takes \(instances, 4\) or \(4,\)", id="width"),
        pytest.param(X[np.newaxis], DataError, r"shape \(1, 3, 4\)", id="three dimensions"),
        pytest.param(sp.csr_array(X[:, :3]), DataError, r"shape \(3, 3\)", id="width of a sparse matrix"),
        pytest.param(np.ma.masked_equal(X, 0), OptionTypeError, "masked array", id="masked"),
        pytest.param([[1.0, 2.0, 3.0, 4.0]], OptionTypeError, "not list", id="list"),
        pytest.param("x", OptionTypeError, "not str", id="text"),
        pytest.param(np.where(X == 3, np.nan, X).astype(np.float32), DataError, "instance 2, feature 0 .* nan", id="nan"),
        pytest.param(
            np.where(X == 4, -np.inf, X).astype(np.float32), DataError, "instance 0, feature 3 .* -inf", id="infinity"
        ),
    ],
)
def test_bad_batches_are_refused_before_anything_is_written(x: Any, error: type[Exception], message: str) -> None:
    with sparsednn.compile(NETWORK) as compiled:
        out = np.full((3, 3), 7, np.float32)
        with pytest.raises(error, match=message):
            compiled.run(x, out)
        assert (out == 7).all()


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((3, 3)), OptionTypeError, "float32 is needed, not float64"),
        ([[0.0] * 3] * 3, OptionTypeError, "not list"),
        (np.zeros((2, 3), np.float32), DataError, r"\(2, 3\); \(3, 3\) is needed"),
        (np.broadcast_to(np.float32(0), (3, 3)), DataError, "cannot be written"),
    ],
)
def test_bad_arrays_for_the_result_are_refused(out: Any, error: type[Exception], message: str) -> None:
    with sparsednn.compile(NETWORK) as compiled, pytest.raises(error, match=message):
        compiled.run(X, out)


def test_a_result_over_its_input_is_refused() -> None:
    both = np.zeros((3, 7), np.float32)
    with sparsednn.compile(NETWORK) as compiled, pytest.raises(DataError, match="overlaps"):
        compiled.run(both[:, :4], both[:, 3:6])
    with sparsednn.compile(NETWORK) as compiled, pytest.raises(OptionError, match="not both"):
        compiled.run(X, np.zeros((3, 3), np.float32), sparse=True)


@pytest.mark.parametrize("direct", [True, False])
def test_overflow_is_an_error(direct: bool) -> None:
    big = sparsednn.Network([sp.csr_array(np.full((2, 2), 1e30)), sp.csr_array(np.full((2, 2), 1e30))], bias_on="all")
    x = np.array([[0, 0], [1, 1]], np.float32)
    with sparsednn.compile(big, kernel="auto" if direct else "csc") as compiled:
        with pytest.raises(FloatingPointError, match="instance [12].*overflowed float32"):
            compiled(x)
        with pytest.raises(FloatingPointError, match="instance [12].*overflowed float32"):
            compiled.infer(x)
        assert compiled(x[:1]).tolist() == [[0, 0]], "the next call is a new one"


def test_what_was_asked_for_is_run_in_the_ordinary_way(expected: np.ndarray) -> None:
    for options in (
        {"kernel": "csc"},
        {"kernel": "rowwise_first"},
        {"scheduler": "model"},
        {"trace": True},
        {"hashing": "input"},
        {"backend": "scipy_reference"},
    ):
        with sparsednn.compile(NETWORK, threads=2, **options) as compiled:
            assert "sliced" not in str(compiled.describe())
            assert np.array_equal(compiled(X), expected)
            out = np.full((3, 3), 7, np.float32)
            assert np.array_equal(compiled.run(X, out), expected)


def test_illegal_options_are_refused_as_by_infer() -> None:
    with pytest.raises(OptionError, match="backend=nmba"):
        sparsednn.compile(NETWORK, backend="nmba")
    with pytest.raises(OptionTypeError, match="network"):
        sparsednn.compile("network")  # type: ignore[arg-type]


def test_challenge_networks_take_large_batches_in_the_ordinary_way(
    challenge_network: sparsednn.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Larger than some hundred instances here, to be quick."""
    monkeypatch.setattr("sparsednn.engine.layouts.DIRECT_MULTIPLY_ADDS", 30_000_000)
    x = sparsednn.challenge_inputs(1024, instances=300).toarray()
    output = sparsednn.infer(challenge_network, x, output=True).output
    assert output is not None
    with sparsednn.compile(challenge_network) as compiled:
        [most] = re.findall(r"batches of up to (\d+) instances", str(compiled.describe()))
        assert 5 <= int(most) < len(x), "both ways are gone"
        assert np.array_equal(compiled(x), output.toarray())
        assert np.array_equal(compiled(x[:5]), output.toarray()[:5])
        assert compiled.categories(x).tolist() == sparsednn.infer(challenge_network, x).categories.tolist()


@pytest.mark.parametrize(("n_layers", "bias_on"), [(3, "nonzero"), (40, "all")])
def test_other_networks_take_every_batch_directly(n_layers: int, bias_on: Any) -> None:
    """Where few layers are left when an instance dies, or none can."""
    network = sparsednn.Network([sp.csr_array(np.eye(4))] * n_layers, bias=0.5 if bias_on == "all" else 0.0, bias_on=bias_on)
    with sparsednn.compile(network) as compiled:
        assert [layout.instances for layout in compiled.describe().layouts] == [
            "every batch",
            "infer() of more than 64 instances",
        ]
