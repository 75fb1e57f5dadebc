"""Rewrites what stands between markers on pages, and the figures beside them, from the committed records.

A marker is ``<!-- results: NAME -->``, up to ``<!-- end -->``; with ``optional`` after the name, a record may be missing, and
the page says so.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from experiments.config.resolve import ConfigError
from experiments.figures.base import style
from experiments.figures.base.drawing import Drawing
from experiments.report.results.committed import CommittedRecords, MissingRecordError
from experiments.report.results.tables import claims, gpu, kernels, overview, peers, regimes, schedulers, trained
from sparsednn.errors import unknown
from sparsednn.system.files import atomic_path

RECORDS = "docs/results/records"
PAGES = ("README.md", "docs/results/*.md")
NOT_MEASURED = "Not measured here."
FIGURES = {
    "ablation": "docs/ablation.png",
    "crossover": "docs/crossover.png",
    "parallelisms": "docs/parallelisms.png",
    "straggler_timeline": "docs/stragglers.png",
}
"""Figures that pages show, by the record that they are drawn from."""

SHOWN = {"straggler_timeline": ("measured",)}
"""Sweeps that a figure of a page shows, where it does not show all."""

DIGEST = "Source"
"""Entry of a PNG file with the SHA-256 of the record that it was drawn from."""

TABLES: dict[str, Callable[[CommittedRecords], str]] = {
    "overview": overview.overview,
    "machines": overview.machines,
    "peers": peers.challenge_network,
    "random_networks": peers.random_networks,
    "latency": peers.latency,
    "crossover": peers.crossover,
    "few_instances": peers.few_instances,
    "trained_networks": trained.trained_networks,
    "scheduler_pairs": schedulers.scheduler_pairs,
    "stragglers": schedulers.stragglers,
    "regimes": regimes.regimes,
    "beside_cpp": schedulers.beside_cpp,
    "validation": schedulers.validation,
    "process_pairs": schedulers.process_pairs,
    "parallelisms": claims.parallelisms_table,
    "claims": claims.claims,
    "recruiting_strategies": claims.strategies,
    "hashing": claims.hashing_table,
    "straggler_timeline": claims.stragglers,
    "kernel_rates": kernels.kernel_rates,
    "walking": kernels.walking,
    "dataset_table": kernels.whole_networks,
    "ablation": kernels.ablation,
    "linear_cost": kernels.linear_cost,
    "roofline": kernels.roofline,
    "gpu_predictions": gpu.predictions,
    "gpu_bounds": gpu.gpu_bounds,
    "gpu_cards": gpu.card_figures,
}
"""Generated parts of pages, by the names in their markers."""

MARKED = re.compile(r"<!-- results: (?P<name>\w+)(?P<optional> optional)? -->\n(?P<text>.*?)<!-- end -->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class GeneratedPage:
    """A page with its generated parts."""

    path: Path
    text: str

    @property
    def changed(self) -> bool:
        """Whether the file is another."""
        return self.path.read_text(encoding="utf-8") != self.text


def pages_below(root: Path) -> list[Path]:
    """Return the pages that may have markers."""
    return sorted(path for pattern in PAGES for path in root.glob(pattern))


def generated(text: str, records: CommittedRecords) -> str:
    """Return a page's text with all generated parts made anew.

    Raises
    ------
    MissingRecordError
        If a record is not there, unless the marker says that it is optional.
    ConfigError
        If a record cannot be used, or a marker has no such table, or no end.
    """
    if text.count("<!-- results:") != len(MARKED.findall(text)):
        raise ConfigError("a marker is not <!-- results: NAME --> ... <!-- end -->")
    return MARKED.sub(lambda found: _part(found, records), text)


def _part(found: re.Match[str], records: CommittedRecords) -> str:
    name, optional = found["name"], found["optional"] or ""
    if name not in TABLES:
        raise ConfigError(unknown("results", name, sorted(TABLES)))
    try:
        text = TABLES[name](records)
    except MissingRecordError:
        if not optional:
            raise
        text = NOT_MEASURED
    return f"<!-- results: {name}{optional} -->\n\n{text}\n\n<!-- end -->"


def regenerated(root: Path, folder: Path | None = None) -> Iterator[GeneratedPage]:
    """Yield every page below `root` with its generated parts made anew; raises as `generated` does, and names the page."""
    records = CommittedRecords(folder or root / RECORDS)
    for path in pages_below(root):
        try:
            yield GeneratedPage(path, generated(path.read_text(encoding="utf-8"), records))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error


def rewrite(root: Path) -> list[Path]:
    """Rewrite pages and figures below `root`; return those that changed."""
    records = CommittedRecords(root / RECORDS)
    pages = list(regenerated(root))
    changed = [page.path for page in pages if page.changed]
    for page in pages:
        with atomic_path(page.path) as temporary:
            temporary.write_text(page.text, encoding="utf-8")
    for name, target in FIGURES.items():
        if records.path(name).is_file() and drawn_from(root / target) != digest(records, name):
            draw(records, name, root / target)
            changed.append(root / target)
    return changed


def digest(records: CommittedRecords, name: str) -> str:
    """Return the SHA-256 of a record's file."""
    return hashlib.sha256(records.path(name).read_bytes()).hexdigest()


def drawn_from(path: Path) -> str | None:
    """Return the SHA-256 of the record that a PNG file was drawn from; None if it does not say, or is not there."""
    if not path.is_file():
        return None
    with Image.open(path) as image:
        found = image.info.get(DIGEST)
    return found if isinstance(found, str) else None


def draw(records: CommittedRecords, name: str, into: Path) -> None:
    """Draw the figure of a record, and note in it which record it is of."""
    kept, points = records.experiment(name), records.points(name)
    if name in SHOWN:
        points = replace(points, points=tuple(point for point in points.points if point.sweep in SHOWN[name]))
    with style.styled(), atomic_path(into) as temporary:
        drawing: Drawing = importlib.import_module(f"experiments.figures.{kept.figure}").draw(points)
        drawing.figure.savefig(temporary, format="png", metadata={DIGEST: digest(records, name)})
