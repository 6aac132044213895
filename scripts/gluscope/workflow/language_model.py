"""The language model that a job asks: where it is and how it is asked, which changes nothing of what it is asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gluscope.config.keys import ExplainConfig
from gluscope.core.errors import ConfigError
from gluscope.core.paths import RunPaths
from gluscope.explain.asker import Asker, Budget
from gluscope.explain.client import Client
from gluscope.explain.kept import Kept, alone
from gluscope.explain.prompts import Prompt, read_prompts


@contextmanager
def language_model(smk: Any) -> Iterator[tuple[Asker, dict[str, Prompt], int]]:
    """What asks it, the prompts, and how many requests are to be open at a time. smk: with the run's whole config.

    The key comes from the environment, and goes nowhere but to the server. Raises ConfigError where it is not there,
    and for prompts that were edited since the start.
    """
    run, asked = smk.wildcards.run, smk.params.settings["explain"]
    keys = ExplainConfig.model_validate(smk.config["runs"][run]["explain"])
    where = f"config: runs: {run}: explain"
    prompts = read_prompts(keys.prompts)
    for name, prompt in prompts.items():
        if prompt.version != asked["prompts"][name]:
            step = "run the same command again"
            raise ConfigError(f"{where}: prompts", "prompts as they were at the start", f"another {name}.md", step)
    client = Client(keys.address, _key(keys.key_from, where), keys.timeout, keys.tries)
    budget = Budget(keys.max_requests, keys.max_tokens)
    answers, options = RunPaths(run).answers, asked["options"] or {}
    try:
        with alone(answers):
            asker = Asker(client, Kept(answers), asked["model"], budget, asked["answer_tokens"], options, where)
            yield asker, prompts, keys.at_once
    finally:
        client.close()


def _key(variable: str | None, where: str) -> str:
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        step = f"export {variable}=... where you call snakemake"
        raise ConfigError(f"{where}: key_from", f"a key in the environment variable {variable}", "none", step)
    return key
