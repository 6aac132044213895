"""Published activations from a hub (on loopback): fetched with their revision, without what is not read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gluscope.dataset.sources import Sources
from gluscope.export.take import Taking, take_activations
from gluscope.summary.file import SummaryReader
from helpers import published as made
from helpers.checkout import PATIENCE, REPO
from helpers.fake_hub import FakeHub

CALL = """
import sys
from types import SimpleNamespace
import fetch_activations
params = SimpleNamespace(settings={"activations": "user/acts"})
fetch_activations.main(SimpleNamespace(params=params, output=sys.argv[1:], threads=1))
"""


def test_activations_are_fetched_and_taken(tmp_path: Path) -> None:
    layers = made.raw_layers()
    forms = made.forms(tmp_path / "forms", layers)
    # As a run's export is uploaded, samples and all.
    files = {str(path.relative_to(forms["saved"])): path.read_bytes() for path in forms["saved"].rglob("*.*")}
    assert "samples/layer-00.arrow" in files
    with FakeHub({("dataset", "user/acts"): files | {"model.py": b"raise SystemExit", "x.pt": b"pickled"}}) as hub:
        environment = {**os.environ, **hub.environment(tmp_path / "cache"), "PYTHONPATH": str(REPO / "scripts")}
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
            environment.pop(name, None)
        done = subprocess.run(
            [sys.executable, "-c", CALL, str(tmp_path / "activations.json")],
            env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not [name for name in hub.served if name.startswith("samples/") or name in ("model.py", "x.pt")]
    located = Sources.read(tmp_path / "activations.json").source
    assert (located.id, located.revision) == ("user/acts", FakeHub.commit)
    spec, record = made.SPEC, made.RECORD
    about = take_activations(located, spec, record, made.signs(), Taking(4, "raw", "float32"), tmp_path / "t.zarr")
    assert about["activations"] == {"id": "user/acts", "revision": FakeHub.commit, "convention": "refactored"}
    found = SummaryReader(tmp_path / "t.zarr").layer(2)
    assert (found.extreme_example == layers[2].extreme_example).all()
