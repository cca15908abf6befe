"""The lines of the result: a figure, its bar, and whether it clears it."""

import platform
from os import cpu_count
from statistics import median
from typing import Literal

from msgspec import Struct


class Line(Struct, frozen=True):
    """One row. A line without a bar informs only."""

    what: str
    result: str
    value: float = 0.0
    bar: float | None = None
    direction: Literal["at least", "at most"] = "at least"
    unit: str = ""

    def passes(self, slack: float) -> bool:
        """Whether the value clears the bar, loosened by the factor `slack`."""
        if self.bar is None:
            return True
        if self.direction == "at least":
            return self.value >= self.bar / slack
        return self.value <= self.bar * slack


def markdown(lines: list[Line], slack: float) -> str:
    rows = ["| what | measured | value | bar | |", "|---|---|---|---|---|"]
    for line in lines:
        if line.bar is None:
            rows.append(f"| {line.what} | {line.result} | | | |")
            continue
        bar = f"{line.direction} {line.bar:g}{line.unit}"
        if slack != 1:
            bar += f", loosened {slack:g} ×"
        verdict = "pass" if line.passes(slack) else "**FAIL**"
        rows.append(
            f"| {line.what} | {line.result} | {line.value:.3g}{line.unit} | {bar} | {verdict} |"
        )
    return "\n".join([_machine(), "", *rows, ""])


def _machine() -> str:
    return (
        f"{platform.system()} {platform.machine()}, {cpu_count()} cores shared by server and "
        f"generator, Python {platform.python_version()}"
    )


def median_ratio(above: list[float], below: list[float]) -> float:
    """The median of the ratios of paired runs: what disturbs one run disturbs its neighbour."""
    return median(a / b if b else 0.0 for a, b in zip(above, below, strict=True))


def middle(values: list[float]) -> str:
    """The median and, where there are several, the range."""
    spread = f" ({min(values):,.4g} to {max(values):,.4g})" if len(values) > 1 else ""
    return f"{median(values):,.0f}{spread}"
