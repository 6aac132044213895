"""What Neuronpedia is told of a source: its release, model, set of sources and itself, a file of one line for each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gluscope.core.cases import CASES, SignCase
from gluscope.core.names import is_local, public_name, short_name
from gluscope.core.provenance import RunProvenance

# Neuronpedia takes what stands behind a source's first `-` for the name of its set, up to a `__`.
SETS = {
    case: f"gluscope-gate-{'pos' if case.gate_sign > 0 else 'neg'}-in-{'pos' if case.in_sign > 0 else 'neg'}"
    for case in CASES
}
# The id under which Neuronpedia's own scripts file what has no user of theirs.
_CREATOR = "clkht01d40000jv08hvalcvly"


def set_name(case: SignCase, expert: str = "") -> str:
    """Of a case, and of an expert in a mixture: its neurons are numbered anew in each. expert: as in NeuronId."""
    return SETS[case].replace("-", f"-{expert.lower()}-", 1) if expert else SETS[case]


@dataclass(frozen=True)
class Release:
    """What all lines say of a run. provenance: of its summary. longest: tokens of the longest text."""

    run: str
    provenance: RunProvenance
    n_layers: int
    d_model: int
    d_mlp: int
    longest: int
    created: datetime

    @property
    def local(self) -> bool:
        """The model lies in a folder and has no id of a hub."""
        return is_local(self.provenance.model_revision)

    @property
    def model(self) -> str:
        """Neuronpedia's id of the model: as the hub's, without owner, in lower case; of a folder the run's name."""
        name = self.run if self.local else short_name(self.provenance.model)
        return re.sub(r"[^a-z0-9.-]", "-", name.lower())

    @property
    def release(self) -> str:
        return re.sub(r"[^a-z0-9-]", "-", f"gluscope-{self.run}".lower())

    @property
    def common(self) -> dict[str, Any]:
        return {"creatorId": _CREATOR, "createdAt": self.created.isoformat()}

    @property
    def dataset(self) -> str:
        return public_name(self.provenance.dataset)

    def source(self, layer: int, case: SignCase, expert: str = "") -> str:
        return f"{layer}-{set_name(case, expert)}"


def write_headers(folder: Path, release: Release, layer: int, case: SignCase, expert: str = "") -> None:
    """The four files of the source of a layer and case, and of an expert where the model has some, into its folder."""
    provenance = release.provenance
    name = f"{release.run if release.local else public_name(provenance.model)} by GLUScope"
    whose = f"Neurons of expert {expert}" if expert else "MLP neurons"
    what = f"{whose} in the sign case {case.value}: |post|, 0 outside the case"
    notes = f"GLUScope run {release.run}, {provenance.convention} sign convention, {provenance.tokens} tokens"
    headers: dict[str, dict[str, Any]] = {
        "release": {
            "name": release.release,
            "description": f"Gated neurons of {name}",
            "descriptionShort": f"Gated neurons of {name}",
            "creatorName": "GLUScope",
            "creatorNameShort": "GLUScope",
            "urls": [],
            "visibility": "PUBLIC",
        },
        "model": {
            "id": release.model,
            "displayName": release.model,
            "displayNameShort": release.model,
            "instruct": False,
            "tlensId": None if release.local else public_name(provenance.model),
            "dimension": release.d_model,
            "layers": release.n_layers,
            "neuronsPerLayer": release.d_mlp,
            "owner": "" if release.local else public_name(provenance.model).rpartition("/")[0],
            "inferenceEnabled": False,
            "visibility": "PUBLIC",
            "updatedAt": release.created.isoformat(),
        },
        "sourceset": {
            "modelId": release.model,
            "name": set_name(case, expert),
            "description": what,
            "type": "neurons",
            "creatorName": "GLUScope",
            "releaseName": release.release,
            "visibility": "PUBLIC",
            "hasDashboards": True,
        },
        "source": {
            "id": release.source(layer, case, expert),
            "modelId": release.model,
            "setName": set_name(case, expert),
            "dataset": release.dataset,
            "num_prompts": provenance.rows,
            "num_tokens_in_prompt": release.longest,
            "notes": notes,
            "hasDashboards": True,
            "inferenceEnabled": False,
            "visibility": "PUBLIC",
        },
    }
    for kind, content in headers.items():
        (folder / f"{kind}.jsonl").write_bytes(line(content | release.common))


def line(content: dict[str, Any]) -> bytes:
    """A line of a file, ASCII."""
    return (json.dumps(content, allow_nan=False) + "\n").encode("ascii")


def storable(text: str) -> str:
    """Text without lone surrogates, which the importer's database refuses."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
