"""infer: values of the wrong type are refused by their names, and NumPy's scalars are taken for what they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import sparsednn
from sparsednn.execution.options import OTHERS, PARAMETERS
from sparsednn.schedulers import SCHEDULERS, SchedulerOptions
from sparsednn.simulator.calibration import read_calibration
from sparsednn.simulator.cluster import Cluster
from sparsednn.simulator.profile import measure_profile
from sparsednn.simulator.simulate import simulate

OPTIONS = [*PARAMETERS, *OTHERS, "options"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"network": None}, "network=None: a sparsednn.Network is needed, not NoneType", id="no network"),
        pytest.param({"backend": 3}, "backend=3: the name of a backend, .* is needed, not int", id="a number as backend"),
        pytest.param({"kernel": None}, "kernel=None: the name of a kernel is needed", id="no kernel"),
        pytest.param({"kernel": ["csc"]}, r"kernel=\['csc'\]: the name of a kernel is needed", id="a list of kernels"),
        pytest.param({"scheduler": None}, "scheduler=None: the name of a scheduler", id="no scheduler"),
        pytest.param({"scheduler": SCHEDULERS["data"]}, "scheduler=.*not the class DataScheduler", id="a scheduler's class"),
        pytest.param({"threads": 2.0}, "threads=2.0: a whole number is needed, not float", id="threads of a float"),
        pytest.param({"threads": True}, "threads=True: a whole number is needed, not bool", id="threads of a truth value"),
        pytest.param({"threads": "2"}, "threads='2': a whole number is needed, not str", id="threads in text"),
        pytest.param({"output": "yes"}, "output='yes': True or False is needed", id="output in text"),
        pytest.param({"repeats": 1.5}, "repeats=1.5: a whole number is needed", id="repeats of a float"),
        pytest.param({"rebalance_after": 1.0}, "rebalance_after=1.0: a whole number is needed", id="layers of a float"),
        pytest.param({"block_rows": [64]}, r"block_rows=\[64\]: a whole number is needed, not list", id="a list of block rows"),
        pytest.param({"buckets": None}, "buckets=None: a whole number is needed", id="buckets of nothing"),
        pytest.param({"recruiting_ratio": "0.3"}, "recruiting_ratio='0.3': a number is needed, not str", id="a ratio in text"),
        pytest.param({"minimum_work": 1e5}, "minimum_work=100000.0: a whole number is needed", id="work of a float"),
        pytest.param({"pin": 1}, "pin=1: True or False is needed, not int", id="a flag of a number"),
        pytest.param({"full_columns": None}, "full_columns=None: True or False is needed", id="a flag of nothing"),
        pytest.param({"calibration": 3}, "calibration=3: the path of a file is needed, not int", id="a number as file"),
        pytest.param({"progress": 3}, "progress=3: a function of two numbers is needed", id="a number as function"),
        pytest.param(
            {"communicator": 2}, "communicator=2: a sparsednn.comm.Communicator is needed", id="a number of processes"
        ),
        pytest.param({"row_ids": [0.5]}, r"row_ids=\[0.5\]: an array of whole numbers", id="ids of floats"),
    ],
)
def test_values_of_the_wrong_type_are_refused_by_name(
    arguments: dict[str, Any], message: str, small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    with pytest.raises(TypeError, match=message):
        sparsednn.infer(**({"network": small_network, "inputs": small_inputs} | arguments))


@pytest.mark.parametrize("value", [["none"], None, 1, np.array(["none", "merge"])], ids=["list", "nothing", "number", "array"])
@pytest.mark.parametrize("option", ["rows", "columns", "order", "residency", "row_order", "hashing", "split", "strategy"])
def test_what_is_no_name_is_refused_with_the_legal_names(
    option: str, value: Any, small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    with pytest.raises(ValueError, match=f"{option}=.*: .*legal: "):
        sparsednn.infer(small_network, small_inputs, **{option: value})


@pytest.mark.parametrize("scheduler", ["data", "data_then_model", "work_stealing"])
def test_numpys_scalars_are_options_too(scheduler: str, small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    options: dict[str, Any] = {
        "threads": np.int32(2), "block_rows": np.int64(64), "recruiting_ratio": np.float32(0.3), "repeats": np.uint8(2),
        "split_factor": np.int16(3), "threshold": np.int64(2), "minimum_work": np.int64(1), "buckets": np.int64(1),
        "rebalance_after": np.int64(2), "numa_domains": np.int8(1), "trace": np.bool_(True), "full_columns": np.True_,
    }  # fmt: skip
    plain = {name: value.item() for name, value in options.items()}
    kernels = ("csc", "udc_csc") if scheduler != "work_stealing" else ("csc",)
    for kernel in kernels:
        result = sparsednn.infer(small_network, small_inputs, kernel=kernel, scheduler=scheduler, output=True, **options)
        expected = sparsednn.infer(small_network, small_inputs, kernel=kernel, scheduler=scheduler, output=True, **plain)
        assert (result.output != expected.output).nnz == 0
        record = json.loads(json.dumps(result.record, allow_nan=False))
        assert record["scheduler_options"] == expected.record["scheduler_options"]


def test_a_calibration_may_be_a_path_in_text(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^nowhere.json: no such calibration file; python -m experiments.calibrate FILE makes one$"
    ):
        sparsednn.infer(small_network, small_inputs, scheduler="auto", calibration="nowhere.json")


WRONG = [None, "x", 1.5, True, np.array([1, 2]), [1], {}, range]
"""One of them is of the right type for some arguments; no other may end in a message of Python's insides."""

DOORS: list[tuple[Callable[..., Any], list[str]]] = [
    (sparsednn.infer, ["network", "inputs", "backend", "kernel", "scheduler", "threads", "output", *OPTIONS]),
    (simulate, ["network", "inputs", "backend", "kernel", "scheduler", "cluster", "n_threads", *OPTIONS]),
    (measure_profile, ["network", "inputs", "n_threads", "backend"]),
    (Cluster, ["nodes", "processes_per_node", "threads", "slow_core", "noisy_node", "seed", "assume"]),
    (SchedulerOptions, ["split_factor", "strategy", "recruiting_ratio", "threshold", "minimum_work"]),
    (sparsednn.radixnet, ["neurons", "layers", "radices", "dense_width", "seed", "weight", "bias"]),
    (sparsednn.challenge_inputs, ["neurons", "instances", "ids", "progress"]),
    (sparsednn.clipped_relu, ["maximum"]),
    (sparsednn.Activation, ["low", "high"]),
    (sparsednn.Network, ["weights", "bias", "bias_on", "activation"]),
    (sparsednn.Network.from_layers, ["layers", "bias_on"]),
    (read_calibration, ["path"]),
]


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    ("door", "name"), [pytest.param(door, name, id=f"{door.__name__}-{name}") for door, names in DOORS for name in names]
)
def test_a_wrong_kind_of_value_is_named_or_taken(
    door: Callable[..., Any], name: str, value: Any, small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    """The message has the name of the argument, or of the part of it that is wrong."""
    right: dict[Callable[..., Any], dict[str, Any]] = {
        sparsednn.infer: {"network": small_network, "inputs": small_inputs},
        simulate: {"network": small_network, "inputs": small_inputs},
        measure_profile: {"network": small_network, "inputs": small_inputs, "cache": False},
        sparsednn.radixnet: {"neurons": 12, "layers": 4, "radices": (2, 3), "dense_width": 2, "bias": -0.1},
        sparsednn.challenge_inputs: {"neurons": 1024, "instances": 5},
        sparsednn.Activation: {"name": "mine", "low": 0.0, "high": 1.0},
        sparsednn.Network: {"weights": [sp.eye_array(1)]},
        sparsednn.Network.from_layers: {"layers": small_network.layers},
    }
    about, refusal = {"path": "calibration", "weights": "weights|layer", "layers": "layer"}.get(name, name), ""
    try:
        door(**(right.get(door, {}) | {name: value}))
    except (TypeError, ValueError, FileNotFoundError, ImportError) as error:
        refusal = str(error)
    assert not refusal or re.search(about, refusal)
    assert "\n" not in refusal


HUGE = 10**400


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sparsednn.Activation("huge", 0, HUGE), r"Activation\('huge'\): high=10*\.\.\.: beyond what a float holds"),
        (lambda: sparsednn.clipped_relu(HUGE), "clipped_relu: maximum=10*...: beyond what a float holds"),
        (lambda: sparsednn.Activation("", 0, 1), "Activation: name is empty"),
        (lambda: sparsednn.Activation(None, 0, 1), "Activation: name=None: text is needed, not NoneType"),
    ],
    ids=["limit", "maximum", "no name", "a name that is no text"],
)
def test_what_makes_no_activation_is_named(make: Callable[[], Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        make()


def test_a_ratio_beyond_floats_is_named(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    with pytest.raises(ValueError, match="recruiting_ratio=10*...: beyond what a float holds"):
        sparsednn.infer(small_network, small_inputs, recruiting_ratio=HUGE)


def test_a_calibration_that_is_a_folder_is_named(
    tmp_path: Path, small_network: sparsednn.Network, small_inputs: sp.csr_array
) -> None:
    with pytest.raises(OSError, match=f"{tmp_path}: not a calibration file: Is a directory"):
        sparsednn.infer(small_network, small_inputs, scheduler="auto", calibration=tmp_path)


def test_a_number_beyond_64_bits_is_named(small_network: sparsednn.Network, small_inputs: sp.csr_array) -> None:
    with pytest.raises(ValueError, match="block_rows=10*...: must be at most 2147483647"):
        sparsednn.infer(small_network, small_inputs, block_rows=HUGE)
