"""Checks the GPU backend in every process, under mpiexec: a device each, one network a node, the bits of one process."""

from __future__ import annotations

import numpy as np

import sparsednn
from backends.cupy_gpu.backend import CupyBackend
from sparsednn.backend import KernelOptions
from sparsednn.comm.mpi import MpiCommunicator
from sparsednn.rows.partition import even_bounds
from tests.backends import same_bits
from tests.gpu.host_device import HostDevice
from tests.mpi.check_infer import small


def main() -> None:
    """Run all schedulers, with layers in device memory and streamed there."""
    comm = MpiCommunicator()
    network, rows = small()
    expected = sparsednn.infer(network, rows, output=True, threads=1)
    bounds = even_bounds(rows.shape[0], comm.size)
    own = rows[bounds[comm.rank] : bounds[comm.rank + 1]]
    for residency in ("memory", "stream"):
        for scheduler in ("data", "model", "data_then_model", "global_work_stealing"):
            backend = CupyBackend([HostDevice(0), HostDevice(1)])
            found = sparsednn.infer(
                network, own, backend=backend, communicator=comm, scheduler=scheduler, residency=residency, output=True,
                threads=2,
            )  # fmt: skip
            assert np.array_equal(found.categories, expected.categories)
            assert [device.number for device in backend.devices] == ([comm.rank % 2] if comm.size > 1 else [0, 1])
            assert len(found.record["workers"]) == 2 * comm.size
            if found.output is not None:
                assert expected.output is not None
                assert same_bits(found.output, expected.output)
    shared = comm.share(lambda: CupyBackend([HostDevice()]).prepare(sparsednn.radixnet(1024, 12), KernelOptions(), 1))
    assert not shared.network.store.flags.owndata, "the network is in memory that the node's processes share"
    comm.barrier()
    if comm.rank == 0:
        shared.network.store[0] = 77
    comm.barrier()
    assert shared.network.store[0] == 77, "there is one copy of it"
    print("right", flush=True)


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:
        MpiCommunicator().abort(repr(error))
        raise
