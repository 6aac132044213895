"""What the number format of a forward pass does to results. docs/precision.md has the measurement."""

from __future__ import annotations

UNIT_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}


def dtype_note(dtype: str) -> str:
    """The dtype of a scan, and for half precision in a few words what that means; for a page's footer."""
    if dtype not in ("float16", "bfloat16"):
        return dtype
    return (
        f"{dtype}: each step of the model rounds to {UNIT_ROUNDOFF[dtype]:.1g} of a value, so signs near 0, ranks of "
        "close extremes, and texts at a list's end may differ from a float32 scan's (docs/precision.md)"
    )
