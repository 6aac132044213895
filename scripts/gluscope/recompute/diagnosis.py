"""Why recomputed values differ from the listed ones: what is not the same on the two sides, by name."""

from __future__ import annotations

from pathlib import Path

from gluscope.core.errors import GluscopeError, StoreError
from gluscope.core.provenance import RunProvenance, versions
from gluscope.dataset.record import TokenRecord
from gluscope.model.spec import ModelSpec
from gluscope.model.unchanged import revision_now
from gluscope.stages.table import STAGES

_PACKAGES = ("torch", "transformers", "transformer_lens", "numpy", "numba")


def differences(provenance: RunProvenance, spec: ModelSpec, tokens: str | Path) -> dict[str, tuple[str, str]]:
    """By name what the summary says of itself, and what is the case now. provenance: the summary's."""
    now: dict[str, str] = {"model_revision": _model_now(spec), "dataset_fingerprint": _texts_now(tokens)}
    made = {key: str(getattr(provenance, key)) for key in now}
    for name, version in provenance.stages.items():
        made[f"version of {name}"] = str(version).split()[0]
        now[f"version of {name}"] = str(STAGES[name].version) if name in STAGES else "none"
    here = versions(*_PACKAGES)
    for name in _PACKAGES:
        if name in provenance.versions:
            made[name], now[name] = str(provenance.versions[name]), here.get(name, "none")
    return {key: (value, now[key]) for key, value in made.items() if value != now[key]}


def _model_now(spec: ModelSpec) -> str:
    if not spec.revision.startswith("sha256:"):
        return spec.revision
    try:
        return revision_now(Path(spec.folder))
    except (GluscopeError, OSError):
        return "files that cannot be read"


def _texts_now(tokens: str | Path) -> str:
    try:
        return TokenRecord.read(tokens).fingerprint
    except GluscopeError:
        return "a record that cannot be read"


def diagnosed(
    error: StoreError, source: str, provenance: RunProvenance, spec: ModelSpec, tokens: str | Path
) -> StoreError:
    """The error with what differs between the summary and what its values were recomputed from, and what to do.

    A scan is the dearest thing there is: it is advised only where something that it depends on is another.
    """
    found = differences(provenance, spec, tokens)
    if provenance.activations:
        step = "name, under `model` and `dataset`, what these activations were computed from"
        return StoreError(error.where, error.expected, error.found, step)
    if not found:
        same = f"summary and {source} are of the same model ({_short(provenance.model_revision)}), texts and code"
        step = "set `pages_from: model` for this neuron: where that agrees, only the cache or replay is wrong"
        if source == "model":
            step = "run it once more on another machine; the scan is wrong only if that differs as well"
        return StoreError(error.where, error.expected, f"{error.found}; {same}", step)
    sides = "; ".join(
        f"{key}: {_short(one)} in the summary, {_short(other)} now" for key, (one, other) in found.items()
    )
    step = "run the same command again: what was made with the others is made anew"
    if not found.keys() - set(_PACKAGES):
        step = "install the packages that scanned (make env), or scan again with these: --forcerun scan"
    return StoreError(error.where, error.expected, f"{error.found} ({sides})", step)


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:19]}..."
