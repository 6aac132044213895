"""A comparison as lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from gluscope.compare.lists import share
from gluscope.compare.runs import Comparison
from gluscope.compare.spread import Spread

_NAMED = 5


def lines(found: Comparison) -> Iterator[str]:
    """The whole comparison, as Markdown tables and sentences."""
    names = [f"{run.model} ({run.forward_format})" for run in found.runs]
    yield f"{names[1]} against {names[0]}, {found.runs[0].tokens:,} tokens"
    if not found.skip_alike:
        which = [f"{list(run.skip_tokens)} ({run.skipped:,} tokens)" for run in found.runs]
        yield f"Not the same results: the reference skips {which[0]}, the other run {which[1]}"
    yield (
        f"{_percent(found.changed_share)} of {found.entries:,} list entries (act's left out) changed; by layer: "
        + ", ".join(map(_percent, found.changed_by_layer))
    )
    yield f"u = {found.unit:.2g}, the coarser format's unit roundoff"
    yield "| list | entries changed | first changed | values moved, median / 99 % | changed entries' margin, 99 % |"
    yield "|---|---|---|---|---|"
    for (case, quantity), one in found.lists.items():
        moved = f"{_units(one.moved, 0.5, found.unit)} / {_units(one.moved, 0.99, found.unit)}"
        shares = f"{_percent(share(one.changed, one.entries))} | {_percent(share(one.first_changed, one.lists))}"
        yield f"| {case.value} {quantity.value} | {shares} | {moved} | {_units(one.margin, 0.99, found.unit)} |"
    moved_case = found.moved_case
    yield (
        f"frequencies: at least {_percent(moved_case.quantile(0.5))} of a neuron's tokens changed their case "
        f"(median neuron; largest {_percent(moved_case.largest)})"
    )
    if found.sample:
        at, changed = found.sample.at_sign, share(found.sample.signs, found.sample.values)
        yield (
            f"signs: {_percent(changed)} of gates and ins changed at the sampled tokens, where their size was "
            f"{_number(at.quantile(0.5))} (median) and {_number(at.quantile(0.99))} (99 %) of the neuron's RMS"
        )
        if found.sample.elsewhere is not None:
            elsewhere = share(found.sample.elsewhere, found.sample.routed)
            yield f"experts: sampled tokens miss {_percent(elsewhere)} of what they reach in the reference"
        for name, spread in found.sample.decorrelation.items():
            middle, largest = _number(spread.quantile(0.5)), _number(spread.largest)
            yield f"1 - correlation of {name}: {middle} (median neuron), {largest} (largest)"
    yield f"the refactored convention flips {_percent(found.signs)} of the neurons in one run alone"
    if found.most_changed:
        yield "least alike: " + ", ".join(str(one.id) for one in found.most_changed[:_NAMED])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3g} %"


def _units(spread: Spread, part: float, unit: float) -> str:
    value = spread.quantile(part)
    return "-" if value is None else f"{value / unit:.2g} u"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"
