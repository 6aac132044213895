"""A tiny model with a token data set made by its tokenizer, ready to be scanned."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gluscope.dataset.build import build
from gluscope.dataset.plan import Plan, make_plan
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.record import TokenSettings
from gluscope.dataset.sources import fetch
from gluscope.model.describe import describe
from gluscope.model.spec import ModelSpec
from gluscope.scan.loop import Scanned, ScanSettings, run_scan
from helpers.tiny_models import make
from helpers.token_rows import all_ids

K = 4
_WORDS = "the cat sat on the mat and dog by door neuron reads token Paris Rome one two é"


@dataclass
class Case:
    """A model, a token data set made with its tokenizer, and the ids of its rows."""

    folder: Path
    spec: ModelSpec
    data: Path
    ids: list[list[int]]
    plan_of: Callable[[int], Plan]

    def scan(
        self, out: Path, name: str = "0000", shards: int = 1, cache: Path | None = None, **settings: Any
    ) -> Scanned:
        settings = {"k": K, "samples": 30, "reducer": "torch", "device": "cpu"} | settings
        return run_scan(self.spec, self.data, self.plan_of(shards), name, ScanSettings(**settings), out, cache)


def texts() -> list[str]:
    random = np.random.default_rng(7)
    words = np.array(_WORDS.split())
    made = [" ".join(random.choice(words, size)) for size in random.integers(1, 9, 25)]
    return [*made, made[3], made[3], "a", "b", made[10]]  # the same text twice: ties


def prepare(folder: Path, architecture: str, **how: Any) -> Case:
    model = make(architecture, folder / "model", **how)
    source = folder / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts()), encoding="utf-8")
    build(folder / "tokens", fetch(str(source), str(model)), TokenSettings(max_length=12))
    data = TokenDataset.open(folder / "tokens")
    plan_of = functools.partial(make_plan, data)
    return Case(model, describe(str(model), None), folder / "tokens", all_ids(data), plan_of)
