"""What the number format of a forward pass does to results. docs/precision.md has the measurement."""

from __future__ import annotations

UNIT_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "tf32": 2.0**-11}


def dtype_note(dtype: str) -> str:
    """A scan's `RunProvenance.forward_format`, and in a few words what its rounding means; for a page's footer."""
    if dtype == "tf32":
        return "float32 with TF32: both factors of a product on the GPU are rounded to 11 bits (docs/precision.md)"
    if dtype not in ("float16", "bfloat16"):
        return dtype
    return (
        f"{dtype}: each step of the model rounds to {UNIT_ROUNDOFF[dtype]:.1g} of a value, so signs near 0, ranks of "
        "close extremes, and texts at a list's end may differ from a float32 scan's (docs/precision.md)"
    )
