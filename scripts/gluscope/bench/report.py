"""docs/performance.md and its picture from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gluscope.bench.timing import Spread

MARKERS = {
    "cpu": ("<!-- measured: written by `make bench` -->", "<!-- end of what was measured -->"),
    "cuda": (
        "<!-- measured on a GPU: written by `scripts/bench.py --device cuda` -->",
        "<!-- end of what was measured on a GPU -->",
    ),
}
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """A line of a table. met: of a goal; None where there is none, or nothing to hold it against."""

    cells: tuple[str, ...]
    goal: str = ""
    met: bool | None = None


@dataclass(frozen=True)
class Table:
    """goals: whether the last two columns are the goal and whether it is met. note: a line below."""

    title: str
    head: tuple[str, ...]
    rows: list[Row]
    note: str = ""
    goals: bool = True


@dataclass(frozen=True)
class Bar:
    """A ratio with its quartiles, in the picture."""

    label: str
    value: Spread
    goal: float | None = None


@dataclass
class Group:
    """Bars of one shape, and its lines over the number of tokens: [(tokens, ratio), ...] each."""

    name: str
    bars: list[Bar]
    lines: dict[str, list[tuple[int, float]]] = field(default_factory=dict)


def markdown(tables: Sequence[Table], conditions: Sequence[str], picture: str) -> str:
    """What stands between the markers."""
    parts = ["\n".join(f"- {line}" for line in conditions)] if conditions else []
    parts += [f"![ratios to a plain forward pass]({picture})"] if picture else []
    for table in tables:
        head = table.head + (("goal", "met") if table.goals else ())
        lines = [_line(head), _line(["---"] * len(head))]
        for row in table.rows:
            met = {None: "", True: "yes", False: "**no**"}[row.met]
            lines.append(_line(row.cells + ((row.goal, met) if table.goals else ())))
        parts.append("\n".join([f"### {table.title}", "", *lines, *(["", table.note] if table.note else [])]))
    return "\n\n".join(parts) + "\n"


def put(document: str, text: str, device: str = "cpu") -> str:
    """The document with `text` between the device's markers. Raises ValueError where it lacks them."""
    begin, end = MARKERS[device]
    head, began, rest = document.partition(begin)
    _, ended, tail = rest.partition(end)
    if not (began and ended):
        raise ValueError(f"expected the markers {begin} and {end}, found none")
    return f"{head}{begin}\n\n{text}\n{end}{tail}"


def picture(groups: Sequence[Group]) -> str:
    """SVG: for every shape bars of ratios with their quartiles and goals, and lines over tokens."""
    loader = Environment(loader=FileSystemLoader(_HERE), undefined=StrictUndefined, autoescape=True, trim_blocks=True)
    top = max([1.2, *(line for group in groups for line in _line_values(group))]) * 1.02
    return loader.get_template("performance.svg.j2").render(groups=groups, top=top, widest=_widest(groups)) + "\n"


def ratio(value: Spread) -> str:
    return f"{value.median:.3f} ({value.low:.3f}-{value.high:.3f})"


def percent(value: Spread) -> str:
    return f"{100 * value.median:.1f} % ({100 * value.low:.1f}-{100 * value.high:.1f})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _line_values(group: Group) -> list[float]:
    return [value for line in group.lines.values() for _, value in line]


def _widest(groups: Sequence[Group]) -> float:
    return max(bar.value.high for group in groups for bar in group.bars)
