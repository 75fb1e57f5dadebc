"""Declares the return value of a figure's module."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure, the data that it shows (of inferences: `experiments.records.read.frame`), and a table for the console."""

    figure: Figure
    data: pd.DataFrame
    table: RenderableType
