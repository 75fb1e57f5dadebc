"""Chooses the cost model of a backend: that of cores, by a calibration, or that of GPUs, by a card's figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsednn.backend import Backend, CostKind, KernelOptions, LaunchingBackend
from sparsednn.simulator.cost_model import CostModel, calibrated_model
from sparsednn.simulator.gpu.card import CARDS, read_card
from sparsednn.simulator.gpu.model import GpuCostModel


def cost_model(
    backend: Backend, kernel: KernelOptions, calibration: str | None, assume: Mapping[str, float], *, simulated: bool = False
) -> tuple[CostModel, CostKind]:
    """Return the cost model of a backend, and what a kernel's seconds depend on.

    Parameters
    ----------
    backend : Backend
    kernel : KernelOptions
        With the kernel's full name.
    calibration : str, optional
        A calibration file; of a backend for devices the file of a card, or one of `CARDS`. None: the package's; of
        devices that are here, with what their driver says of them.
    assume : mapping of float
        Values in place of assumed ones.
    simulated : bool
        The devices are those of a simulated cluster: a core of a node is one.

    Raises
    ------
    ValueError
        If the backend does not say what they depend on, or the kernel is not calibrated.
    """
    if not isinstance(backend, LaunchingBackend):
        return calibrated_model(backend, kernel, calibration, assume)
    card, here = read_card(calibration or CARDS[0]), backend.device_figures()
    if here is not None and calibration is None:
        card = card.of_device(here)
    n_devices = None if here is None or simulated else here.n_devices
    return GpuCostModel(card.assuming(assume), n_devices=n_devices), backend.cost_kind(kernel)


def of_plan(model: CostModel, backend: Backend, plan: Any, n_workers: int) -> CostModel:
    """Return the model of a plan for `n_workers`: what a GPU takes depends on how its layers are packed."""
    if isinstance(model, GpuCostModel):
        assert isinstance(backend, LaunchingBackend)
        return model.of_plan(backend.layer_launches(plan, model.card.generation), n_workers)
    return model


def workers_in_words(model: CostModel, n: int) -> str:
    """Say what `n` workers are; of a GPU also by which figures their seconds are predicted."""
    if isinstance(model, GpuCostModel):
        figures = "assumed figures" if model.card.assumes else "figures"
        return f"{n} stream{'s' if n > 1 else ''}, by a model of a GPU with {figures} of {model.card.name}"
    return f"{n} threads"
