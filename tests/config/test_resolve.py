"""From overrides to a checked configuration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from experiments.config.image_schema import IMAGE_FILES, MODELS
from experiments.config.resolve import Config, ConfigError, as_record, from_record, keys, register, resolve
from experiments.config.schema import GROUPS
from experiments.run.arguments import simulate_arguments
from sparsednn.options.groups import HASHINGS
from sparsednn.schedulers import SchedulerOptions
from tests.composing import COMPOSER

CONF = Path(__file__).parents[2] / "conf"

FIXED_KEYS = (
    "neurons layers instances kernel executor threads processes repeats seed trace resume rebalance_after "
    "backend scheduler partition optimize network input cluster experiment "
    "partition.hashing partition.order partition.buckets optimize.rows optimize.columns "
    "scheduler.strategy scheduler.recruiting_ratio scheduler.threshold scheduler.split_factor scheduler.minimum_work "
    "network.path network.residency input.path cluster.nodes cluster.cores_per_node cluster.processes_per_node cluster.pin "
    "cluster.numa_domains cluster.timeout_s cluster.mpiexec cluster.calibration "
    "cluster.slow_core cluster.noisy_node cluster.assume.slowdown cluster.assume.llc_bytes"
).split()


def composed(*overrides: str) -> Config:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return resolve(COMPOSER.compose(overrides))


def test_the_default_is_the_main_job() -> None:
    config = composed()
    assert (config.neurons, config.layers, config.instances) == (1024, 120, 60_000)
    assert composed("instances=null").instances == 60_000
    assert composed("input=files", "input.path=x").instances is None  # as many as the file has
    assert composed("input=files", "input.path=x", "instances=20").instances == 20
    assert (config.backend.name, config.scheduler.name, config.kernel) == ("numba", "data", "auto")
    assert (config.network.name, config.input.name) == ("radixnet", "challenge")
    assert (config.threads, config.processes, config.repeats) == (None, None, 1)
    assert (config.optimize.rows, config.optimize.order) == ("merge", "shared_inputs")
    assert config.partition.hashing == "none"


def test_keys_that_scripts_rely_on_are_there() -> None:
    assert set(FIXED_KEYS) <= set(keys())


def test_overrides_reach_their_fields() -> None:
    config = composed(
        "neurons=4096", "optimize.rows=none", "scheduler.strategy=slower_first", "network.radices=[2,3]", "seed=7"
    )
    assert (config.neurons, config.optimize.rows) == (4096, "none")
    assert config.scheduler.strategy == "slower_first"
    assert config.network.radices == [2, 3]
    assert config.network.seed == 7


def test_a_record_of_the_configuration_is_plain_json() -> None:
    config = composed()
    assert json.loads(json.dumps(as_record(config))) == as_record(config)
    assert as_record(config)["optimize"]["rows"] == "merge"


@pytest.mark.parametrize("hashing", HASHINGS)
def test_every_hashing_may_be_asked_for(hashing: str) -> None:
    assert composed(f"partition.hashing={hashing}").partition.hashing == hashing


def test_fields_of_data_then_model_have_the_schedulers_own_defaults() -> None:
    found, expected = composed("scheduler=data_then_model").scheduler, SchedulerOptions()
    assert (found.strategy, found.recruiting_ratio) == (expected.strategy, expected.recruiting_ratio)
    assert (found.threshold, found.minimum_work) == (expected.threshold, expected.minimum_work)
    changed = composed("scheduler=data_then_model", "scheduler.minimum_work=0", "scheduler.threshold=2").scheduler
    assert (changed.minimum_work, changed.threshold) == (0, 2)


def needs_a_path(group: str, choice: str) -> bool:
    return group in ("network", "input") and choice in ("files", *MODELS, *IMAGE_FILES)


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_of_every_group_composes(group: str) -> None:
    for path in (CONF / group).glob("*.yaml"):
        config = composed(f"{group}={path.stem}", *([f"{group}.path=x"] if needs_a_path(group, path.stem) else []))
        assert getattr(config, group) is not None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(["neurons=0"], "neurons=0: must be at least 1", id="no neurons"),
        pytest.param(["neurons=null"], "neurons=null: only a model's file says it .*network=radixnet needs", id="no size"),
        pytest.param(["network=onnx"], "network=onnx: say where the model is: network.path=FILE", id="no model"),
        pytest.param(
            ["network=saved", "network.path=x", "neurons=1024"],
            "neurons=1024: network=saved has its own, which its file says; leave neurons out",
            id="the size of a model",
        ),
        pytest.param(
            ["network=keras", "network.path=x", "layers=2"], "layers=2: network=keras has its own", id="layers of a model"
        ),
        pytest.param(
            ["network=onnx", "network.path=x", "network.bias=0"],
            r"network.bias=0.0: is only for network=radixnet\|files, not for network=onnx",
            id="the bias of a model",
        ),
        pytest.param(
            ["network=onnx", "network.path=x", "network.activation=relu"],
            "network.activation=relu: is only for network=files, not for network=onnx",
            id="the activation of a model",
        ),
        pytest.param(["input=npz"], "input=npz: say where the instances are: input.path=FILE", id="no file of images"),
        pytest.param(
            ["input=digits", "input.path=x"], "input.path=x: is only for .*not for input=digits", id="a path too many"
        ),
        pytest.param(["input=mnist", "input.labels=x"], "input.labels=x: is only for .*not for input=mnist", id="other labels"),
        pytest.param(["input.scale=255"], "input.scale=255.0: is only for .*not for input=challenge", id="scaled challenge"),
        pytest.param(["input=mnist", "input.scale=0"], "input.scale=0.0: must be above 0", id="no scale"),
        pytest.param(["input=mnist", "input.std=[1,0]"], "input.std=0.0: must be above 0", id="no deviation"),
        pytest.param(["input=mnist", "input.mean=[]"], "input.mean=.*: a number is needed", id="an empty mean"),
        pytest.param(["input=mnist", "input.mean=x"], "input.mean='x': a number is needed", id="a mean that is a word"),
        pytest.param(["input=mnist", "input.layout=cwh"], "input.layout=cwh: did you mean", id="an unknown layout"),
        pytest.param(
            ["input=digits", "input.truth=x"],
            "input.truth=x: are true categories, but input=digits comes with labels",
            id="two truths",
        ),
        pytest.param(
            ["executor=simulated", "output.predictions=true"],
            "output.predictions=true: executor=simulated computes no outputs",
            id="predictions of a simulation",
        ),
        pytest.param(
            ["input.truth=x", "input.logits=y"], "input.truth=x: input.logits has the truth already", id="truth and logits"
        ),
        pytest.param(
            ["executor=simulated", "input.logits=x"],
            "input.logits: executor=simulated computes no outputs",
            id="simulated logits",
        ),
        pytest.param(["threads=-1"], "threads=-1: must be at least 1", id="negative threads"),
        pytest.param(["instances=60001"], "instances=60001: the challenge has 60000", id="more instances than there are"),
        pytest.param(["scheduler.recruiting_ratio=1.5"], "recruiting_ratio=1.5: must be from 0 to 1", id="ratio above one"),
        pytest.param(["scheduler.threshold=-1"], "threshold=-1: must be 0 or more", id="negative threshold"),
        pytest.param(["scheduler.minimum_work=-1"], "minimum_work=-1: must be 0 or more", id="negative work"),
        pytest.param(["cluster.numa_domains=0"], "cluster.numa_domains=0: must be at least 1", id="no NUMA domains"),
        pytest.param(["seed=-1"], "seed=-1", id="negative seed"),
        pytest.param(["network.bias=nan"], "network.bias=nan: a number is needed", id="bias is not a number"),
        pytest.param(["network.bias=1e39"], r"network.bias=1e\+39: must be finite in float32", id="a bias beyond float32"),
        pytest.param(["network.weight=nan"], "network.weight=nan: a number is needed", id="weight is not a number"),
        pytest.param(["network=files", "network.path=x", "network.maximum=inf"], "maximum=inf", id="maximum is infinite"),
        pytest.param(
            ["network.activation=relu"], "network.activation=relu: is only for network=files", id="ignored activation"
        ),
        pytest.param(["network.path=x"], "network.path=x: is only for network=files", id="ignored folder"),
        pytest.param(["input.path=x"], "input.path=x: is only for input=files", id="ignored input"),
        pytest.param(["network=files", "network.path=x", "network.weight=2"], "only for network=radixnet", id="ignored weight"),
        pytest.param(["network.name=fils"], r"network.name=fils: did you mean files\?", id="unknown network"),
        pytest.param(["input.name=foo"], "input.name=foo: legal: challenge, files", id="unknown input"),
        pytest.param(["cluster.name=foo"], "cluster.name=foo: legal: local, slurm", id="unknown cluster"),
        pytest.param(["cluster.cores_per_node=4"], "cluster.cores_per_node=4", id="cores of a node"),
        pytest.param(["network=files"], "network.path=FOLDER", id="files without a folder"),
        pytest.param(["input=files"], "input.path=FILE_OR_FOLDER", id="input files without a path"),
        pytest.param(["executor=simulated", "processes=2"], "processes=2: ", id="simulated processes"),
        pytest.param(["executor=simulated", "repeats=2"], "repeats=2: not with executor=simulated", id="simulated repeats"),
        pytest.param(["executor=simulated", "cluster.pin=true"], "cluster.pin=true: not with", id="simulated pinning"),
        pytest.param(["cluster.calibration=x.json"], "cluster.calibration=x.json: only for", id="a calibration for nothing"),
        pytest.param(
            ["executor=simulated", "network.residency=stream"], "network.residency=stream: not with", id="simulated streaming"
        ),
        pytest.param(["cluster.nodes=2"], "cluster.nodes=2: only for executor=simulated or cluster=slurm", id="nodes"),
        pytest.param(["cluster.slow_core=0.5"], "cluster.slow_core=0.5: .*at least 1", id="a slow core that is fast"),
        pytest.param(
            ["cluster.assume.core_speed=0", "executor=simulated"], "assume.core_speed=0.0: must be above 0", id="assume"
        ),
        pytest.param(["cluster.assume.slowdown=2"], "assume.slowdown=2.0: only for executor=simulated", id="assume, real"),
        pytest.param(["+cluster.assume.slwdown=2"], "did you mean cluster.assume.slowdown", id="assume, misspelt"),
        pytest.param(["cluster.slow_core=2"], "cluster.slow_core=2.0: only for executor=simulated", id="slow core"),
        pytest.param(["cluster.noisy_node=2"], "cluster.noisy_node=2.0: only for executor=simulated", id="noisy node"),
        pytest.param(["+nuerons=3"], "unknown key nuerons: did you mean neurons", id="a key added by force"),
        pytest.param(["+backend.nme=3"], "unknown key backend.nme: did you mean backend.name", id="a field added by force"),
    ],
)
def test_what_cannot_be_run_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        composed(*overrides)


def test_a_simulated_process_may_have_other_threads_than_cores() -> None:
    config = composed("executor=simulated", "cluster.cores_per_node=2", "threads=4")
    machines = simulate_arguments(config)["cluster"]
    assert (machines.cores_per_node, machines.n_workers) == (2, 4)
    assert simulate_arguments(composed("executor=simulated", "cluster.cores_per_node=2"))["cluster"].n_workers == 2


def test_a_path_stays_as_it_was_given() -> None:
    config = composed("scheduler=auto", "cluster.calibration=./a//b.json")
    assert as_record(config)["cluster"]["calibration"] == config.cluster.calibration == "./a//b.json"
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=["scheduler=auto", "cluster.calibration=a/b.json"])
    assert "calibration: a/b.json\n" in OmegaConf.to_yaml(cfg), "in the files that Hydra writes, too"


def test_a_record_with_a_value_that_is_not_legal_is_refused_by_its_key() -> None:
    record = as_record(composed())
    record["partition"]["order"] = "sorted"
    with pytest.raises(ConfigError, match="^partition.order=sorted: legal: given, alive_first$"):
        from_record(record)


def test_a_seed_of_the_network_alone_may_be_given_with_any_network() -> None:
    assert composed("network=files", "network.path=x", "network.seed=1").network.seed == 1


def test_a_configuration_without_the_schema_is_refused() -> None:
    with pytest.raises(ConfigError, match="lacks the schema"):
        resolve(OmegaConf.create({"neurons": 1024}))


def test_inert_fields_of_other_schedulers_may_be_set() -> None:
    config = composed("scheduler=data", "scheduler.threshold=2", "scheduler.split_factor=3")
    assert (config.scheduler.threshold, config.scheduler.split_factor) == (2, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        pytest.param("threads='${nope}'", "threads: Interpolation key 'nope' not found", id="a key that is not there"),
        pytest.param("optimize.rows='${neurons}'", "optimize.rows=1024: legal: none, prune", id="of another kind"),
        pytest.param("network.radices=[[1]]", r"network.radices=\[\[1\]\]: \[1\] is not an integer", id="a list in a list"),
        pytest.param("network.seed=-1", "network.seed=-1: must be 0 or more", id="a seed"),
        pytest.param("processes=99999999999999999999", "must be at most 2147483647", id="more than a launcher can count"),
        pytest.param("partition.buckets=99999999999999999999", "must be at most 2147483647", id="more than 64 bits"),
    ],
)  # fmt: skip
def test_values_of_wrong_kinds_are_one_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        composed(override)
    assert "\n" not in str(caught.value)


def test_records_from_before_an_option_mean_what_there_was_then() -> None:
    for overrides in ((), ("optimize=paper",)):
        record = as_record(composed(*overrides))
        assert as_record(from_record(record)) == record
        del record["optimize"]["empty_columns"]
        assert from_record(record).optimize.empty_columns == "walk"
