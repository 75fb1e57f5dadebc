"""Declares the scheduler interface: a pure state machine from events to actions.

A scheduler decides and an executor acts. A scheduler has no clock, no lock and no thread: the executor calls `on_event` for one
event at a time and carries out the actions it returns, in real or in virtual time.

The parallelisms are those of M. Hasanzadeh Mofrad, R. Melhem, Y. Ahmad and M. Hammoud, "Accelerating Distributed Inference of
Sparse Deep Neural Networks via Mitigating the Straggler Effect", HPEC 2020, doi:10.1109/HPEC43674.2020.9286189, here called the
paper, and of its C++ program, DistSparseDNN; each module says where it differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sparsednn.options.groups import SchedulerOptions
from sparsednn.schedulers.outlook import Outlook


class Message:
    """An event, an action or a job: small, and equal to another of its class with the same fields.

    Subclasses are declared with ``eq=False, repr=False``: the methods here serve all of them, and are not compiled again for
    each while the library is imported.
    """

    __slots__: tuple[str, ...] = ()

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        """Compare class and fields."""
        if not isinstance(other, Message):
            return NotImplemented
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        """Return the same for those that are equal; the fields are not to be assigned."""
        return hash((type(self), *self._values()))

    def __repr__(self) -> str:
        """Return the fields as a call."""
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__qualname__}({', '.join(shown)})"


@dataclass(slots=True, eq=False, repr=False)
class Started(Message):
    """A worker has started and has nothing to do."""

    worker: int


@dataclass(slots=True, eq=False, repr=False)
class Finished(Message):
    """A row group is through the last layer; `worker` ran it alone or led the team, all of which is free now.

    Attributes
    ----------
    worker, row_group : int
    seconds : float
        By the executor's clock, from when the row group was opened on.
    multiply_adds : int
        Done for it, by all who ran it.
    """

    worker: int
    row_group: int
    seconds: float = 0.0
    multiply_adds: int = 0


@dataclass(slots=True, eq=False, repr=False)
class Boundary(Message):
    """A worker that was called stands at a layer boundary of its row group; if it leads a team, so does the team.

    Attributes
    ----------
    worker, row_group : int
    scores : tuple of int
        Layers finished of the row group that each worker runs or leads; of no meaning for the others.
    work : int
        Multiply-adds that the next layer is expected to take.
    """

    worker: int
    row_group: int
    scores: tuple[int, ...]
    work: int


@dataclass(slots=True, eq=False, repr=False)
class Taken(Message):
    """The outcome of a `Take`: the number of the row group in this process, or None if that process has none left."""

    worker: int
    process: int
    row_group: int | None


Event = Started | Finished | Boundary | Taken


@dataclass(slots=True, eq=False, repr=False)
class Run(Message):
    """The worker takes a row group on, alone, from where it is to the last layer."""

    worker: int
    row_group: int


@dataclass(slots=True, eq=False, repr=False)
class FormTeam(Message):
    """The members take a row group on together, from where it is to the last layer; the first one leads.

    They split the columns (with CSR activations: the rows) of each layer.
    """

    row_group: int
    members: tuple[int, ...]


@dataclass(slots=True, eq=False, repr=False)
class Call(Message):
    """The worker, or the leader of its team, is to report at its next layer boundary, from layer `from_layer` on."""

    worker: int
    from_layer: int


@dataclass(slots=True, eq=False, repr=False)
class Dismiss(Message):
    """The worker need not report any more; it may do so all the same if it has seen the call already."""

    worker: int


@dataclass(slots=True, eq=False, repr=False)
class Sleep(Message):
    """The worker waits, to be recruited or stopped."""

    worker: int


@dataclass(slots=True, eq=False, repr=False)
class Stop(Message):
    """The worker ends: there will be no more work for it."""

    worker: int


@dataclass(slots=True, eq=False, repr=False)
class Take(Message):
    """The worker takes the next row group that is left in the queue of a process (its own, or another); then `Taken`."""

    worker: int
    process: int


@dataclass(slots=True, eq=False, repr=False)
class Cut(Message):
    """Rows ``start..stop-1`` of the process, in the order in which they are neighbours, are row group `row_group` from now on.

    Row groups are numbered from 0 in the order in which they are cut; each row is to be cut once.
    """

    row_group: int
    start: int
    stop: int


Action = Run | FormTeam | Call | Dismiss | Sleep | Stop | Take | Cut


@dataclass(slots=True, eq=False, repr=False)
class Job(Message):
    """The size of what is to be scheduled in one process.

    Attributes
    ----------
    n_workers, n_row_groups, n_layers : int
    domains : tuple of int
        The NUMA domain of each worker; all in one, unless given.
    process, n_processes : int
        Which of how many processes this is.
    outlook : Outlook, optional
        What is expected of the rows; for schedulers that cut row groups themselves.
    """

    n_workers: int
    n_row_groups: int
    n_layers: int
    domains: tuple[int, ...] = ()
    process: int = 0
    n_processes: int = 1
    outlook: Outlook | None = None

    def __post_init__(self) -> None:
        """Put all workers into one domain, or check that each has one."""
        if not self.domains:
            self.domains = (0,) * self.n_workers
        if len(self.domains) != self.n_workers:
            raise ValueError(f"{len(self.domains)} NUMA domains for {self.n_workers} workers; each worker needs one")

    def domain_sizes(self) -> dict[int, int]:
        """Return how many workers each domain has."""
        return dict(Counter(self.domains))

    def of_workers(self, n: int) -> Job:
        """Return the same job for the first `n` workers."""
        return replace(self, n_workers=n, domains=self.domains[:n])


SPLIT_FACTORS = (4, 8, 16)
"""Row groups for each worker that are tried where workers take them from queues."""


class Scheduler(ABC):
    """Decides which worker runs which row group, and when.

    A scheduler is used for one run after another: `start` forgets the last one. What it knows of a run is in attributes, each
    declared in its class with what it means and what always holds of it; `validate` checks that.
    """

    name: str
    takes_from_processes = False
    """Whether row groups are taken from queues that all processes share (`Take`)."""

    cuts = False
    """Whether it cuts row groups itself, as it goes (`Cut`): it is told of the rows' costs (`Job.outlook`), and the rows of all
    processes are spread, so that any so many are like any others."""

    one_row_group = False
    """Whether all rows of a process are one row group, so that their order makes no difference."""

    tuned: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    """Fields of `SchedulerOptions` that this scheduler can be tuned by, each with the values that ``scheduler=auto`` tries."""

    def __init__(self, options: SchedulerOptions | None = None) -> None:
        self.options = SchedulerOptions() if options is None else replace(options)

    @abstractmethod
    def n_row_groups(self, n_workers: int) -> int:
        """Return into how many row groups the rows of one process are to be split before the run; 0 if it cuts them itself."""

    def n_wanted(self, job: Job) -> int:
        """Return how many of the job's workers are to be started, from 1 on; all, unless a scheduler says otherwise.

        The run that follows is started with the job of so many workers.
        """
        return job.n_workers

    @abstractmethod
    def start(self, job: Job) -> None:
        """Get ready for a new run."""

    @abstractmethod
    def on_event(self, event: Event) -> list[Action]:
        """Take note of an event and return what is to be done now, in order."""

    def validate(self) -> None:  # noqa: B027 (a scheduler without state has nothing to check)
        """Check the invariants of the state, after `start` and after any event; for tests, since it costs more than a decision.

        Raises
        ------
        AssertionError
            Naming the invariant that does not hold.
        """


def require(holds: bool, invariant: str) -> None:
    """Raise AssertionError with an invariant of a scheduler's state unless it holds (with ``python -O`` too)."""
    if not holds:
        raise AssertionError(invariant)
