"""Every stored array: dimensions, type, unit, what stands where nothing is known. docs/outputs.md shows this table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredArray:
    """dims: names of the axes, in order. fill: what unknown entries hold. meaning: one line for the docs.

    Whole numbers are compressed, unless `plain`: rows and positions to a third. Activations would save a tenth, and are
    only where `packed`: with experts, samples are mostly NaN.
    """

    dims: tuple[str, ...]
    dtype: str
    unit: str
    fill: float | int
    meaning: str
    plain: bool = False
    packed: bool = False

    @property
    def compressed(self) -> bool:
        return self.packed or (self.dtype.startswith("int") and not self.plain)


_LIST = ("layer", "neuron", "case", "quantity", "k")
_NAN = float("nan")

SUMMARY: dict[str, StoredArray] = {
    "count": StoredArray(("layer", "neuron", "case"), "int64", "tokens", 0, "tokens in the case"),
    "sum": StoredArray(
        ("layer", "neuron", "case", "quantity"), "float64", "activation", 0.0, "sum over the tokens in the case"
    ),
    "extreme_value": StoredArray(
        _LIST, "float32", "activation", _NAN, "the k texts' extremes, signed, by |value| descending"
    ),
    "extreme_example": StoredArray(_LIST, "int64", "row", -1, "the row of each in the token data set"),
    "extreme_position": StoredArray(_LIST, "int32", "token", -1, "the first token that attains it"),
    "sample_gate": StoredArray(
        ("layer", "neuron", "sample"), "float16", "activation", _NAN, "gate at the sample tokens"
    ),
    "sample_in": StoredArray(("layer", "neuron", "sample"), "float16", "activation", _NAN, "in at the sample tokens"),
}
_TOKENS, _NEAR = ("layer", "neuron", "vector", "end", "place"), ("layer", "neuron", "near")
WEIGHTS: dict[str, StoredArray] = {
    "cosine": StoredArray(
        ("layer", "neuron", "pair"), "float32", "", _NAN, "cosine of two of the weight vectors, norm folded in"
    ),
    "norm": StoredArray(("layer", "neuron", "vector"), "float32", "weight", _NAN, "Euclidean length, norm folded in"),
    "norm_quantile": StoredArray(
        ("layer", "neuron", "vector"), "float32", "", _NAN, "share of the layer's neurons with a smaller norm"
    ),
    "sign": StoredArray(("layer", "neuron"), "int8", "", 1, "-1 where the refactored convention flips w_in and w_out"),
    "rw_class": StoredArray(("layer", "neuron"), "int8", "", -1, "read-write class, a place in `rw_class_name`"),
    "token_id": StoredArray(_TOKENS, "int32", "token id", -1, "tokens read (w_gate, w_in) and written (w_out)"),
    "token_score": StoredArray(_TOKENS, "float32", "activation, logit", _NAN, "score of each; docs/notation.md"),
    "nearest_layer": StoredArray(_NEAR, "int32", "layer", -1, "layer of the neurons with the nearest w_out"),
    "nearest_neuron": StoredArray(_NEAR, "int32", "neuron", -1, "place of each in its layer"),
    "nearest_cosine": StoredArray(_NEAR, "float32", "", _NAN, "cosine of the two w_out"),
    "nearest_sign": StoredArray(_NEAR, "int8", "", 1, "`sign` of each"),
    "chance": StoredArray(
        ("layer", "convention", "pair", "quantile"), "float32", "", _NAN, "cosines of mismatched pairs of the layer"
    ),
    "chance_random": StoredArray(("quantile",), "float64", "", _NAN, "cosines of random directions"),
}
PER_RUN: dict[str, StoredArray] = {
    "sign": StoredArray(
        ("layer", "neuron"), "int8", "", 1, "-1 where the refactored convention flips w_in and w_out", plain=True
    ),
    "sample_example": StoredArray(("sample",), "int64", "row", -1, "row of each sample token"),
    "sample_position": StoredArray(("sample",), "int32", "token", -1, "position of each sample token"),
}
# Of models with mixtures of experts alone.
ROUTED = StoredArray(("layer", "expert"), "int64", "tokens", 0, "tokens that the router sent to each expert")
ROUTER_COSINE = StoredArray(
    ("layer", "neuron", "vector"),
    "float32",
    "",
    _NAN,
    "cosine of each weight vector and the expert's row of the router",
)
CHOSEN = StoredArray(("layer", "token", "slot"), "int16", "expert", -1, "experts that each token is sent to")
CHOSEN_WEIGHT = StoredArray(
    ("layer", "token", "slot"), "float32", "", _NAN, "what the router multiplies the output of each with"
)
REPLAY: dict[str, StoredArray] = {
    "value": StoredArray(("token", "branch"), "float16", "activation", 0, "gate and in, neurons and texts in turn"),
    "pairs": StoredArray(
        ("neuron_of_model", "bound"), "int64", "pair", 0, "first and last + 1 of each neuron's; layer * d_mlp + neuron"
    ),
    "text": StoredArray(
        ("pair", "field"), "int64", "row, token, tokens", -1, "a text of a neuron: row, its first `value`, its length"
    ),
    "longest": StoredArray(("pair",), "float32", "activation", 0.0, "largest |x| in that text and layer"),
}
# The same; in a replay.
WEIGHT = StoredArray(("token",), "float32", "", _NAN, "the router's weight beside each `value`, if there is one")
CACHE: dict[str, StoredArray] = {
    "x": StoredArray(
        ("layer", "token", "d_model"), "float16", "activation", 0, "the MLP's input, texts one after another"
    ),
    "rows": StoredArray(
        ("example",), "int64", "row", -1, "row of each text, in the order in which they are stored", plain=True
    ),
    "lengths": StoredArray(("example",), "int64", "tokens", 0, "tokens of each text", plain=True),
}
