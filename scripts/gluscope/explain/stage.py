"""The explain stage: words and scores of neurons, each neuron to a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

from gluscope.core.neuron import NeuronId
from gluscope.explain.examples import Split
from gluscope.explain.questions import Questions
from gluscope.explain.source import Source


def explain_neurons(
    source: Source,
    outputs: Mapping[NeuronId, str | Path],
    questions: Questions,
    split: Split,
    at_once: int,
    say: Callable[[str], None] = print,
) -> None:
    """Write the explanations of neurons, each to its file in `outputs`. at_once: requests that are open at a time.

    Says first what it will take, and goes no further where that is over the budget. Raises ServerError and OverBudget;
    what was answered before is kept, and the next start goes on from there.
    """
    asker, neurons = questions.asker, sorted(outputs)
    kept, sent = asker.kept, asker.client.asked
    by_case = (source.examples(neuron, split) for neuron in neurons)
    requests, tokens = questions.estimate(found for cases in by_case for found in cases.values())
    before = kept.tokens
    say(
        f"{len(neurons)} neurons: about {requests:,} requests and {tokens:,} tokens to come; "
        f"spent before: {kept.requests:,} requests, {before:,} tokens"
    )
    if kept.damaged:
        say(f"warning: {kept.damaged} kept answers are damaged; what they answered is asked again")
    asker.refuse_over(requests, tokens)
    began = perf_counter()
    pool = ThreadPoolExecutor(at_once)
    try:
        for first in range(0, len(neurons), at_once):
            some = {neuron: source.examples(neuron, split) for neuron in neurons[first : first + at_once]}
            for neuron, explanation in questions.explain(some, pool).items():
                explanation.save(outputs[neuron])
    finally:
        pool.shutdown(cancel_futures=True)
    say(
        f"{len(neurons)} neurons: {asker.client.asked - sent:,} requests sent, {kept.tokens - before:,} tokens paid, "
        f"{perf_counter() - began:.1f} s"
    )
