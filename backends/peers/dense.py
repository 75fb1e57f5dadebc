"""Multiplies with dense layers, zeros included: NumPy's BLAS, PyTorch, and ONNX Runtime with many layers in a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import threadpoolctl

from backends.peers.base import LayerwisePeer, PeerBackend, PeerLayer, PeerPlan, peer_package
from backends.peers.blocks import Float32
from backends.peers.torch import TorchBackend
from sparsednn.backend import KernelOptions, MemoryBytes, RunSize
from sparsednn.network import Network

VALUE_BYTES = 4


class DensePeerBackend(PeerBackend):
    """A peer whose layers are dense float32 arrays of shape (n_outputs + 1, n_inputs + 1); it multiplies every cell.

    Multiply-adds are counted as of connections, as everywhere here.
    """

    kernels: Mapping[str, str] = {"auto": "udc_udc", "udc_udc": "udc_udc", "dense": "udc_udc"}
    schedulers: Mapping[str, tuple[str, ...]] = {"udc_udc": ("data",)}
    block_rows = 256
    entry_bytes = VALUE_BYTES

    def weights(self, matrix: sp.csr_array) -> Any:
        """Return a dense array."""
        return matrix.toarray()

    def network_bytes(self, network: Network) -> int:
        """Return the bytes of all cells."""
        return VALUE_BYTES * sum((layer.n_inputs + 1) * (layer.n_outputs + 1) for layer in network.layers)

    def memory_bytes(self, size: RunSize, options: KernelOptions) -> MemoryBytes:
        """Return the bytes of all cells, and of a few blocks of activations."""
        cells = size.layers * (size.neurons + 1) ** 2
        return MemoryBytes(VALUE_BYTES * cells, 4 * VALUE_BYTES * self.block_rows * (size.neurons + 1))


class NumpyDenseBackend(DensePeerBackend, LayerwisePeer):
    """``numpy.matmul(layer, block)``: the BLAS that NumPy brings, whose threads threadpoolctl sets."""

    name = "numpy_dense"

    def __init__(self) -> None:
        self._blas = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers

    def multiply(self, weights: Any, block: Float32, out: Float32) -> tuple[Float32, Float32]:
        """Multiply into `out`; what overflows is told by whoever reads the result."""
        with np.errstate(over="ignore", invalid="ignore"):
            np.matmul(weights, block, out=out)
        return block, out

    def set_threads(self, n_threads: int) -> int:
        """Set the threads of every BLAS that is loaded."""
        before = max((library.num_threads for library in self._blas), default=n_threads)
        for library in self._blas:
            library.set_num_threads(n_threads)
        return int(before)


class TorchDenseBackend(DensePeerBackend, TorchBackend):
    """``torch.mm(layer, block)`` on dense tensors that share the arrays' memory."""

    name = "torch_dense"

    def weights(self, matrix: sp.csr_array) -> Any:
        """Return a dense tensor."""
        return self._torch.from_numpy(matrix.toarray())


@dataclass(frozen=True, slots=True)
class SessionPlan(PeerPlan):
    """A network as sessions.

    Attributes
    ----------
    sessions : tuple of onnxruntime.InferenceSession
        One for the layers of each stage: they take float32 of shape (n_inputs, instances) and give (n_outputs, instances).
    """

    sessions: tuple[Any, ...]


class OnnxRuntimeBackend(DensePeerBackend):
    """ONNX Runtime on the CPU, with all of its optimisations; what lies between two checkpoints is one graph."""

    name = "onnxruntime"

    def __init__(self) -> None:
        self._runtime, self._onnx = peer_package("onnxruntime"), peer_package("onnx")

    def prepare(self, network: Network, options: KernelOptions, n_workers: int) -> SessionPlan:
        """Make a session for the layers of each stage; the arrays that graphs are made of are let go."""
        plan = super().prepare(network, options, n_workers)
        ends = zip(plan.checkpoints, plan.checkpoints[1:], strict=False)
        sessions = tuple(self._session(plan.layers[begin:end], n_workers) for begin, end in ends)
        return SessionPlan(
            layers=[replace(layer, weights=None) for layer in plan.layers],
            n_inputs=plan.n_inputs,
            n_threads=plan.n_threads,
            prune=plan.prune,
            droppable=plan.droppable,
            checkpoints=plan.checkpoints,
            block_rows=plan.block_rows,
            sessions=sessions,
        )

    def set_threads(self, n_threads: int) -> int:
        """Do nothing: a session has the threads that it was made with."""
        return n_threads

    def through(self, plan: PeerPlan, stage: int, block: Float32) -> Float32:
        """Run the session of a stage."""
        assert isinstance(plan, SessionPlan)
        (found,) = plan.sessions[stage].run(None, {"x": block[:-1]})
        out = np.empty((len(found) + 1, block.shape[1]), np.float32)
        out[:-1], out[-1] = found, 1
        return out

    def _session(self, layers: list[PeerLayer], n_threads: int) -> Any:
        runtime = self._runtime
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = n_threads, 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        graph = self._graph(layers).SerializeToString()
        return runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def _graph(self, layers: list[PeerLayer]) -> Any:
        """Return layers as a graph of MatMul, Add and Clip; a late bias is added where a sum is not zero."""
        helper, tensor = self._onnx.helper, self._onnx.numpy_helper.from_array
        node = helper.make_node
        nodes, values, name = [], [tensor(np.float32(0), "zero")], "x"
        for number, layer in enumerate(layers):
            late, limits = layer.late_bias, (layer.activation.low, layer.activation.high)
            cells, bias = layer.weights[:-1, :-1], layer.weights[:-1, -1:] if late is None else late
            w, b, z, s, low, high, y = (f"{part}{number}" for part in ("w", "b", "z", "s", "low", "high", "y"))
            values += [tensor(np.ascontiguousarray(cells), w), tensor(np.ascontiguousarray(bias), b)]
            values += [tensor(np.float32(limit), limit_name) for limit, limit_name in zip(limits, (low, high), strict=True)]
            nodes += [node("MatMul", [w, name], [z]), node("Add", [z, b], [s])]
            if late is not None:
                nodes += [node("Equal", [z, "zero"], [f"is{z}"]), node("Where", [f"is{z}", z, s], [f"kept{z}"])]
            summed = s if late is None else f"kept{z}"
            nodes.append(node("Clip", [summed, low, high], [y]))
            name = y
        float32 = self._onnx.TensorProto.FLOAT
        sizes = ("x", layers[0].weights.shape[1] - 1), (name, layers[-1].n_outputs)
        ends = [helper.make_tensor_value_info(end, float32, [size, None]) for end, size in sizes]
        graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], values)
        return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
