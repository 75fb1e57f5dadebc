"""Calls other libraries directly, as their users would: a dense batch in, a dense result out, nothing of ours around it.

Whatever can be done before the first call is done there: layers are handed over, hinted for the batch and optimised, buffers
are made. Each contestant returns what it has, transposed as it lies.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sparsednn
from backends.peers.base import peer_package
from backends.peers.blocks import with_bias
from backends.peers.graphblas import GraphblasBackend
from backends.peers.mkl import GENERAL_MATRIX, NON_TRANSPOSE, ROW_MAJOR, MklBackend, MklMatrix

Float32 = NDArray[np.float32]
Call = Callable[[Float32], Any]


def mkl(network: sparsednn.Network, threads: int, batch: int) -> Call:
    """Return calls of MKL's inspector-executor sparse BLAS, ``mkl_sparse_s_mm``, or ``_mv`` for one instance.

    The bias is one more input that is always 1, so that MKL adds it; the clamp is a pass of NumPy's in place.
    """
    backend = MklBackend()
    library = backend.library
    backend.set_threads(threads)
    layers = [with_bias(layer, np.ascontiguousarray(layer.bias)) for layer in network.layers]
    matrices = [MklMatrix(library, matrix, batch) for matrix in layers]
    blocks = [np.ones((size, batch), np.float32) for size in (network.n_inputs + 1, *(matrix.shape[0] for matrix in layers))]
    limits = [(np.float32(layer.activation.low), np.float32(layer.activation.high)) for layer in network.layers]
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    pointers = [ctypes.c_void_p(block.ctypes.data) for block in blocks]

    def call(x: Float32) -> Float32:
        np.copyto(blocks[0][:-1], x.T)
        for number, (matrix, (low, high)) in enumerate(zip(matrices, limits, strict=True)):
            source, target, out = pointers[number], pointers[number + 1], blocks[number + 1]
            if batch == 1:
                library.mkl_sparse_s_mv(NON_TRANSPOSE, one, matrix.handle, GENERAL_MATRIX, source, zero, target)
            else:
                library.mkl_sparse_s_mm(
                    NON_TRANSPOSE, one, matrix.handle, GENERAL_MATRIX, ROW_MAJOR, source, batch, batch, zero, target, batch
                )  # fmt: skip
            if high < np.inf:
                np.minimum(out, high, out=out)
            if low > -np.inf:
                np.maximum(out, low, out=out)
            out[-1] = 1
        return blocks[-1][:-1].T

    return call


def torch_csr(network: sparsednn.Network, threads: int, batch: int) -> Call:
    """Return calls of PyTorch on sparse CSR layers, ``torch.addmm``."""
    torch = peer_package("torch")
    torch.set_num_threads(threads)
    layers = []
    for layer in network.layers:
        transposed = layer.to_scipy().T.tocsr()
        arrays = (transposed.indptr.astype(np.int32), transposed.indices.astype(np.int32), transposed.data)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state")
            tensors = map(torch.from_numpy, arrays)
            weights = torch.sparse_csr_tensor(*tensors, size=transposed.shape, check_invariants=False)
        bias = torch.from_numpy(np.array(layer.bias))[:, None].expand(-1, batch).contiguous()
        layers.append((weights, bias, layer.activation.low, layer.activation.high))

    def call(x: Float32) -> Any:
        with torch.inference_mode():
            y = torch.from_numpy(x).T.contiguous()
            for weights, bias, low, high in layers:
                y = torch.addmm(bias, weights, y).clamp_(low, high)
            return y.T.numpy()

    return call


def torch_dense(network: sparsednn.Network, threads: int, batch: int) -> Call:
    """Return calls of PyTorch on dense layers, zeros included."""
    torch = peer_package("torch")
    torch.set_num_threads(threads)
    layers = [
        (torch.from_numpy(layer.to_scipy().toarray()).T.contiguous(), torch.from_numpy(np.array(layer.bias)), layer.activation)
        for layer in network.layers
    ]
    linear = torch.nn.functional.linear

    def call(x: Float32) -> Any:
        with torch.inference_mode():
            y = torch.from_numpy(x)
            for weights, bias, activation in layers:
                y = linear(y, weights, bias).clamp_(activation.low, activation.high)
            return y.numpy()

    return call


def numpy_dense(network: sparsednn.Network, threads: int, batch: int) -> Call:
    """Return calls of NumPy's BLAS on dense layers, zeros included; its threads are those that it was started with."""
    layers = [(layer.to_scipy().toarray(), np.array(layer.bias), layer.activation) for layer in network.layers]

    def call(x: Float32) -> Float32:
        for weights, bias, activation in layers:
            x = x @ weights
            x += bias
            np.clip(x, np.float32(activation.low), np.float32(activation.high), out=x)
        return x

    return call


def scipy_csr(network: sparsednn.Network, threads: int, batch: int) -> Call:
    """Return calls of scipy's sparse product, which has one thread."""
    layers = [(layer.to_scipy().T.tocsr(), np.array(layer.bias)[:, None], layer.activation) for layer in network.layers]

    def call(x: Float32) -> Float32:
        y = np.ascontiguousarray(x.T)
        for weights, bias, activation in layers:
            y = weights @ y
            y += bias
            np.clip(y, np.float32(activation.low), np.float32(activation.high), out=y)
        return y.T

    return call


def graphblas_csr(network: sparsednn.Network, threads: int, batch: int) -> Call:
    """Return calls of SuiteSparse:GraphBLAS on sparse layers and full blocks, over the semiring plus_times.

    The bias is one more input that is always 1; the clamp is a pass of NumPy's in place. Blocks change hands without a copy.
    """
    backend = GraphblasBackend()
    backend.set_threads(threads)
    layers = [with_bias(layer, np.ascontiguousarray(layer.bias)) for layer in network.layers]
    weights = [backend.weights(matrix) for matrix in layers]
    blocks = [np.ones((size, batch), np.float32) for size in (network.n_inputs + 1, *(matrix.shape[0] for matrix in layers))]
    limits = [(np.float32(layer.activation.low), np.float32(layer.activation.high)) for layer in network.layers]

    def call(x: Float32) -> Float32:
        np.copyto(blocks[0][:-1], x.T)
        for number, (matrix, (low, high)) in enumerate(zip(weights, limits, strict=True)):
            blocks[number], out = backend.multiply(matrix, blocks[number], blocks[number + 1])
            np.clip(out, low, high, out=out)
            out[-1] = 1
            blocks[number + 1] = out
        return blocks[-1][:-1].T

    return call


def onnxruntime_dense(network: sparsednn.Network, threads: int, batch: int) -> Call:
    """Return calls of ONNX Runtime on a graph of Gemm and Clip: sequential, with all of its optimisations, and our threads."""
    graph = onnx_graph(network, peer_package("onnx")).SerializeToString()
    return onnxruntime_session(graph, "x", threads)


def onnxruntime_session(graph: bytes, name: str, threads: int) -> Call:
    """Return calls of ONNX Runtime on a graph whose input has a name: sequential, all optimisations, so many threads."""
    runtime = peer_package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def call(x: Float32) -> Any:
        return session.run(None, {name: x})[0]

    return call


def onnx_graph(network: sparsednn.Network, onnx: Any) -> Any:
    """Return a network as an ONNX model of dense layers; a relu is a Relu, any other clamp a Clip."""
    helper, tensor = onnx.helper, onnx.numpy_helper.from_array
    nodes, values, name = [], [], "x"
    for number, layer in enumerate(network.layers):
        values += [tensor(layer.to_scipy().toarray(), f"w{number}"), tensor(np.array(layer.bias), f"b{number}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{number}", f"b{number}"], [f"z{number}"]))
        low, high, name = layer.activation.low, layer.activation.high, f"y{number}"
        if (low, high) == (0, np.inf):
            nodes.append(helper.make_node("Relu", [f"z{number}"], [name]))
        else:
            values += [tensor(np.float32(low), f"low{number}"), tensor(np.float32(high), f"high{number}")]
            nodes.append(helper.make_node("Clip", [f"z{number}", f"low{number}", f"high{number}"], [name]))
    ends = [
        helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, [None, size])
        for end, size in (("x", network.n_inputs), (name, network.n_outputs))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], values)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


PEERS: dict[str, Callable[[sparsednn.Network, int, int], Call]] = {
    "mkl": mkl,
    "torch": torch_csr,
    "graphblas": graphblas_csr,
    "scipy": scipy_csr,
    "onnxruntime dense": onnxruntime_dense,
    "torch dense": torch_dense,
    "numpy dense": numpy_dense,
}
"""Makers of each contestant's calls, given a network whose biases are added everywhere, threads, and instances of a call."""

PACKAGES = {
    "mkl": "mkl",
    "torch": "torch",
    "graphblas": "python-graphblas",
    "onnxruntime dense": "onnxruntime",
    "torch dense": "torch",
}
"""Packages of the extra ``peers`` that they need."""


def is_installed(package: str) -> bool:
    """Return whether a package is installed; MKL's brings no module that could be looked for."""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
