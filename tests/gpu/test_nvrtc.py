"""Every CUDA kernel is compiled for three generations of GPUs, without one: what it takes, and what it must not have."""

from __future__ import annotations

import re
from itertools import product

import pytest

from backends.cupy_gpu.kernels.source import INPUT_BYTES, LANES, MINIBATCH, OUTPUTS, SHARED_BYTES, WARPS, layer_kernel, source
from tests.gpu import host_kernels, nvrtc

pytestmark = pytest.mark.skipif(nvrtc.PATH is None, reason=f"{nvrtc.PACKAGE} is not installed (extra dev)")

LAYERS = {layer_kernel(wide=wide, uniform=one, staged=staged) for wide, one, staged in product([False, True], repeat=3)}
OTHERS = {"fill_rows", "finish_layer", "hash_rows", "pick_rows", "same_rows", "sum_rows"}
"""Kernels that the backend launches by name."""

each = pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES, ids=lambda a: f"sm_{a}")


def entries(architecture: int) -> dict[str, str]:
    """Parameters and body of each kernel in PTX."""
    text = nvrtc.ptx(architecture).code.decode()
    return {part.partition("(")[0].strip(): part for part in re.split(r"\.visible \.entry ", text)[1:]}


@each
def test_every_kernel_compiles_without_a_warning(architecture: int) -> None:
    assert set(entries(architecture)) == LAYERS | OTHERS
    assert nvrtc.ptx(architecture).log == ""
    assert f".target sm_{architecture}" in nvrtc.ptx(architecture).code.decode()


@each
def test_multiply_and_add_are_apart_and_nothing_is_atomic(architecture: int) -> None:
    """Bits of the CPU, and the same in every run."""
    for name, body in entries(architecture).items():
        assert not re.search(r"\bfma\.", body), f"{name} fuses multiply and add"
        assert not re.search(r"\b(atom|red)\.", body), f"{name} is not deterministic"
        if name in LAYERS:
            assert "mul.rn.f32" in body
            assert "add.rn.f32" in body
            assert ("bar.sync" in body) == ("staged" in name)


@each
def test_nothing_is_flushed_to_zero(architecture: int) -> None:
    """Denormal numbers are those of the CPU."""
    assert ".ftz." not in nvrtc.ptx(architecture).code.decode()


@each
def test_registers_and_shared_memory_suffice(architecture: int) -> None:
    """Two blocks of threads at a time at least, and nothing that spills from registers into memory."""
    usage = nvrtc.usage(architecture)
    assert set(usage) == LAYERS | OTHERS
    for name, used in usage.items():
        assert used.spilled_bytes == 0, name
        assert used.shared_bytes == 0, f"{name}: shared memory is asked for when it is launched"
        assert used.registers * LANES * WARPS * 2 <= 65_536, name


def test_python_and_cuda_have_the_same_constants() -> None:
    found = dict(re.findall(r"^const int (\w+) = (\d+);", source(), re.MULTILINE))
    assert {name: int(value) for name, value in found.items()} == {
        "LANES": LANES, "MINIBATCH": MINIBATCH, "OUTPUTS": OUTPUTS, "WARPS": WARPS
    }  # fmt: skip
    assert SHARED_BYTES // INPUT_BYTES >= 32, "inputs of a slice that can be staged"


@pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")
def test_the_host_calls_kernels_with_the_parameters_that_they_have() -> None:
    signatures = host_kernels.signatures(source())
    for name, text in entries(80).items():
        parameters = re.findall(r"\.param \.(\w+)", text.partition("{")[0])
        sizes = {"int": 4, "float": 4, "int64": 8}
        expected = [8 if "*" in kind else sizes[kind] for kind, _ in signatures[name]]
        assert [int(kind[1:]) // 8 for kind in parameters] == expected, name


def test_an_error_in_the_source_would_be_found() -> None:
    with pytest.raises(nvrtc.CompileError, match=r"kernels\.cu\(\d+\): error: identifier \"blockidx\" is undefined"):
        nvrtc.compiled(source().replace("blockIdx.x * LANES", "blockidx.x * LANES", 1), "compute_80")


def test_a_fused_multiply_add_would_be_found() -> None:
    text = 'extern "C" __global__ void f(float *x) { x[0] = x[1] * x[2] + x[3]; }'
    assert "fma.rn.f32" not in nvrtc.compiled(text, "compute_80").code.decode()
    assert "fma.rn.f32" in nvrtc.compiled(text, "compute_80", "--fmad=true").code.decode()


def test_numbers_that_are_flushed_to_zero_would_be_found() -> None:
    """As ``cupy.RawModule`` compiles: its option comes last, and wins."""
    assert ".ftz." in nvrtc.compiled(source(), "compute_80", "-ftz=true").code.decode()
