"""Declares what a backend tells cost models whose layers are launches on devices."""

# Annotations are evaluated here: a NamedTuple compiles each that is text, whenever this is imported.

from typing import Any, NamedTuple, Protocol, runtime_checkable

from sparsednn.backend.optional import CostedBackend


class LayerLaunch(NamedTuple):
    """What a layer is to a device that runs it as one kernel.

    Attributes
    ----------
    kernel : str
        The kernel's own name.
    n_inputs, n_outputs : int
        As they are run: fewer than the network's where columns are merged.
    terms : int
        Multiply-adds of an instance.
    blocks : int
        Blocks of threads that a tile of instances has.
    n_bytes : int
        Of the packed layer.
    instructions, shared_loads, global_loads : float
        A multiply-add, of each thread, in the main loop; loads are of 16 bytes.
    warps : int
        That a multiprocessor can have at a time, by the kernel's registers and shared memory.
    """

    kernel: str
    n_inputs: int
    n_outputs: int
    terms: int
    blocks: int
    n_bytes: int
    instructions: float
    shared_loads: float
    global_loads: float
    warps: int


class DeviceFigures(NamedTuple):
    """What the devices of a process are, as their driver says.

    Attributes
    ----------
    n_devices : int
    name, generation : str
        Of the first one; ``sm_90``.
    parameters : dict of float
        What is known of the parameters of a cost model.
    """

    n_devices: int
    name: str
    generation: str
    parameters: dict[str, float]


@runtime_checkable
class LaunchingBackend(CostedBackend, Protocol):
    """A backend whose layers are launches on devices: their seconds follow from counts and from what a device can do."""

    def layer_launches(self, plan: Any, generation: str) -> list[LayerLaunch]:
        """Return what each layer is to a device of a generation, ``sm_90``; raises ValueError if that is not known."""

    def device_figures(self) -> DeviceFigures | None:
        """Return what the devices of this process are; None if there are none here."""
