"""Command line overrides, before Hydra sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.config.overrides import check, n_points
from experiments.config.resolve import ConfigError

CONF = Path(__file__).parents[2] / "conf"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["-m", "neurons=1024,4096", "layers=120,480"], id="a sweep"),
        pytest.param(["--cfg", "job", "hydra.run.dir=x"], id="Hydra's own flags and keys"),
        pytest.param(["hydra/launcher=basic", "backend=scipy_reference"], id="groups"),
        pytest.param(["backend=choice(numba,scipy_reference)", "++seed=3"], id="Hydra's sweep syntax and forced values"),
    ],
)
def test_legal_overrides_pass(arguments: list[str]) -> None:
    check(arguments, CONF)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        pytest.param("nuerons=3", "unknown key nuerons: did you mean neurons", id="a key with a typing error"),
        pytest.param("+foo=3", "unknown key foo: legal: neurons, ", id="a key added"),
        pytest.param("++backend.nam=3", "unknown key backend.nam: did you mean backend.name", id="a field forced"),
        pytest.param("~seed", "keys cannot be removed", id="a key removed"),
        pytest.param(
            "scheduler=data,dta",
            r"scheduler=dta: did you mean data\? legal: adaptive, auto, data, ",
            id="an unknown choice in a sweep",
        ),
        pytest.param("backend=[1,2]", r"^backend=\[1,2\]: takes one name; legal: cupy, graphblas, ", id="a list of numbers"),
        pytest.param(
            "network=[[1]]", "takes one name; legal: files, keras, onnx, radixnet, saved, torch$", id="a list of lists"
        ),
        pytest.param("cluster={a: 1}", "takes one name; legal: local, omnipath28, slurm$", id="a mapping for a group"),
        pytest.param(
            "input=[]",
            "takes one name; legal: challenge, cifar10, digits, files, idx, images_folder, imdb, mnist, npy, npz$",
            id="an empty list",
        ),
        pytest.param("optimize=", "takes one name; legal: all, paper$", id="no name"),
        pytest.param("optimize=''", "takes one name; legal: all, paper$", id="an empty name"),
        pytest.param("experiment=null", "^experiment=null: legal: ablation, ", id="null for a group"),
        pytest.param(
            "scheduler=pipeline",
            "scheduler=pipeline: legal: adaptive, auto, data, data_then_model",
            id="a scheduler not built yet",
        ),
    ],
)
def test_illegal_overrides_are_refused_with_what_is_near_and_legal(argument: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check([argument], CONF)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["neurons=1024,4096"], None, id="no sweep"),
        pytest.param(["-m", "neurons=1024,4096", "layers=120,480,1920", "kernel=csc"], 6, id="a product"),
        pytest.param(["--multirun", "threads=range(1,5)", "experiment=ablation"], 4, id="a range"),
        pytest.param(["-m", "optimize.rows=choice(none,prune)", "network.radices=[2,2]", "hydra.sweep.dir=x"], 2, id="a list"),
        pytest.param(["-m", "scheduler=glob(*)"], None, id="only Hydra knows"),
        pytest.param(["-m", "threads=1,,"], None, id="malformed"),
    ],
)
def test_points_of_a_sweep_are_counted(arguments: list[str], expected: int | None) -> None:
    assert n_points(arguments) == expected
