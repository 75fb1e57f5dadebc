"""From an experiment's configuration and a user's overrides to points."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from experiments import figures
from experiments.config.overrides import override
from experiments.config.resolve import ConfigError, chosen_experiment, register, resolve
from experiments.config.schema import ExperimentConfig, SweepConfig
from experiments.sweeps.points import plan
from tests.composing import COMPOSER

CONF = Path(__file__).parents[2] / "conf"


def experiment(*sweeps: SweepConfig, toy: bool = False) -> ExperimentConfig:
    return ExperimentConfig(
        "made_up", "ablation", toy, overrides={"seed": 1, "layers": 6, "optimize": "paper"}, toy_overrides={"layers": 3},
        sweeps=list(sweeps),
    )  # fmt: skip


def grid(**changes: Any) -> SweepConfig:
    return SweepConfig("threads", **{"grid": {"threads": [1, 2]}, "overrides": {"seed": 2}} | changes)


def planned(config: ExperimentConfig, *given: str) -> list[tuple[str, ...]]:
    return [point.overrides for point in plan(config, given)]


def test_a_grid_has_every_combination_of_its_values_the_last_fastest() -> None:
    points = plan(experiment(grid(grid={"threads": [1, 2], "kernel": ["csc", "csr"]})), [])
    assert [point.label for point in points] == [
        "threads=1, kernel=csc", "threads=1, kernel=csr", "threads=2, kernel=csc", "threads=2, kernel=csr",
    ]  # fmt: skip
    assert points[1].sweep == "threads"
    assert points[1].overrides == ("seed=2", "layers=6", "optimize=paper", "threads=1", "kernel=csr")


def test_listed_points_are_run_as_they_are_and_named_by_their_labels() -> None:
    listed = [{"label": "one", "optimize": "all"}, {"optimize.rows": "prune", "threads": None}]
    points = plan(experiment(SweepConfig("some", points=listed)), [])
    assert [point.label for point in points] == ["one", "optimize.rows=prune, threads=null"]
    assert points[0].overrides == ("seed=1", "layers=6", "optimize=all")
    assert points[1].overrides == ("seed=1", "layers=6", "optimize=paper", "optimize.rows=prune", "threads=null")


def test_points_with_wider_networks_are_left_out() -> None:
    config = experiment(SweepConfig("widths", grid={"neurons": [1024, 4096]}))
    config.most_neurons = 1024
    assert [point.label for point in plan(config, [])] == ["neurons=1024"]
    config.most_neurons = 1
    with pytest.raises(ConfigError, match="most_neurons=1: leaves no point"):
        plan(config, [])


def test_each_listed_point_is_run_with_every_combination_of_a_grid() -> None:
    both = SweepConfig("both", points=[{"label": "few", "instances": 3}, {"instances": 9}], grid={"threads": [1, 2]})
    points = plan(experiment(both), [])
    assert [point.label for point in points] == [
        "few, threads=1", "few, threads=2", "instances=9, threads=1", "instances=9, threads=2",
    ]  # fmt: skip
    assert points[1].overrides == ("seed=1", "layers=6", "optimize=paper", "instances=3", "threads=2")


@pytest.mark.parametrize(
    ("n_cores", "expected"),
    [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (28, [1, 2, 4, 8, 16, 28])],
)
def test_up_to_cores_is_powers_of_two_and_all_cores(n_cores: int, expected: list[int]) -> None:
    points = plan(experiment(grid(grid={"threads": ["up_to_cores"]})), [], n_cores)
    assert [point.label for point in points] == [f"threads={n}" for n in expected]
    with_more = plan(experiment(grid(grid={"threads": [2, "up_to_cores"]})), [], n_cores)
    assert len(with_more) == len({2, *expected}), "each once"


def test_toy_points_stand_for_the_listed_ones_at_toy_size_and_optional_ones_are_marked() -> None:
    sweep = SweepConfig("a", points=[{"layers": 9}, {"layers": 12}], toy_points=[{"layers": 3}], optional=True)
    assert [point.label for point in plan(experiment(sweep, toy=True), [])] == ["layers=3"]
    assert [point.optional for point in plan(experiment(sweep, grid()), [])] == [True, True, False, False]


def test_several_sweeps_are_run_one_after_the_other() -> None:
    config = experiment(grid(), SweepConfig("more", grid={"layers": [9]}))
    assert [(point.sweep, point.label) for point in plan(config, [])] == [
        ("threads", "threads=1"), ("threads", "threads=2"), ("more", "layers=9"),
    ]  # fmt: skip


def test_toy_size_has_its_own_values() -> None:
    toy = grid(toy_grid={"threads": [4]}, toy_overrides={"seed": 3})
    assert planned(experiment(toy, toy=True)) == [("seed=3", "layers=3", "optimize=paper", "threads=4")]
    assert planned(experiment(grid(), toy=True))[0] == ("seed=2", "layers=3", "optimize=paper", "threads=1"), "the sweep's own"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(["layers=12"], ("seed=2", "optimize=paper", "threads=1", "layers=12"), id="a value"),
        pytest.param(
            ["++trace=true"], ("seed=2", "layers=6", "optimize=paper", "threads=1", "++trace=true"), id="another, by force"
        ),
        pytest.param(["optimize=all"], ("seed=2", "layers=6", "threads=1", "optimize=all"), id="a group"),
        pytest.param(
            ["optimize.rows=none"], ("seed=2", "layers=6", "optimize=paper", "threads=1", "optimize.rows=none"), id="a field"
        ),
        pytest.param(
            ["experiment=x", "experiment.toy=false", "hydra.job.chdir=false"],
            ("seed=2", "layers=6", "optimize=paper", "threads=1"),
            id="what is not a point's is left out",
        ),
    ],
)  # fmt: skip
def test_what_is_the_same_in_all_points_is_the_users_to_change(given: list[str], expected: tuple[str, ...]) -> None:
    assert planned(experiment(grid()), *given)[0] == expected


def test_a_users_group_takes_the_place_of_an_experiments_fields() -> None:
    config = experiment(grid(overrides={"optimize.rows": "none"}))
    assert planned(config, "optimize=all")[0] == ("seed=1", "layers=6", "threads=1", "optimize=all")


def test_a_calibration_file_is_for_the_points_that_use_one() -> None:
    overrides = {"seed": 2}
    grids = {"measured": {"threads": [1, 2]}, "simulated": {"executor": ["simulated"]}, "auto": {"scheduler": ["auto", "data"]}}
    sweeps = [SweepConfig(name, overrides=overrides, grid=values) for name, values in grids.items()]
    found = plan(experiment(*sweeps), ["cluster.calibration=mine.json"])
    with_it = [(point.sweep, point.label) for point in found if "cluster.calibration=mine.json" in point.overrides]
    assert with_it == [("simulated", "executor=simulated"), ("auto", "scheduler=auto")]
    assert [point.overrides[:3] for point in found] == [("seed=2", "layers=6", "optimize=paper")] * 5, "nothing else is gone"
    alone = planned(experiment(sweeps[0]), "cluster.calibration=mine.json")
    assert all("cluster.calibration=mine.json" in overrides for overrides in alone), "so that it is refused"


@pytest.mark.parametrize(
    ("given", "swept"),
    [
        pytest.param("threads=4", {"threads": [1, 2]}, id="the same key"),
        pytest.param("+optimize=all", {"optimize.rows": ["none"]}, id="its group"),
        pytest.param("optimize.rows=none", {"optimize": ["all"]}, id="a field of its group"),
    ],
)
def test_what_an_experiment_varies_is_not_the_users_to_change(given: str, swept: dict[str, list[Any]]) -> None:
    key = next(iter(swept))
    with pytest.raises(ConfigError, match=f"experiment=made_up varies {key} itself; leave") as caught:
        plan(experiment(grid(grid=swept)), [given])
    assert str(caught.value).startswith(given)


@pytest.mark.parametrize(
    ("sweeps", "message"),
    [
        pytest.param([SweepConfig("a")], "sweep a: a sweep has a name, and a grid or points", id="nothing to run"),
        pytest.param([SweepConfig("", points=[{}])], r"sweep \(without a name\)", id="no name"),
        pytest.param([grid(grid={"threads": []})], "threads has no values", id="no values"),
        pytest.param([grid(), grid()], "2 points are threads / threads=1; give them labels", id="the same twice"),
    ],
)
def test_an_experiment_that_contradicts_itself_is_refused(sweeps: list[SweepConfig], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(experiment(*sweeps), [])


VALUES = [
    None,
    True,
    3,
    0.5,
    -1.5e-7,
    "csc",
    [2, 2, 16],
    "a b",
    "it's",
    "back\\slash",
    "end\\",
    "\\'",
    "x,y",
    "a=b",
    "",
    "null ",
    "${seed}",
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_reach_hydra_as_they_are(value: Any) -> None:
    key = "network.radices" if isinstance(value, list) else "experiment.overrides"
    given = value if isinstance(value, list) else {"key": value}
    text = override(key, value) if isinstance(value, list) else f"+{override('experiment.overrides.key', value)}"
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=[text])
    found = cfg.network.radices if key == "network.radices" else cfg.experiment.overrides
    if value == "${seed}":  # an interpolation, as in any YAML
        assert found["key"] == 5489
    else:
        assert found == given


FORMER = "validate_simulator"  # of validation
NAMES = sorted({path.stem for path in (CONF / "experiment").glob("*.yaml")} - {"none", "smoke", "report", FORMER})


_met: set[tuple[str, ...]] = set()
"""Overrides of points that have been resolved, each with each other, and all keys of a point."""


def has_met(overrides: tuple[str, ...]) -> bool:
    """Whether every two overrides of a point were in points before, and its keys together: checks concern one value or two."""
    groups = {tuple(sorted(text.partition("=")[0] for text in overrides)), *itertools.combinations(overrides, 2)}
    known = groups <= _met
    _met.update(groups)
    return known


def resolve_points(name: str, *, all_of_them: bool) -> None:
    """Plan an experiment at toy and at full size, and resolve its points."""
    register()
    assert {"ablation", "linear_cost", "roofline"} <= set(NAMES)
    for toy in ("true", "false"):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            chosen = chosen_experiment(COMPOSER.compose([f"experiment={name}", f"experiment.toy={toy}"]))
            assert chosen is not None
            assert chosen.name == name, "so that records and messages say what a user types"
            assert chosen.figure in figures.names()
            points = plan(chosen, [])
            assert points
            for point in points:
                if all_of_them or not has_met(point.overrides):
                    config = resolve(COMPOSER.compose(point.overrides))
                    assert config.experiment.name == "none"


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_can_be_planned_and_every_pair_of_its_overrides_resolved(name: str) -> None:
    resolve_points(name, all_of_them=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_point_of_every_experiment_can_be_resolved(name: str) -> None:
    resolve_points(name, all_of_them=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(["experiment.name=foo"], "experiment.name=foo: .*experiment=NAME", id="a name without sweeps"),
        pytest.param(["experiment=ablation", "experiment.name=none"], "needs a name other than none", id="no name"),
    ],
)
def test_half_an_experiment_is_refused(overrides: list[str], message: str) -> None:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"), pytest.raises(ConfigError, match=message):
        chosen_experiment(compose("config", overrides=overrides))
