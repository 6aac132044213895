"""Why jobs would run, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from gluscope.stages import made
from gluscope.stages.table import STAGES, Stage
from gluscope.workflow import why
from gluscope.workflow.why import PlannedJob, explained, reasons

SCAN = {"k": 16, "samples": 4096, "seed": 0, "dtype": "float32"}


def scan(before: list[Any], now: dict[str, Any], **more: Any) -> PlannedJob:
    return PlannedJob("scan", "run mine", before=[repr(value) for value in before], now=now, **more)


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (scan([SCAN], {"settings": SCAN | {"k": 8}}), ["`k` of run mine is 8, was 16"]),
        (
            scan([SCAN], {"settings": SCAN | {"seed": 1, "dtype": "bfloat16"}}),
            ["`seed` of run mine is 1, was 0", "`dtype` of run mine is 'bfloat16', was 'float32'"],
        ),
        (scan([SCAN], {"settings": SCAN | {"tf32": True}}), ["`tf32` of run mine is True, did not count"]),
        (scan([SCAN | {"cache_dtype": "float16"}], {"settings": SCAN}), ["`cache_dtype` counts no more"]),
        (
            scan([{"scan": "1"}], {"version": {"scan": "2"}}),
            ["version 2 of the stage scan (signs) is here, and it was made by version 1"],
        ),
        (scan(["8374fd"], {"version": {"scan": "2"}}), ["it was made before stages had versions"]),
        (
            scan([{"scan": "2 abc"}], {"version": {"scan": "2 def"}}),
            ["the code of scan was edited, which counts with `every_edit`"],
        ),
        (scan([{"effect": 3}], {"settings": {"effect": 2}}), ["`effect` of run mine is 2, was 3"]),  # also a stage
        (scan(["abc 1"], {"rows": "abc 2"}), ["the texts or tokens of its shard are others"]),
        (PlannedJob("page", missing=["site/L0/N3.html"]), ["site/L0/N3.html is not there"]),
        (PlannedJob("page", missing=["site/L0/N3.html"], follows=True), []),
        (PlannedJob("page", newer=list("edcba")), ["a, b, c and 2 more are newer than what was made from it"]),
        (PlannedJob("merge", come=["b"], gone=["a"]), ["it also reads b", "it no longer reads a"]),
        (
            PlannedJob("pages", forced=True),
            ["a file that it made has gone or is not what is asked for now, or it was asked for"],
        ),
        (PlannedJob("page", follows=True, rest="Input files updated by another job"), []),
        (PlannedJob("page", rest="Something of Snakemake's"), ["Something of Snakemake's"]),
        (
            PlannedJob("replay", "run r", before=[repr({"neurons": {}})], now={"settings": {"neurons": {"0": "3"}}}),
            ["the listed neurons are others"],
        ),
    ],
)
def test_reasons(job: PlannedJob, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    stages = {**STAGES, "scan": Stage(2, "signs")}
    for module in (why, made):
        monkeypatch.setattr(module, "STAGES", stages)
    assert reasons(job) == expected


def test_a_plan_in_words() -> None:
    one = scan([SCAN], {"settings": SCAN | {"k": 8}})
    follows = [PlannedJob(rule, follows=True) for rule in ("merge", "page", "page", "all")]
    assert explained([one, replace(one), *follows]) == [
        "5 jobs would run.",
        "scan (2 jobs): `k` of run mine is 8, was 16.",
        "What they write is read by: merge, page (2 jobs).",
    ]
    assert explained([PlannedJob("all", follows=True)])[0].startswith("Nothing would run")
