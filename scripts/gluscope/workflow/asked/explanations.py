"""Words for a run's neurons: whether they are asked for, by whom, and the files that stand for them."""

from __future__ import annotations

import functools
import os
from typing import Any

from gluscope.config.keys import ExplainConfig
from gluscope.config.neurons import stretches
from gluscope.core.errors import ConfigError
from gluscope.core.neuron import NeuronId
from gluscope.core.paths import RunPaths
from gluscope.explain.prompts import read_prompts
from gluscope.workflow.asked.effects import Effects
from gluscope.workflow.asked.pages import is_there, names_in


class Explanations(Effects):
    """Whether a run's neurons are put into words, and what stands for that."""

    def explained_by(self, run: str) -> dict[str, Any] | None:
        """What decides what is said; not where the server is, nor how fast it is asked. None for a run without."""
        keys = self.run(run).explain
        if keys is None:
            return None
        prompts = {name: prompt.version for name, prompt in read_prompts(self.prompts(run, keys)).items()}
        return {
            "model": keys.model,
            "prompts": prompts,
            "texts": keys.texts,
            "answer_tokens": keys.answer_tokens,
            "options": keys.options,
        }

    def prompts(self, run: str, keys: ExplainConfig) -> str | None:
        """The folder of the user's own prompts. Raises ConfigError for one that does not exist."""
        if keys.prompts is not None and not os.path.isdir(keys.prompts):
            where, step = f"config: runs: {run}: explain: prompts", f"look in {os.getcwd()}"
            raise ConfigError(where, "a folder that exists", repr(keys.prompts), step)
        return keys.prompts

    def explained_from(self, run: str, neuron: str) -> str:
        """The recomputed values of a neuron that is to be put into words. Raises ConfigError for a run without."""
        if self.run(run).explain is None:
            where, step = RunPaths(run).explanation(neuron), "docs/explain.md says how"
            raise ConfigError(where, f"`explain` in the run {run}", "none, its default", step)
        self.neuron(run, NeuronId.parse(neuron))
        return RunPaths(run).neuron(neuron)

    def explained_from_all(self, run: str) -> list[str]:
        """The same of all listed neurons. Has their marker made again where a file has gone that it stands for."""
        if self.run(run).explain is None:
            where, step = RunPaths(run).explained, "docs/explain.md says how"
            raise ConfigError(where, f"`explain` in the run {run}", "none, its default", step)
        paths, names = RunPaths(run), functools.cache(names_in)
        neurons = (neuron for batch in stretches(self.listed(run)) for neuron in self.neurons_of(run, batch))
        if os.path.exists(paths.explained) and not all(is_there(paths.explanation(one), names) for one in neurons):
            self.make_again([paths.explained])
        return self.neuron_files(run)

    def explanation_of_neuron(self, run: str, neuron: str) -> list[str]:
        """What stands for a neuron's words, if the run has any: of a listed one the marker of all that are listed."""
        if self.run(run).explain is None:
            return []
        own, size = NeuronId.parse(neuron), self.size(run)
        if (size.place(own) if size else own.neuron) in self.listed(run).get(own.layer, ()):
            return self.explanations(run)
        return [RunPaths(run).explanation(neuron)]

    def explanations(self, run: str) -> list[str]:
        """The marker of the listed neurons' words, if the run has any."""
        return [] if self.run(run).explain is None else [RunPaths(run).explained]
