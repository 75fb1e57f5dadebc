"""Makes the report of ``experiment=gpu_check``: one Markdown file, to be sent to the developers of this project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.gpu_check.tables import cell, one, rows_of, table
from experiments.run.environment import environment
from sparsednn.system.json_fields import to_json

FILE = "gpu_report.md"

ONE_LAYER = "python run.py backend=cupy instances=600 layers=120"
COMMANDS = (
    f"compute-sanitizer --tool memcheck {ONE_LAYER}",
    f"compute-sanitizer --tool racecheck {ONE_LAYER}",
    f"compute-sanitizer --tool initcheck {ONE_LAYER}",
    f"compute-sanitizer --tool synccheck {ONE_LAYER}",
    "nsys profile -t cuda,nvtx,osrt -o sparsednn python run.py backend=cupy repeats=3",
    "nsys stats --report cuda_gpu_kern_sum,cuda_gpu_mem_time_sum sparsednn.nsys-rep",
    "ncu --set full --kernel-name regex:layer --launch-count 20 -o sparsednn "
    "python run.py backend=cupy optimize.rows=none optimize.columns=none",
)
"""What a developer would run next, to copy."""


def report(figures: dict[str, Any]) -> tuple[str, str]:
    """Return the report's file name and its text; of figures that are not all there yet, it has those that are."""
    failed = figures["failed"]
    parts = [
        "# sparsednn on a GPU",
        "Made by `python run.py experiment=gpu_check`. Please send this file, with result.json beside it, to the project.",
        _verdict(failed, figures["unfinished"]),
        "\n".join(f"- {line}" for line in failed),
        _left_out(figures["left_out"]),
        *_machine(figures),
        *_links(figures),
        *_kernels(figures),
        *_runs(figures),
        _environment(),
        _seconds(figures["seconds"]),
        "## What to run next\n\n```bash\n" + "\n".join(COMMANDS) + "\n```",
        *_texts(figures["smi"]),
    ]
    return FILE, "\n\n".join(part for part in parts if part) + "\n"


def _verdict(failed: Sequence[str], n_unfinished: int) -> str:
    if n_unfinished:
        return f"**Unfinished**: {n_unfinished} parts were still to come, {len(failed)} failures so far"
    if failed:
        return f"**{len(failed)} failures**"
    return "**All right**: conformance passed, all bits are the reference's, and all categories are the true ones."


def _left_out(reasons: dict[str, str]) -> str:
    lines = [f"- {section}: {' '.join(reason.split())}" for section, reason in reasons.items()]
    return "\n".join(["## Left out", "", *lines]) if lines else ""


def _machine(figures: dict[str, Any]) -> list[str]:
    gpus = (figures["smi"] or {}).get("gpus", [])
    tools = figures["tools"] or {}
    cold = figures["cold"]
    return [
        one("Devices", figures["devices"]),
        one("nvidia-smi", gpus),
        table("NVIDIA's tools", ("tool", "where"), list(tools.items())) if tools else "",
        "" if cold is None else one("A cold start: nothing compiled, 1024 x 120, seconds", [cold]),
    ]


def _links(figures: dict[str, Any]) -> list[str]:
    heads = ("number", "bytes", "filled GB/s", "copied GB/s", "peak GB/s", "share of peak")
    memory = [
        [row["number"], row["bytes"], row["filled_per_second"] / 1e9, row["copied_per_second"] / 1e9,
         None if row["peak_bytes_per_s"] is None else row["peak_bytes_per_s"] / 1e9, row["share_of_peak"]]
        for row in figures["bandwidth"] or []
    ]  # fmt: skip
    across = [
        [row["from"], row["to"], row["direct"], row["bytes"], row["bytes_per_second"] / 1e9] for row in figures["peers"] or []
    ]
    return [
        "" if figures["copies"] is None else _copies(figures["copies"]),
        table("Memory of the devices", heads, memory) if memory else "",
        table("Copies between devices", ("from", "to", "direct", "bytes", "GB/s"), across) if across else "",
    ]


def _copies(found: dict[str, Any]) -> str:
    pinned = "pinned" if found["pinned"] else "could not be pinned"
    rows = [
        [name, found["bytes"], found[key] / 1e9]
        for name, key in (
            (pinned, "bytes_per_second"),
            ("pageable", "pageable_bytes_per_second"),
            ("to the host", "back_bytes_per_second"),
        )
    ]
    return table("Copies from the host", ("memory", "bytes", "GB/s"), rows)


def _kernels(figures: dict[str, Any]) -> list[str]:
    launches, heads = figures["launches"], ("neurons", "columns", "kernel", "instances", "microseconds", "multiply-adds e9/s",
                                            "GB/s", "share of peak")  # fmt: skip
    layers = [
        [row["neurons"], row["columns"], row["kernel"], row["instances"], row["seconds_median"] * 1e6,
         row["multiply_adds_per_second"] / 1e9, row["bytes_per_second"] / 1e9, row["share_of_peak"]]
        for row in figures["layers"] or []
    ]  # fmt: skip
    return [
        one("Kernels as loaded", figures["attributes"]),
        table("One layer, by the device's clock", heads, layers) if layers else "",
        "" if launches is None else table(
            "Launches of a layer so small that the device waits for the host", ("kernel", "launches", "microseconds"),
            [[launches["kernel"], launches["launches"], 1e6 * launches["seconds_per_launch"]]],
        ),
    ]  # fmt: skip


def _runs(figures: dict[str, Any]) -> list[str]:
    conformance, sizes = figures["conformance"], ("neurons", "layers", "columns")
    return [
        one("Bits of the reference", figures["bits"]),
        "" if conformance is None else _conformance(conformance),
        rows_of("The networks of the challenge, kernel=fused", figures["networks"], sizes),
        rows_of("Kernels and schedulers, 1024 x 120", figures["kernels"], ("kernel", "scheduler")),
        rows_of("Layers streamed from the host", figures["streaming"], sizes),
        rows_of("The CPU beside it, backend=numba", figures["cpu"], sizes),
    ]


def _conformance(found: dict[str, Any]) -> str:
    heads = ("passed", "failed", "skipped", "seconds")
    lines = table("Conformance on the GPU", heads, [[found[head] for head in heads]])
    return "\n".join([lines, "", *(f"- `{line}`" for line in found["failures"])]).rstrip()


def _environment() -> str:
    return table("Environment", ("what", "value"), sorted((key, str(value)) for key, value in to_json(environment()).items()))


def _seconds(spent: dict[str, dict[str, float]]) -> str:
    rows = [[section, row["expected_s"], row["taken_s"]] for section, row in spent.items()]
    return table("How long the sections took", ("section", "expected s, a guess", "taken s"), rows) if rows else ""


def _texts(smi: dict[str, Any] | None) -> list[str]:
    """Return what nvidia-smi says, as it is."""
    if smi is None:
        return []
    titles = {"topology": "nvidia-smi topo -m", "all": "nvidia-smi -q"}
    return [f"## {cell(title)}\n\n```text\n{smi[name].rstrip()}\n```" for name, title in titles.items()]
