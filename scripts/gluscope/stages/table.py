"""The table of stages: what makes each run again beyond its inputs.

A stage runs again when a key of its `keys` has another value, or when its `version` is another. The version is raised
when the stage's results change, and only then: `make stages` (docs/decisions/stages.md) says what has to be decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PROMPTS = ("explain/prompts",)
PAGES = ("page/templates", "page/assets")
CARDS = ("export/templates",)


@dataclass(frozen=True)
class Stage:
    """A stage of the workflow; it is named like its script in `scripts/`, unless `script` names another.

    version: of its results. why: what its last change of version changed, a sentence for users. of: the part of the
    config that `keys` are in, an entry of `runs` or of `datasets`. shows_with: folders of the library whose files are
    part of what it writes. on_gpu: the entry of the table for what it computes with on a GPU alone.
    """

    version: int
    why: str = ""
    of: Literal["run", "dataset"] = "run"
    keys: tuple[str, ...] = ()
    shows_with: tuple[str, ...] = ()
    on_gpu: str | None = None
    script: str | None = None


_TEXTS = (
    "source", "tokenizer", "revision", "split", "text_column", "max_length", "long_texts", "max_tokens",
    "shuffle_seed", "bos", "messages_column", "template_kwargs",
)  # fmt: skip
STAGES: dict[str, Stage] = {
    "demo_text": Stage(1, ""),
    "fetch_model": Stage(2, "a model's description says which norm stands before each MLP", keys=("model", "revision")),
    "fetch_dataset": Stage(1, "", of="dataset", keys=("source", "tokenizer", "revision", "split", "messages_column")),
    "fetch_activations": Stage(1, "", keys=("activations",)),
    "fetch_sampled_activations": Stage(1, "", keys=("sampled_activations",), script="fetch_activations"),
    "tokenise": Stage(
        3,
        "the record says which tokens are special",
        of="dataset",
        keys=_TEXTS,
    ),
    "plan_shards": Stage(1, "", keys=("shards",)),
    "scan": Stage(
        3,
        "tokens that a run skips, BOS unless it says otherwise, count for nothing",
        keys=("k", "samples", "seed", "dtype", "tf32", "cache_dtype", "skip_tokens"),
        on_gpu="triton",
    ),
    "triton": Stage(1, ""),
    "merge": Stage(2, "signs and cosines are of folded weights", keys=("refactor_glu",)),
    "take_activations": Stage(
        2, "signs of folded weights", keys=("activations", "sampled_activations", "k", "dtype", "tf32", "refactor_glu")
    ),
    "take_descriptions": Stage(1, "", keys=("descriptions", "refactor_glu")),
    "weights": Stage(2, "signs and cosines are of folded weights"),
    "replay": Stage(1, "", keys=("neurons",)),
    "recompute": Stage(1, "", keys=("pages_from",)),
    "effect": Stage(1, "", keys=("effect",)),
    "explain": Stage(1, "", keys=("explain",), shows_with=PROMPTS),
    "page": Stage(
        7,
        "a list can be saved as a figure; words are explained where they stand; signs are told apart without colours",
        keys=("descriptions",),
        shows_with=PAGES,
    ),
    "site_index": Stage(3, "the finder of a large model reads the layers that are asked for", shows_with=PAGES),
    "export_hf": Stage(3, "a mixture of experts has samples too", shows_with=CARDS),
    "export_gluscope_site": Stage(1, "", keys=("neurons",), shows_with=CARDS),
    "export_neuronpedia": Stage(2, "a source for each sign case, |post| inside it", keys=("neurons",)),
    "export_explainers": Stage(1, "", keys=("neurons",)),
    "export_neurons": Stage(1, ""),
    "compare": Stage(2, "says whether two runs skip the same tokens"),
    "side_by_side": Stage(1, "", shows_with=PAGES),
}
# Keys of a run or a data set that change no stage's results by themselves, and why.
NOT_RESULTS: dict[str, str] = {
    "device": "where a job runs",
    "batch_tokens": "how many tokens go through the model at a time",
    "cache": "which of two rules scans",
    "disk_limit_gb": "whether a run is stopped before its first scan",
    "go_on": "whether a run is stopped before its first scan",
    "dataset": "which data set is an input",
}
