"""The stored categories, and the check against them."""

from __future__ import annotations

import numpy as np
import pytest

import sparsednn
from sparsednn.data.truth import SOURCES, challenge_categories, check
from sparsednn.network import Challenge
from sparsednn.results.result import categories_sha256


def network_of(neurons: int, small_network: sparsednn.Network) -> sparsednn.Network:
    """A small network that says it is a challenge's, as building those of 65536 neurons takes long."""
    return sparsednn.Network.from_layers(small_network.layers, "nonzero", Challenge(neurons, 120))


@pytest.mark.parametrize(("neurons", "count"), [(1024, 1812), (4096, 1801), (16384, 1918), (65536, 1994)])
def test_the_stored_ids_are_as_many_as_published(neurons: int, count: int) -> None:
    ids = challenge_categories(neurons)
    assert ids.dtype == np.int64
    assert len(ids) == count
    assert (np.diff(ids) > 0).all()
    assert ids[0] >= 1
    assert ids[-1] <= 60_000


def test_the_ids_of_1024_neurons_are_the_published_file() -> None:
    expected = "a006e26755ca317ecf629035972137457705f20e3139b7796a2f9e9d58c8f4e1"
    assert categories_sha256(challenge_categories(1024)) == expected


@pytest.mark.parametrize("neurons", SOURCES)
@pytest.mark.parametrize("instances", [60_000, 1000, 30])
def test_categories_match_the_truth_up_to_the_last_instance(
    neurons: int, instances: int, small_network: sparsednn.Network
) -> None:
    truth = challenge_categories(neurons)
    network = network_of(neurons, small_network)
    found = truth[truth <= instances]
    assert check(found, instances, network, True, None) == {
        "checked": True, "source": SOURCES[neurons], "match": True, "kind": "categories", "correct": instances, "of": instances,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "instances", "wrong"),
    [
        pytest.param(lambda ids: ids[:-1], 60_000, 1, id="one is missing"),
        pytest.param(lambda ids: np.append(ids, 60_000), 60_000, 1, id="one too many"),
        pytest.param(lambda ids: ids[::-1], 60_000, 0, id="another order"),
        pytest.param(lambda ids: ids[:0], 60_000, 1812, id="none"),
        pytest.param(lambda ids: np.append(ids[1:], 60_000), 60_000, 2, id="one for another"),
        pytest.param(lambda ids: ids, 1000, 0, id="ids behind the last instance"),
    ],
)
def test_categories_that_differ_do_not_match(
    change: object, instances: int, wrong: int, small_network: sparsednn.Network
) -> None:
    assert callable(change)
    found = change(challenge_categories(1024))
    assert check(found, instances, network_of(1024, small_network), True, None) == {
        "checked": True, "source": "published_ids", "match": False, "kind": "categories", "correct": instances - wrong,
        "of": instances,
    }  # fmt: skip


def test_the_truth_that_is_given_comes_first(small_network: sparsednn.Network) -> None:
    given = np.array([2, 3, 9])
    network = network_of(1024, small_network)
    assert check(given, 9, network, True, given) == {
        "checked": True, "source": "given", "match": True, "kind": "categories", "correct": 9, "of": 9,
    }  # fmt: skip
    assert check(given[:2], 8, small_network, False, given)["match"] is False  # who gives a truth cuts it off


def test_nothing_is_checked_where_no_truth_is_known(
    challenge_network: sparsednn.Network, small_network: sparsednn.Network
) -> None:
    unchecked = {"checked": False, "source": None, "match": None}
    truth = challenge_categories(1024)
    assert check(truth, 60_000, sparsednn.radixnet(1024, 120, seed=1), True, None) == unchecked
    assert check(truth, 60_000, sparsednn.radixnet(1024, 6), True, None) == unchecked
    assert check(truth, 60_000, small_network, True, None) == unchecked
    assert check(truth, 60_000, challenge_network, False, None) == unchecked
    assert check(truth, 60_000, challenge_network, True, None)["match"] is True


def test_a_truth_without_any_category_is_one(small_network: sparsednn.Network) -> None:
    none = np.array([], np.int64)
    assert check(none, 9, small_network, False, none)["match"] is True
    assert check(np.array([1]), 9, small_network, False, none)["match"] is False
