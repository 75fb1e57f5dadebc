"""Distributes test files over processes: those that take long first, those that share a run of all experiments together."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

SMOKE = "smoke"
OF_SMOKE = (
    "test_toys.py",
    "test_committed.py",
    "test_direct_calls.py",
    "test_paper.py",
    "test_report.py",
    "test_validation.py",
    "test_pairs.py",
    "test_regimes.py",
    "test_stragglers.py",
    "test_walking.py",
)
"""Files of tests/experiments whose tests want all experiments run at toy size, by the fixture `smoke`."""

COMPOSING = "composing"
OF_COMPOSING = ("tests/config/test_resolve.py", "tests/docs/test_commands.py", "tests/experiments/test_planning.py")
"""Files whose tests compose the same points by Hydra, and share what it has composed (`tests.composing`)."""

FIRST = (
    SMOKE,
    "tests/conformance/test_without_jit.py",
    "tests/conformance/test_backend.py",
    "tests/conformance/test_schedulers.py",
    "tests/experiments/test_experiment.py",
    COMPOSING,
    "tests/conformance/test_switches.py",
    "tests/mpi/test_processes.py",
    "tests/experiments/test_console.py",
    "tests/experiments/test_run.py",
    "tests/unit/test_thread_delays.py",
)
"""Groups that take longest, so that no process is left alone with one at the end."""


QUICK = (
    "tests/unit/",
    "tests/config/",
    "tests/docs/",
    "tests/conformance/test_dying_instances.py",
    "tests/gpu/test_packing.py",
)
"""Files that ``pytest -m quick`` runs, for every save: most but those of programs, processes or every kernel."""

NOT_QUICK = (
    "tests/config/test_composer.py::test_a_point_is_as_hydra_composes_it",
    "tests/config/test_one_composition.py",
    "tests/config/test_resolve.py",
    "tests/docs/test_commands.py",
    "tests/docs/test_pages.py::test_python_on_a_page_runs_as_it_is_written",
    "tests/docs/test_tutorial.py",
    "tests/unit/test_cut_inference.py::test_kernels_are_compiled_for_small_and_for_large_row_groups",
    "tests/unit/test_every_order.py",
    "tests/unit/test_groups.py::test_a_processor_without_avx512_computes_the_same_bits",
    "tests/unit/test_kernel_cache.py",
    "tests/unit/test_network_cache.py",
    "tests/unit/test_packing_at_once.py",
    "tests/unit/test_shared_memory.py",
    "tests/unit/test_short_weights.py::test_a_layer_on_a_block_has_the_bits_of_the_rounded_one",
    "tests/unit/test_simd.py::test_a_processor_without_avx512_computes_the_same_bits",
    "tests/unit/test_simulated_adaptive.py::test_it_is_nearly_as_fast_as_the_best_of_the_others",
    "tests/unit/test_streaming.py",
    "tests/unit/test_thread_delays.py",
)
"""Files and tests of these folders that take some seconds or more: they start programs, compile, or try all there is."""


class FilesInTurn(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a process whole files, whose tests share fixtures."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Return the group of a test: its file, `SMOKE` or `COMPOSING`."""
    file, _, _ = nodeid.partition("::")
    if file in OF_COMPOSING:
        return COMPOSING
    return SMOKE if file.startswith("tests/experiments/") and file.endswith(OF_SMOKE) else file


def turn_of(nodeid: str) -> int:
    """Return when a test's group is to begin: those of `FIRST` in their order, then all others."""
    group = group_of(nodeid)
    return FIRST.index(group) if group in FIRST else len(FIRST)


def is_quick(nodeid: str) -> bool:
    """Return whether a test is among those for every save."""
    return nodeid.startswith(QUICK) and not nodeid.startswith(NOT_QUICK)
