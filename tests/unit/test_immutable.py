"""Layers and activations are what they were when they were made."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

from sparsednn import Activation, Layer, relu
from sparsednn.network.layer import AnyLayer, RepeatedLayer, ShiftedLayer

ONES, NOTHING = np.ones(2, np.float32), np.zeros(2, np.float32)
LAYER = Layer(2, 2, np.arange(3), np.arange(2, dtype=np.int32), ONES, NOTHING, relu())
COLUMNS = np.array([[0, 1]], np.uint16)
REPEATED = RepeatedLayer(2, 2, COLUMNS, np.zeros(2, np.int32), np.float32(1), np.float32(0), relu())
OFFSETS = np.arange(2, dtype=np.int32)
SHIFTED = ShiftedLayer(2, 2, np.arange(2), OFFSETS[:1], ONES[:1], np.zeros(2, np.int32), OFFSETS, NOTHING, relu())
MADE = [LAYER, REPEATED, SHIFTED, relu(), Activation.per_neuron(low=[0.0, 1.0])]


@pytest.mark.parametrize("made", MADE, ids=lambda made: type(made).__name__)
def test_no_field_can_be_set_again_or_deleted(made: AnyLayer | Activation) -> None:
    for field in fields(made):
        before = getattr(made, field.name)
        with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{field.name}'"):
            setattr(made, field.name, before)
        with pytest.raises(FrozenInstanceError, match=f"cannot delete field '{field.name}'"):
            delattr(made, field.name)
        assert getattr(made, field.name) is before
    with pytest.raises(FrozenInstanceError):
        made.more = 1  # type: ignore[union-attr]


@pytest.mark.parametrize("made", MADE, ids=lambda made: type(made).__name__)
def test_copies_have_the_same_fields(made: AnyLayer | Activation) -> None:
    for same in (pickle.loads(pickle.dumps(made)), copy.copy(made), copy.deepcopy(made)):
        assert type(same) is type(made)
        for field in fields(made):
            assert np.array_equal(getattr(same, field.name), getattr(made, field.name))
        with pytest.raises(FrozenInstanceError):
            setattr(same, fields(made)[0].name, 1)


def test_a_layer_shows_its_fields() -> None:
    assert repr(LAYER).startswith("Layer(n_inputs=2, n_outputs=2, indptr=array([0, 1, 2])")
    assert repr(REPEATED).endswith(f"constant_bias={np.float32(0)!r}, activation={relu()!r})")
