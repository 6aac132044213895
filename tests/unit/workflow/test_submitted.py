"""A job gets the config as it was when it was submitted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from gluscope.workflow.submitted import take_submitted, write_submitted


def test_a_job_gets_what_was_submitted(tmp_path: Path) -> None:
    submitted: dict[str, Any] = {"runs": {"mine": {"k": 4}}, "all": ["mine"]}
    file = write_submitted(submitted, ["mine.yaml"], tmp_path)
    assert write_submitted(submitted, ["mine.yaml"], tmp_path) == file
    assert len(list(file.parent.iterdir())) == 1
    # What Snakemake reads in a job: the shipped config, and over it the file that it was given.
    config = {"runs": {"mine": {"k": 5}, "added": {}}, "datasets": {}, **json.loads(file.read_text())}
    assert take_submitted(config) == ["mine.yaml"]
    assert config == submitted
    assert take_submitted(config) is None
    assert config == submitted


def test_configs_that_no_start_has_used_for_long_go(tmp_path: Path) -> None:
    old = write_submitted({"runs": {}}, [], tmp_path)
    os.utime(old, (1, 1))
    new = write_submitted({"runs": {"a": 1}}, [], tmp_path)
    assert list(new.parent.iterdir()) == [new]
