"""Summarises a run on the console, in words that need no knowledge of the code: what came of it first, details last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from sparsednn.backend import DeviceUse, LayerReads, Optimizations
from sparsednn.results.model_record import AccuracyRecord
from sparsednn.results.record import LABELS, LOGITS, MeasuredRun, ProcessTimes, RunRecord, Spread, Truth
from sparsednn.results.worker_times import WorkerRecord
from sparsednn.system.json_fields import declared, to_json


def summary(run: RunRecord) -> Table:
    """Return the record of an inference as a readable table."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, text in (_result(run) | _details(run) | _details_of_some(run)).items():
        table.add_row(name, escape(text))
    return table


def _result(run: RunRecord) -> dict[str, str]:
    """Return the rows of every run: its time, its result, and how it was run."""
    times, note = run.seconds.inference, simulated_note(run)
    spread = f" (median of {len(times)}: {min(times):.3f} to {max(times):.3f})" if len(times) > 1 else ""
    workers = f"{_count(run.processes, 'process')} x {_count(run.threads, 'thread')}"
    return {
        "inference": f"{run.seconds.inference_median:.3f} s{spread}{note}",
        **_answers(run),
        "input": f"{run.instances:,} instances (input vectors), {run.input_nnz:,} nonzeros",
        "network": f"{run.neurons:,} neurons x {run.layers:,} layers, {run.network_nnz:,} connections (weights)",
        "run": f"backend {run.backend}, kernel {run.kernel}, scheduler {run.scheduler}, {workers}{note}",
        "work": _work(run),
        "optimizations": "\n".join(optimizations(run.optimizations)) or "none",
    }


def _answers(run: RunRecord) -> dict[str, str]:
    """The outcome of a run: right answers where there are labels, the challenge's categories elsewhere."""
    logits = {"logits": verdict(run.truth)} if run.truth.kind == LOGITS else {}
    if run.accuracy is not None or logits:
        return ({"accuracy": accuracy(run.accuracy)} if run.accuracy is not None else {}) | logits
    if run.truth.kind == LABELS:
        return {"classes": verdict(run.truth)}
    if run.model is not None and not run.truth.checked:
        return {"answers": "compared with nothing: input.labels=FILE has the true classes"}
    return {"categories": f"{run.categories_count:,} instances end above zero: {verdict(run.truth)}"}


def accuracy(found: AccuracyRecord) -> str:
    """Say how many predicted classes are right."""
    low, high = found.interval95
    best = "" if found.top5 is None else f"; the label is among the five best of {found.top5:.2%}"
    return (
        f"{found.share:.2%} of the instances are classified right, {found.correct:,} of {found.of:,} by "
        f"{SOURCES.get(found.source, found.source)} (95 % interval {low:.2%} to {high:.2%}{best})"
    )


def _work(run: RunRecord) -> str:
    """Say how many multiply-adds were really done, of those that every connection for every instance would take."""
    nominal = run.instances * run.network_nnz
    if not 0 < run.performed_edges < nominal:
        return f"{run.performed_edges:,} multiply-adds"
    share = f"1 in {_three_digits(nominal / run.performed_edges)} of instances x connections; the others are by zero"
    share = f"{run.performed_edges:,} multiply-adds, {share}"
    return f"{share}, or saved by optimizations" if any(optimizations(run.optimizations)) else share


def _three_digits(ratio: float) -> str:
    """Write a ratio that is at least 1 with three digits, or as a whole number."""
    return f"{ratio:.3g}" if ratio < 1000 else f"{ratio:,.0f}"


ROWS = {
    "prune": "instances that have become all zero are dropped",
    "retire": "instances that have become all zero, or can no longer change, are dropped",
    "merge": "equal instances are computed once; those all zero, or that can no longer change, are dropped",
}
"""Effect of each value of ``optimize.rows``."""


def optimizations(on: Optimizations) -> Iterator[str]:
    """Say what each optimisation that is on does, and by which key it is set."""
    if on.rows in ROWS:
        yield f"{ROWS[on.rows]} (optimize.rows={on.rows})"
    if on.columns == "merge":
        found = (
            "equal neurons of a layer are computed once" if on.structure_aware else "no layer has equal neurons to compute once"
        )
        yield f"{found} (optimize.columns=merge)"
    if on.order == "shared_inputs":
        yield "neurons with the same inputs are computed one after the other (optimize.order=shared_inputs)"
    if on.full_columns:
        yield "a neuron that is zero for no instance is added as a dense vector (optimize.full_columns=true)"
    if on.empty_columns == "skip":
        yield "sums that no entry reaches are not computed (optimize.empty_columns=skip)"
    if on.block_rows is not None:
        yield f"{on.block_rows} instances at a time go through the layers (backend.block_rows={on.block_rows})"
    if on.weights is not None:
        yield f"weights are rounded, and stored as {on.stored_weights} (optimize.weights={on.weights})"
    if on.residency == "stream":
        yield "layers are read from files ahead of their use (network.residency=stream)"
    yield from (f"{key}={_shown(value)}" for key, value in on.others.items())


def _details(run: RunRecord) -> dict[str, str]:
    """Rates, times and memory: for those who compare."""
    return {
        "peak memory": f"{run.peak_rss_bytes / 1e9:.2f} GB",
        "nominal rate": f"{run.nominal_edges_per_second / 1e9:,.1f}e9 connections/s, as the challenge counts: "
        "instances x connections / time",
        "performed rate": f"{run.performed_edges_per_second / 1e9:,.2f}e9 multiply-adds/s really done",
        "busy": busy(run),
        "locking": locking(run.workers),
        "other times": _other_times(run),
    }


def _details_of_some(run: RunRecord) -> dict[str, str]:
    """Return the rows of runs that have several processes, streamed layers, devices or a choice."""
    rows = {}
    if isinstance(run, MeasuredRun):
        if run.processes > 1 and run.process_times is not None:
            rows["processes"] = processes(run.process_times)
        if run.stream is not None:
            rows["stream"] = streaming(run.stream)
        if run.device is not None:
            rows["devices"] = devices(run.device)
    if run.auto is not None:
        rows["chosen"] = run.auto.reason
    return rows


OTHER_TIMES = {
    "load": "read or make the data",
    "choose": "choose a scheduler",
    "hash": "distribute the instances",
    "prepare": "pack the network",
    "compile": "compile or load kernels",
    "profile": "count the work of every instance",
}
"""Times that are not part of the inference, with what was done."""

SHORTEST_S = 0.005
"""Shorter ones would be shown as 0.00 s."""

SHORTEST_ASLEEP_MS = 0.05

MOST_WORKERS_SHOWN = 16


def _other_times(run: RunRecord) -> str:
    seconds = to_json(run.seconds)
    shown = [(text, seconds[name]) for name, text in OTHER_TIMES.items() if seconds.get(name, 0.0) >= SHORTEST_S]
    return ", ".join(f"{time:.2f} s to {text}" for text, time in shown) or "none to speak of"


def _count(n: int, what: str) -> str:
    """Say how many there are of something."""
    return f"{n} {what}" if n == 1 else f"{n} {what}{'es' if what.endswith('s') else 's'}"


def processes(times: ProcessTimes) -> str:
    """Say how the times of the processes spread."""
    shown = []
    for name in declared(ProcessTimes):
        one: Spread = getattr(times, name.name)
        spread = f"mean {one.mean:.3f}, largest / mean {one.spread:.2f}"
        shown.append(f"{name.name.removesuffix('_s')} {one.min:.3f} to {one.max:.3f} s ({spread})")
    return "\n".join(shown)


def simulated_note(run: RunRecord) -> str:
    """Say of a simulated record that it is one."""
    return " (simulated)" if run.simulated_times else ""


def busy(run: RunRecord) -> str:
    """Say how long each worker was busy; of many, the shortest and the longest."""
    times = [worker.busy_s for worker in run.workers]
    if len(times) > MOST_WORKERS_SHOWN:
        shown = f"{min(times):.3f} to {max(times):.3f} s"
    else:
        shown = ", ".join(f"{time:.3f} s" for time in times)
    return f"{shown}: each thread in kernels; largest / mean {run.imbalance.busy:.2f}, 1 is even"


LOCKING = ("enlist", "probe", "recruit", "meet", "lock")
"""Parts of the locking mechanism: to report being free, ask for helpers in vain or not, meet in teams, wait for the lock."""

LOCKING_WORDS = ("report being free", "ask for helpers in vain", "get helpers", "meet in teams", "wait for the lock")


def locking(workers: list[WorkerRecord]) -> str:
    """Say what the protocol between the workers has cost, and how long they were asleep."""
    most = max(worker.locking_s for worker in workers)
    means = {words: mean(workers, f"{part}_s") * 1e3 for part, words in zip(LOCKING, LOCKING_WORDS, strict=True)}
    parts = ", ".join(f"{time:.2f} to {words}" for words, time in means.items() if time >= SHORTEST_S)
    asleep = mean(workers, "wait_s") * 1e3
    return (
        f"{mean(workers, 'locking_s') * 1e3:.2f} ms a thread, at most {most * 1e3:.2f}"
        f"{f' ({parts})' if parts else ''}{f'; asleep {asleep:.1f} ms' if asleep >= SHORTEST_ASLEEP_MS else ''}"
    )


def mean(workers: list[WorkerRecord], name: str) -> float:
    """Return the mean of a field of the workers' records."""
    return sum(float(getattr(worker, name)) for worker in workers) / len(workers)


def streaming(stream: LayerReads) -> str:
    """Say what was read of the layers while others were computed."""
    text = (
        f"{stream.different_layers_read:,} of {stream.layers:,} layers read, {stream.layers_read:,} times in all, "
        f"{stream.bytes_read / 1e9:.2f} GB in {stream.read_s:.2f} s; workers waited {stream.waited_s:.2f} s for them"
    )
    return text if stream.overlap is None else f"{text} ({100 * stream.overlap:.0f} % of the reading while computing)"


def devices(use: DeviceUse) -> str:
    """Say which devices were used, and what they did by their own clocks in all repeats."""
    names = Counter(one.name for one in use.devices)
    shown = ", ".join(f"{n} x {name}" if n > 1 else name for name, n in names.items())
    held = max(one.used_bytes for one in use.devices) / 1e9
    text = (
        f"{shown}; {_count(use.row_groups, 'row group')} in {use.row_groups_s:.3f} s of their own clocks, "
        f"at most {use.block_rows:,} instances at a time, {held:.2f} GB held"
    )
    return text if use.layers_copied is None else f"{text}; {use.layers_copied:,} layers copied"


SOURCES = {
    "published_ids": "the published list",
    "published_count": "the published number",
    "own_reference": "a reference run",
    "given": "the given truth",
    "package": "the labels in the package",
}
"""Sources of the truth (`sparsednn.results.record.Truth`), in words."""


def verdict(truth: Truth) -> str:
    """Say whether categories are right, or how many answers are."""
    if not truth.checked:
        return "not checked (no truth)"
    if truth.kind == LOGITS:
        right = "as given" if truth.match else "NOT AS GIVEN"
        return f"{truth.correct:,} of {truth.of:,} instances have the logits that are given: {right}"
    if truth.kind == LABELS:
        return f"{truth.correct:,} of {truth.of:,} right (by {SOURCES.get(str(truth.source), truth.source)})"
    return f"{'correct' if truth.match else 'WRONG'} (by {SOURCES.get(str(truth.source), truth.source)})"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
