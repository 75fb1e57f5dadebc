"""Every CUDA kernel is compiled for three generations of GPUs, without one: what it takes, and what it must not have.

The compiler takes some seconds for each: the oldest and the newest are for every run, the one between them is for slow ones.
"""

from __future__ import annotations

import re
from itertools import product

import pytest

from backends.cupy_gpu.kernels.source import (
    ADDED,
    AHEAD,
    EACH,
    HELD,
    INPUT_BYTES,
    LANES,
    MANY,
    MINIBATCH,
    NONE,
    ONE,
    OUTPUTS,
    SHARED_BYTES,
    WARPS,
    layer_kernel,
    shared_kernel,
    source,
)
from backends.cupy_gpu.layout.narrow import STORED
from tests.gpu import budgets, host_kernels, nvrtc, sass

pytestmark = pytest.mark.skipif(nvrtc.PATH is None, reason=f"{nvrtc.PACKAGE} is not installed (extra dev)")

SHARED = {shared_kernel(uniform=False), shared_kernel(uniform=True), ADDED}
ALONE = {layer_kernel(wide=wide, uniform=one, staged=staged) for wide, one, staged in product([False, True], repeat=3)}
LAYERS = ALONE | SHARED | {MANY}
OTHERS = {"fill_rows", "finish_layer", "hash_rows", "pick_rows", "same_rows", "sum_rows"}
"""Kernels that the backend launches by name."""

OLDEST, *BETWEEN, NEWEST = nvrtc.ARCHITECTURES
each = pytest.mark.parametrize(
    "architecture",
    [pytest.param(one, id=f"sm_{one}", marks=pytest.mark.slow if one in BETWEEN else ()) for one in nvrtc.ARCHITECTURES],
)


def entries(architecture: int) -> dict[str, str]:
    """Parameters and body of each kernel in PTX."""
    text = nvrtc.kernels(architecture).ptx
    return {part.partition("(")[0].strip(): part for part in re.split(r"\.visible \.entry ", text)[1:]}


@each
def test_every_kernel_compiles_without_a_warning(architecture: int) -> None:
    assert set(entries(architecture)) == LAYERS | OTHERS
    assert "warning" not in nvrtc.kernels(architecture).log
    assert f".target sm_{architecture}" in nvrtc.kernels(architecture).ptx


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
    assert ".ftz." not in nvrtc.kernels(architecture).ptx


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
        "LANES": LANES, "MINIBATCH": MINIBATCH, "OUTPUTS": OUTPUTS, "WARPS": WARPS, "AHEAD": AHEAD, "HELD": HELD,
        "FIELDS": 3 + len(STORED), "NUMBERS": 3,
    }  # fmt: skip
    assert f"const int EACH = {EACH}, ONE = {ONE}, NONE = {NONE};" in source()
    assert SHARED_BYTES // INPUT_BYTES >= 32, "inputs of a slice that can be staged"


@pytest.mark.skipif(host_kernels.COMPILER is None, reason="no C++ compiler for the GPU kernels")
def test_the_host_calls_kernels_with_the_parameters_that_they_have() -> None:
    signatures = host_kernels.signatures(source())
    for name, text in entries(NEWEST).items():
        parameters = re.findall(r"\.param \.(\w+)", text.partition("{")[0])
        sizes = {"int": 4, "float": 4, "int64": 8}
        expected = [8 if "*" in kind else sizes[kind] for kind, _ in signatures[name]]
        assert [int(kind[1:]) // 8 for kind in parameters] == expected, name


def test_an_error_in_the_source_would_be_found() -> None:
    with pytest.raises(nvrtc.CompileError, match=r"kernels\.cu\(\d+\): error: identifier \"blockidx\" is undefined"):
        nvrtc.compiled(source().replace("blockIdx.x * LANES", "blockidx.x * LANES", 1), "compute_80")


def test_a_fused_multiply_add_would_be_found() -> None:
    text = 'extern "C" __global__ void f(float *x) { x[0] = x[1] * x[2] + x[3]; }'
    assert "fma.rn.f32" not in nvrtc.compiled(text, "compute_80").ptx
    assert "fma.rn.f32" in nvrtc.compiled(text, "compute_80", "--fmad=true").ptx


def test_numbers_that_are_flushed_to_zero_would_be_found() -> None:
    """As ``cupy.RawModule`` compiles: its option comes last, and wins."""
    assert ".ftz." in nvrtc.compiled(LOOP, "compute_80", "-ftz=true").ptx


disassembled = pytest.mark.skipif(sass.PATH is None, reason=f"{sass.PACKAGE} is not installed (extra dev)")

LOOP = """extern "C" __global__ void layer_loop(const float *x, const int *ids, float w, int n, float *y)
{
    float sum = 0.0f;
    for (int k = 0; k < n; k++)
        sum += x[ids[k]] * w;
    y[threadIdx.x] = sum;
}"""

SPILLING = """extern "C" __global__ void spilling(const int *at, float *y)
{
    float own[64];
    for (int k = 0; k < 64; k++)
        own[at[k]] = y[k];
    y[0] = own[at[0]];
}"""


def loop_of(text: str, *options: str) -> budgets.Figures:
    """The figures of a text's one kernel on sm_80."""
    made = nvrtc.compiled(text, "sm_80", *options)
    ((name, kernel),) = sass.kernels(made.code).items()
    return budgets.of(name, kernel, nvrtc.Usage(32, 0, 0), 80)


@disassembled
@each
def test_no_kernel_goes_beyond_its_budget(architecture: int) -> None:
    """Machine code: nothing fused, flushed or spilled, and no main loop that takes more than it has taken."""
    name = f"sm_{architecture}"
    found = budgets.figures(architecture)
    assert set(budgets.table()) == set(found) == LAYERS | OTHERS
    assert [line for kernel, figures in found.items() for line in budgets.exceeded(kernel, name, figures)] == []


@disassembled
@each
def test_every_layer_has_a_main_loop_in_which_terms_of_all_outputs_are_added(architecture: int) -> None:
    """Else its figures were those of something else: the loop adds for 4 outputs of 4 instances, one or more terms each."""
    kernels = sass.kernels(nvrtc.kernels(architecture).code)
    for name in LAYERS:
        loop = kernels[name].main_loop()
        assert loop is not None
        assert loop.number(sass.adds) % (OUTPUTS * MINIBATCH) == 0, name
        assert loop.number(sass.adds) > 0, name
        assert (loop.number(sass.loads_shared) > 0) == ("staged" in name), name


@disassembled
@each
def test_sums_of_outputs_that_share_inputs_are_not_shared(architecture: int) -> None:
    """An activation that is read once is added for each of a thread's outputs, though sums with one weight are the same number.

    A multiply-add takes 1.4 instructions where there are only additions, and 2.4 in general.
    """
    kernels = sass.kernels(nvrtc.kernels(architecture).code)
    for name, most in ((ADDED, 1.4), (shared_kernel(uniform=True), 2.4), (shared_kernel(uniform=False), 2.4)):
        loop = kernels[name].main_loop()
        assert loop is not None
        assert loop.number(sass.adds) == OUTPUTS * MINIBATCH * loop.number(sass.loads_shared), name
        assert len(loop.instructions) <= most * loop.number(sass.adds), name


@disassembled
def test_what_is_forbidden_in_machine_code_would_be_found() -> None:
    good, fused, flushed = loop_of(LOOP), loop_of(LOOP, "--fmad=true"), loop_of(LOOP, "-ftz=true")
    assert (good["fused_multiply_adds"], good["flushing_instructions"], good["local_loads_and_stores"]) == (0, 0, 0)
    assert fused["fused_multiply_adds"] > 0
    assert flushed["flushing_instructions"] > 0
    assert loop_of(SPILLING)["local_loads_and_stores"] > 0


@disassembled
def test_a_loop_that_takes_more_would_be_found() -> None:
    """By instructions, by loads, and by warps; the message names kernel, architecture, figure and bound."""
    good, more = loop_of(LOOP), loop_of(LOOP.replace("* w", "* w * x[k]"))
    for figure in ("instructions_per_multiply_add", "global_loads_per_multiply_add"):
        assert more[figure] > good[figure] > 0
    ours = budgets.figures(NEWEST)["layer_16_staged"]
    assert budgets.exceeded("layer_16_staged", f"sm_{NEWEST}", ours) == []
    worse = ours | {"instructions_per_multiply_add": 5.0, "warps_per_multiprocessor": 8, "fused_multiply_adds": 3}
    assert [re.sub(r" \(.*", "", line) for line in budgets.exceeded("layer_16_staged", f"sm_{NEWEST}", worse)] == [
        "layer_16_staged on sm_90: fused_multiply_adds is 3, and at most 0 is allowed",
        "layer_16_staged on sm_90: warps_per_multiprocessor is 8, and at least 32 is allowed",
        "layer_16_staged on sm_90: instructions_per_multiply_add is 5, and at most 3.71 is allowed",
    ]
