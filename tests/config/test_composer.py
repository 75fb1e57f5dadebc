"""Points that are composed at once are as Hydra composes each, and so are their errors."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from experiments.config import composer as composing
from experiments.config.composer import Composer
from experiments.config.resolve import CONF, register

POINTS = [
    pytest.param([], id="nothing"),
    pytest.param(["neurons=4096", "optimize.rows=prune", "network.radices=[2,3]"], id="plain keys"),
    pytest.param(["scheduler=model", "scheduler.split_factor=3", "cluster.assume.slowdown=2"], id="groups and their fields"),
    pytest.param(["optimize.rows=none", "optimize=paper"], id="a field before its group"),
    pytest.param(["experiment=none", "backend=scipy_reference", "seed=7", "threads=null"], id="several groups"),
    pytest.param(["network.path='a b,c'", "cluster.setup=['x y','z']"], id="values in quotes"),
    pytest.param(["network.seed='${neurons}'"], id="a value that refers to another"),
    pytest.param(["++seed=3", "++experiment.toy=true"], id="forced"),
    pytest.param(["hydra.run.dir=x", "neurons=4096"], id="Hydra's own"),
    pytest.param(["cluster.nodes=5", "cluster={nodes:2}"], id="a mapping for a group"),
]


@pytest.fixture
def hydra_calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments with which Hydra was asked to compose."""
    calls: list[list[str]] = []

    def counted(name: str, overrides: list[str]) -> object:
        calls.append(overrides)
        return compose(name, overrides=overrides)

    monkeypatch.setattr(composing, "compose", counted)
    return calls


@pytest.mark.parametrize("overrides", POINTS)
def test_a_point_is_as_hydra_composes_it(overrides: list[str]) -> None:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composer = Composer()
        assert composer.compose(overrides) == compose("config", overrides=overrides)
        assert composer.compose(["neurons=16384"]).neurons == 16384
        assert composer.compose(overrides) == compose("config", overrides=overrides), "points do not change each other"


def test_groups_are_composed_once(hydra_calls: list[list[str]]) -> None:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composer = Composer()
        for neurons in (1024, 4096, 16384):
            for scheduler in ("data", "model"):
                assert composer.compose([f"neurons={neurons}", f"scheduler={scheduler}"]).scheduler.name == scheduler
    assert hydra_calls == [["scheduler=data"], ["scheduler=model"]]


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(["threads=abc"], id="a value of another kind"),
        pytest.param(["nuerons=3"], id="no such key"),
        pytest.param(["backend=nmba"], id="no such choice"),
        pytest.param(["neurons=[1"], id="no value"),
    ],
)
def test_errors_are_hydras_own(overrides: list[str]) -> None:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        with pytest.raises(Exception) as expected:  # noqa: PT011 - whatever it is, the other is the same
            compose("config", overrides=overrides)
        with pytest.raises(type(expected.value)) as found:
            Composer().compose(overrides)
    assert str(found.value) == str(expected.value)
