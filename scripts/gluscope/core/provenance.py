"""With what results were made."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn

import gluscope
from gluscope.core.errors import StoreError


@dataclass(frozen=True)
class RunProvenance:
    """What the attributes of a run's summary say of the model, the texts and the scan that it is of.

    rows, tokens: scanned. dtype: of the forward pass; tf32: whether it was allowed to use TF32. versions, stages: by
    name, of packages and of the stages of the workflow. skip_tokens, skipped_ids, skipped: what counts for
    nothing, as asked, by id, and how many tokens that were. device, reducer, cache_dtype: of the scan, "" where none is
    known. rows_digest: by shard, of its tokens. activations: id and revision of the published ones that were taken in
    place of a scan; note: what there is to say of them. mixture: of a model with
    experts, what the places of the neuron axis are (`core.size`).
    """

    model: str
    model_revision: str
    architecture: str
    act_fn: str
    dataset: str
    dataset_revision: str
    dataset_fingerprint: str
    rows: int
    tokens: int
    k: int
    seed: int
    samples: int
    convention: str
    dtype: str
    versions: Mapping[str, str]
    stages: Mapping[str, str] = field(default_factory=dict)
    tf32: bool = False  # younger than some results, whose scans did without
    skip_tokens: Sequence[Any] = ()  # younger as well; they skipped nothing
    skipped_ids: Sequence[int] = ()
    skipped: int = 0
    device: str = ""
    reducer: str = ""
    cache_dtype: str = ""
    rows_digest: Mapping[str, str] | None = None
    activations: Mapping[str, str] | None = None
    note: str = ""
    mixture: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, attributes: Mapping[str, Any], where: str = "summary") -> RunProvenance:
        """From what is stored. where: named by the StoreError that is raised for what is not there, once it is read."""
        made = object.__new__(cls)
        for name, known in cls.__dataclass_fields__.items():
            if name in attributes:
                object.__setattr__(made, name, attributes[name])
            elif known.default_factory is not MISSING:
                object.__setattr__(made, name, known.default_factory())
        object.__setattr__(made, "_where", where)
        return made

    def __getattr__(self, name: str) -> NoReturn:
        """Of what has no default and was not there."""
        if name not in self.__dataclass_fields__:
            raise AttributeError(name)
        step = "remove it and run the same command again: only it is made anew"
        raise StoreError(self.__dict__["_where"], f"{name} among its attributes", "none", step)

    @property
    def forward_format(self) -> str:
        """What the forward pass rounded to: a dtype, or "tf32" for float32 with TF32, which a CPU has not."""
        return "tf32" if self.dtype == "float32" and self.tf32 and self.device != "cpu" else self.dtype


def versions(*packages: str) -> dict[str, str]:
    """Versions of this workflow, Python, and those of the packages that are installed."""
    found = {"gluscope": gluscope.__version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
