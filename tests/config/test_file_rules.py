"""Keys of networks and instances from files: what they stand for, and what does not go together."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from experiments.config.file_rules import activation_of, widths_of
from experiments.config.resolve import Config, ConfigError, as_record, from_record, register, resolve

CONF = Path(__file__).parents[2] / "conf"
FILES = ("network=files", "network.path=x")


@cache
def base() -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(FILES))


def composed(*overrides: str) -> Config:
    """Resolve overrides of fields; composing anew for each takes Hydra seconds in all."""
    return resolve(OmegaConf.merge(base(), OmegaConf.from_dotlist(list(overrides))))  # type: ignore[arg-type]


def test_widths_say_neurons_and_layers() -> None:
    given = ["network.widths=[784,1024*3,'16*1',10]", "network.activation=[relu*4,'clip(0,1)']"]
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = resolve(compose("config", overrides=[*FILES, *given]))
    assert composed(*given) == config
    assert widths_of(config) == [784, 1024, 1024, 1024, 16, 10]
    assert (config.neurons, config.layers) == (784, 5)
    again = from_record(as_record(config))
    assert (widths_of(again), again.neurons, again.layers) == (widths_of(config), 784, 5)
    assert composed("network.widths=[784,10]", "neurons=784", "layers=1").layers == 1
    assert widths_of(composed()) is None


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("relu", ["relu"]),
        ("relu6", ["relu6"]),
        ("[relu*2,identity]", ["relu", "relu", "identity"]),
        ("['clip(0,1)*2','leaky_relu(0.1)']", ["clip", "clip", "leaky_relu"]),
        ("[clipped_relu,tanh,sigmoid]", ["clipped_relu", "tanh", "sigmoid"]),
    ],
)
def test_activations_are_one_name_or_one_a_layer(given: str, names: list[str]) -> None:
    config = composed("layers=3", f"network.activation={given}", "network.maximum=8")
    found = activation_of(config)
    assert [one.name for one in (found if isinstance(found, list) else [found])] == names
    assert as_record(config)["network"]["activation"] == config.network.activation
    if names[0] == "clipped_relu":
        assert found[0].high == 8


def test_none_of_them_is_said_unless_given() -> None:
    config = composed()
    assert (activation_of(config), config.network.bias_on, config.network.bias) == (None, None, None)
    assert (config.network.layout, config.network.index_base, config.input.index_base) == ("challenge", 1, 1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(["network.widths=[784]"], r"network.widths=\[784\]: give the inputs, and the neurons", id="one width"),
        pytest.param(["network.widths=[784,0]"], "network.widths: 0 is no number of neurons", id="width 0"),
        pytest.param(["network.widths=[784,1e3]"], "network.widths", id="a float"),
        pytest.param(["network.widths=[784,10*0]"], r"network.widths: 10\*0 is no number", id="no times"),
        pytest.param(["network.widths=[784,ten]"], "network.widths: ten is no number of neurons", id="a word"),
        pytest.param(["network.widths=[784,4294967296]"], "network.widths: 4294967296 is no", id="a width beyond ids"),
        pytest.param(["network.widths=[784,10]", "neurons=4096"], "neurons=4096: network.widths says .* 784 in", id="neurons"),
        pytest.param(["network.widths=[784,10]", "layers=2"], "layers=2: network.widths says that there are 1", id="layers"),
        pytest.param(["network.activation=rlu"], "network.activation=rlu: did you mean relu", id="no activation"),
        pytest.param(["network.activation=[]"], r"network.activation=\[\]: the list is empty", id="no activations"),
        pytest.param(["network.activation=3"], "network.activation=3: text, or a list", id="a number"),
        pytest.param(["network.activation='clip(1)'"], r"network.activation=clip\(1\): numbers are needed", id="one limit"),
        pytest.param(["layers=3", "network.activation=[relu,identity]"], "2 given for 3 layers; give", id="too few"),
        pytest.param(["network.widths=[4,4,4]", "network.activation=[relu*3]"], "3 given for 2 layers", id="too many"),
        pytest.param(["network.index_base=2"], "network.index_base=2: must be from 0 to 1", id="another first id"),
        pytest.param(["network.layout=foo"], "network.layout=foo: legal: challenge, distsparsednn, snicit", id="no layout"),
        pytest.param(["network.classifier=softmax"], "only for .*=distsparsednn, not for .*=challenge", id="classes"),
        pytest.param(["network.layout=snicit", "network.classifier=softmax"], "only for .*=dist", id="classes, too"),
        pytest.param(["network.layout=snicit", "network.bias=1"], "network.bias=1.0: with .*=snicit each layer has", id="bias"),
        pytest.param(["network.layout=snicit", "neurons=128"], "neurons=128: with .* the files say", id="neurons, told"),
        pytest.param(["network.layout=snicit", "network.index_base=0"], "network.index_base=0: .* says where ids", id="ids"),
        pytest.param(
            ["network.layout=distsparsednn", "input.name=files", "input.path=x", "input.index_base=0"],
            "input.index_base=0: network.layout=distsparsednn says where ids begin", id="ids of inputs",
        ),
        pytest.param(["input.index_base=0"], "input.index_base=0: is only for input=files, not for", id="inputs"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        composed(*overrides)
    assert "\n" not in str(caught.value)


def test_other_networks_have_none_of_these_keys() -> None:
    for override in ("network.widths=[4,4]", "network.layout=snicit", "network.activation=[relu]", "network.bias_on=all"):
        with pytest.raises(ConfigError, match=r"is only for network=files, not for network=radixnet"):
            composed("network.name=radixnet", "network.path=null", override)
