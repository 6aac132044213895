"""What is said to differ where recomputed values are not the listed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gluscope.core.errors import StoreError
from gluscope.core.provenance import RunProvenance, versions
from gluscope.model.spec import ModelSpec
from gluscope.recompute import diagnosis
from gluscope.recompute.diagnosis import diagnosed
from gluscope.stages.table import STAGES

ERROR = StoreError("L1/N3 from the cache, text 4, token 2", "1.5 for gate+_in+ post", "0.3", "look")
SPEC = ModelSpec("m", "a commit", "m", "X", 1, 1, 1, 1, "silu", "g", "i", "o", "e", "u")


@pytest.fixture
def about(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(diagnosis, "_texts_now", lambda tokens: "the texts")
    return {
        "model_revision": "a commit",
        "dataset_fingerprint": "the texts",
        "stages": {"scan": str(STAGES["scan"].version)},
        "versions": versions("torch", "numpy"),
    }


def told(about: dict[str, Any], source: str = "cache") -> str:
    return str(diagnosed(ERROR, source, RunProvenance.of(about), SPEC, Path("tokens")))


def test_the_same_on_both_sides(about: dict[str, Any]) -> None:
    text = told(about)
    assert text.startswith("L1/N3 from the cache, text 4, token 2: expected 1.5 for gate+_in+ post, found 0.3")
    assert "of the same model (a commit)" in text
    assert "pages_from: model" in text
    assert "another machine" in told(about, "model")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("model_revision", "another", "model_revision: another in the summary, a commit now"),
        ("dataset_fingerprint", "others", "dataset_fingerprint: others in the summary, the texts now"),
        ("stages", {"scan": "99"}, f"version of scan: 99 in the summary, {STAGES['scan'].version} now"),
        ("stages", {"skan": "1"}, "version of skan: 1 in the summary, none now"),
    ],
)
def test_what_is_another_is_named_on_either_side(about: dict[str, Any], key: str, value: Any, expected: str) -> None:
    text = told({**about, key: value})
    assert expected in text
    assert "run the same command again" in text


def test_other_packages_alone_cost_no_scan(about: dict[str, Any]) -> None:
    text = told({**about, "versions": {"torch": "1.0"}})
    assert "torch: 1.0 in the summary" in text
    assert "install the packages that scanned" in text


def test_published_activations_point_at_the_config(about: dict[str, Any]) -> None:
    assert "under `model` and `dataset`" in told({**about, "activations": {"id": "x"}})
