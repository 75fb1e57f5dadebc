"""A benchmark among all experiments at toy size: its record and its figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from experiments.figures.__main__ import main as redraw
from tests.experiments.toys import COMPILED_ONLY, record

pytestmark = pytest.mark.timeout(900)  # the first of those that share it runs smoke, for all


@COMPILED_ONLY
def test_a_benchmark_is_one_record_from_which_its_figure_is_drawn(toys: Callable[[str], Path], tmp_path: Path) -> None:
    folder = toys("roofline")
    shown = (folder / "stdout").read_text()
    assert "point 1 of 1: benchmark / roofline" in shown
    assert "the kernel, 1 thread: multiply-adds e9/s" in shown
    assert "x fastest" not in shown, "there is no table of inferences"
    found = record(folder / "0")
    assert found["roofline"]["rounds"] == found["config"]["repeats"] == 2
    assert not {"neurons", "layers", "seconds"} & found.keys(), "nothing was inferred"
    drawn = pd.read_csv(folder / "roofline.csv")
    layers = {(case["threads"], case["name"], case["median"]) for case in found["roofline"]["kernels"] if case["stride"] != 24}
    rows = drawn[drawn["what"] == "layer"]
    assert set(zip(rows["threads"], rows["name"], rows["median"], strict=True)) == layers
    assert redraw(["roofline", str(folder), "--into", str(tmp_path)]) == 0
    for name in ("roofline.png", "roofline.csv", "roofline.sources.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
