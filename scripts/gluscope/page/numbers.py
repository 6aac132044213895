"""Numbers as people read them. `assets/shared/numbers.js` is the twin, for what the open page draws: a test compares.

Halves are rounded up in size, as JavaScript does: the float16 numbers of texts often end in one.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, localcontext

from gluscope.core.cases import SignCase


def number(value: float | None, *, plus: bool = False, decimals: int | None = None) -> str:
    """Three significant digits, or so many decimals, in typographic minus; a dash for what is undefined."""
    if value is None:
        return "–"
    if value == 0:
        return _rounded(0.0, f".{decimals or 0}f")
    sign = "−" if value < 0 else "+" if plus else ""
    size = abs(value)
    if decimals is not None:
        return sign + _rounded(size, f".{decimals}f")
    if size < 1e-3 or size >= 1e4:
        return sign + _rounded(size, ".2e")
    with localcontext(rounding=ROUND_HALF_UP, prec=3):
        exponent = (+Decimal(size)).adjusted()
    return sign + _rounded(size, f".{max(0, 2 - exponent)}f")


def percent(share: float | None) -> str:
    """A share of tokens: two significant digits, `< 0.0001 %` for what rounds to nothing."""
    if share is None:
        return "unknown"
    if share == 0:
        return "0 %"
    if share < 1e-6:
        return "< 0.0001 %"
    value = 100 * share
    digits = 1 if value >= 10 else 2 if value >= 0.1 else 4
    return f"{_rounded(value, f'.{digits}f').removesuffix('.0')} %"


def clipped(text: str, most: int) -> str:
    """Text of at most `most` characters, and an ellipsis for what was cut."""
    return text if len(text) <= most else f"{text[:most]}…"


def label(case: SignCase) -> str:
    """`gate+ in−`, as pages write it."""
    return case.value.replace("_", " ").replace("-", "−")


def _rounded(size: float, form: str) -> str:
    with localcontext(rounding=ROUND_HALF_UP):
        return format(Decimal(size), form)
