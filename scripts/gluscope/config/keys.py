"""Every key of the config: name, type, default and meaning, in one place, a pydantic class for each section.

The check, the JSON schema for editors and the tables of config/README.md come from these classes: `make config` after
an edit. A field without a default is a required key; the text below a field is its documentation.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import CoreSchema, core_schema

from gluscope.core.cost import BATCH_TOKENS
from gluscope.core.paths import RESERVED_RUN_NAMES, DatasetPaths, RunPaths

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)"
NEURON = r"^L(0|[1-9]\d*|\*)/(E(S?(0|[1-9]\d*|\*)|S)/)?N(0|[1-9]\d*|\*)$(?!\n)"
NAMED = "a name of letters, digits, '.', '_' and '-' that begins with a letter or digit"
ENTRY = "\0name"  # where an entry's class finds its name: a key that no YAML file can hold
_ONLY_THESE: dict[str, Any] = {"additionalProperties": False}


@dataclass(frozen=True)
class Words:
    """What a user is told to write, in place of pydantic's message; `kind` is the type of that error."""

    words: str
    kind: Literal["name", "text", "value"] = "value"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type=self.kind, custom_error_message=self.words
        )


def _with_names(raw: Any) -> Any:
    """Entries that know the names that they have in the file."""
    if not isinstance(raw, Mapping):
        return raw
    return {name: {**keys, ENTRY: name} if isinstance(keys, Mapping) else keys for name, keys in raw.items()}


Text = Annotated[str, Field(pattern=r"\S"), Words("a text that is not empty", "text")]
Neuron = Annotated[str, Field(pattern=NEURON), Words("a neuron such as L5/N10602, or L5/N* for a whole layer", "text")]
AtLeast0 = Annotated[int, Field(ge=0), Words("a whole number of at least 0")]
AtLeast1 = Annotated[int, Field(ge=1), Words("a whole number of at least 1")]
Length = Annotated[int, Field(ge=2), Words("a whole number of at least 2")]
Shards = Annotated[int, Field(ge=1, le=9999), Words("a whole number from 1 to 9999")]
ListLength = Annotated[int, Field(ge=1, le=1024), Words("a whole number from 1 to 1024")]
Skipped = Annotated[
    Annotated[str, Field(pattern=r"\S")] | AtLeast0,
    Words("`bos`, `special`, a token as its tokenizer writes it, or its id"),
]
Samples = Annotated[int, Field(ge=0, le=1_000_000), Words("a whole number from 0 to 1000000")]
Effect = Annotated[bool | Annotated[int, Field(ge=1)], Words("true, false, or a whole number of at least 1")]
Address = Annotated[
    Annotated[str, Field(pattern=r"^https?://[^\s/@?#]+(/[^\s@?#]*)?$(?!\n)")],
    Words("an address such as http://localhost:8000/v1, with no key in it", "text"),
]
Variable = Annotated[
    Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)")],
    Words("the name of an environment variable, not the key itself", "text"),
]
Variables = Annotated[dict[Any, Any], Words("names with values")]
DatasetName = Annotated[str, Field(pattern=f"^{NAME}"), Words(NAMED, "name")]
RunName = Annotated[
    str,
    Field(pattern=f"^(?!({'|'.join(sorted(RESERVED_RUN_NAMES))})$){NAME}"),
    Words(f"{NAMED}, and is not {' or '.join(sorted(RESERVED_RUN_NAMES))}", "name"),
]


class Section(BaseModel):
    """A mapping of the config. Keys that it does not have are mistakes, and no value is turned into another type."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        regex_engine="python-re",
        validate_by_name=True,
        validate_by_alias=True,
        defer_build=True,
    )

    @classmethod
    def known(cls) -> dict[str, FieldInfo]:
        """The keys that a user may write, each with its type and default."""
        return {key: field for key, field in cls.model_fields.items() if field.validation_alias != ENTRY}

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """The text below each key.

        Read when asked for: pydantic's `use_attribute_docstrings` would look for this file among all loaded modules,
        a tenth of a second of every plan and job, and thousands of looks at file names.
        """
        (declared,) = ast.parse(inspect.getsource(cls)).body
        body = declared.body if isinstance(declared, ast.ClassDef) else []
        found = {}
        for key, below in itertools.pairwise(body):
            match key, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=text)):
                    found[name] = " ".join(str(text).split())
        return found


class DatasetConfig(Section):
    """A token data set, an entry under `datasets:`. Its name is the entry's."""

    name: SkipJsonSchema[str] = Field(validation_alias=ENTRY)
    source: Text
    """Where the texts are: a file or folder of jsonl, json, csv, tsv, parquet or txt (one text a row; a txt file is one
    text; all but parquet also as .gz, .bz2, .xz or .zst), a folder written by `datasets`' `save_to_disk`, a hub id, or
    a copy of what lies there. If it has a column `input_ids`, that is used as it is."""
    tokenizer: Text | None = None
    """Folder or hub id of the tokenizer; its `tokenizer.json` is used as it is. Required, unless the source has
    `input_ids`; then pages show the texts with it, or with the model's."""
    revision: Text | None = None
    """Commit, tag or branch of a hub source. Left out: the newest when it is fetched; the commit is recorded."""
    split: Text = "train"
    """Split of a hub source, of a copy of one, or of a saved folder that has several."""
    text_column: Text = "text"
    """Column that holds the text."""
    messages_column: Text | None = None
    """Column that holds chats, instead of texts: lists of messages `{role, content}`, or `{from, value}` as ShareGPT
    has them, also as JSON text. The tokenizer's own chat template makes texts of them."""
    template_kwargs: Variables | None = None
    """Variables for the chat template, such as `{add_generation_prompt: true, enable_thinking: false}`."""
    max_length: Length = 1024
    """Longest example in tokens, a beginning-of-sequence token included."""
    long_texts: Literal["truncate", "split"] = "truncate"
    """What happens to longer texts: `truncate` keeps their start, `split` makes several examples of them."""
    max_tokens: AtLeast1 | None = None
    """Take rows only until they hold this many tokens. Left out: all rows."""
    shuffle_seed: AtLeast0 | None = None
    """Take rows in an order shuffled with this seed. Left out: in the source's order."""
    bos: bool | None = None
    """Put the tokenizer's beginning-of-sequence token before every example. Left out: as `tokenizer.json`
    says, or the chat template."""

    @property
    def paths(self) -> DatasetPaths:
        return DatasetPaths(self.name)


class ExplainConfig(Section):
    """Who puts a run's neurons into words, the key `explain` of the run."""

    address: Address
    """Where an OpenAI-compatible server answers, without `/chat/completions`: `http://localhost:8000/v1`."""
    model: Text
    """The model's name there."""
    key_from: Variable | None = None
    """Name of the environment variable that holds the key for the server. The key itself is kept nowhere."""
    prompts: Text | None = None
    """Folder of your own `explain.md`, `detect.md`, `fuzz.md`; what it lacks is as shipped."""
    texts: AtLeast1 = 8
    """Most texts of a sign case to explain from, and most of each kind to judge by."""
    answer_tokens: AtLeast1 = 1000
    """Most tokens of an answer. More for models that think aloud."""
    options: Variables | None = None
    """What else to send with each request, such as `{top_p: 0.9}`; null leaves out what is sent otherwise, such as
    `{seed: null}`."""
    at_once: AtLeast1 = 4
    """Most requests that are open at a time."""
    max_requests: AtLeast1 = 2000
    """Most requests that the run may ever pay for. What would go beyond stops before the first one."""
    max_tokens: AtLeast1 = 2_000_000
    """The same for tokens of requests and answers."""
    timeout: AtLeast1 = 120
    """Seconds to wait for an answer."""
    tries: AtLeast1 = 6
    """How often a request is sent before the job gives up; pauses grow, or are what the server asks for."""


class RunConfig(Section):
    """A model on a data set, an entry under `runs:`. Its name is the entry's, and its folder's under `results/`."""

    name: SkipJsonSchema[str] = Field(validation_alias=ENTRY)
    model: Text
    """Folder (config.json, safetensors files) or hub id of the model."""
    dataset: Text
    """Name of an entry under `datasets:`."""
    neurons: list[Neuron]
    """Neurons whose pages the run's site has: `L5/N10602`, or `L5/N*` for a whole layer, `L*/N*` for all. In a mixture
    of experts `L5/E12/N345`, `L5/ES/N3` of a shared expert; `L5/E12/N*`, `L*/E*/N*` for all routed experts,
    `L*/ES*/N*` for all shared ones, `L*/N*` for its dense layers."""
    revision: Text | None = None
    """Commit, tag or branch of a hub model. Left out: the newest when it is fetched; the commit is recorded."""
    activations: Text | None = None
    """Published activation data to read in place of a scan (docs/exports.md): a folder (of `save_to_disk`, or of
    parquet files), a hub id, or a `summary_refactored.pt`. Pages then come from the model; keys of the scan go."""
    sampled_activations: Text | None = None
    """Published sampled activations of the same model and data, for the plane of a run with `activations`: a folder, a
    hub id, or a `sample_refactored.pt` (docs/exports.md)."""
    descriptions: Text | None = None
    """What others say of the model's neurons in words, for pages, the search of a site and the table of neurons:
    a file or folder of Transluce's neuron descriptions, or of Neuronpedia's explanations (docs/exports.md)."""
    refactor_glu: bool = False
    """Show neurons with cos(w_gate, w_in) < 0 with w_in and w_out negated. Needs no new scan."""
    skip_tokens: list[Skipped] = ["bos"]
    """Tokens that go through the model and count for nothing: `bos`, `special` (all that the tokenizer calls special),
    single ones as its vocabulary writes them, or their ids. `[]` counts all."""
    k: ListLength = 16
    """Length of each list of extreme examples."""
    shards: Shards = 1
    """Number of parts, with about equally many tokens, that the scan is cut into: one job each, redone alone if it
    fails."""
    cache: bool = True
    """Keep the MLP input of every token and layer, so that pages need no model: tokens x layers x d_model x 2 bytes."""
    pages_from: Literal["cache", "replay", "model"] | None = None
    """What pages are computed from: `cache`, `replay` (a second pass over chosen texts), or `model` (a forward pass for
    each neuron's texts). Left out: `cache` where the run has one, else `model`."""
    effect: Effect = False
    """Measure what the listed neurons do: the model runs with and without each at its strongest tokens by post of every
    sign case, and at as many typical ones (docs/reading-a-page.md). `true`: at `k` of each; a number: at so many."""
    explain: ExplainConfig | None = None
    """Put each sign case of the listed neurons into words by a language model, with scores (docs/explain.md)."""
    samples: Samples = 4096
    """Number of tokens at which gate and in of every neuron are kept, for the page's scatter plot."""
    cache_dtype: Literal["float16", "bfloat16"] = "float16"
    """Number format of the cache. `bfloat16` where values leave float16's range (the scan checks)."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    """Number format of the forward pass; `auto` is the checkpoint's own. Half precision moves values, and a GPU is
    many times faster in it: docs/precision.md."""
    tf32: bool = False
    """Let a GPU round the factors of float32 products to 11 bits (TF32), which makes it several times faster. Kept with
    the results."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the model runs; `auto` takes a GPU if there is one."""
    batch_tokens: AtLeast1 = BATCH_TOKENS
    """Most tokens in a forward pass. Results do not depend on it; retries after a failure use fewer."""
    seed: AtLeast0 = 0
    """Seed of the choice of sampled tokens."""
    disk_limit_gb: AtLeast1 = 500
    """A run that would write more than this many GB (10^9 bytes), or than the disk has left, says so and stops before
    its first scan."""
    go_on: bool = False
    """Scan all the same."""

    @model_validator(mode="before")
    @classmethod
    def _scans_nothing(cls, raw: Any) -> Any:
        """A run with published activations keeps no cache."""
        given = isinstance(raw, dict) and raw.get("activations") is not None
        return {"cache": False, **raw} if given else raw

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.name)

    @property
    def pages_source(self) -> Literal["cache", "replay", "model"]:
        """`pages_from`, or what it stands for where it was left out."""
        return self.pages_from or ("cache" if self.cache else "model")


class ConfigFile(Section):
    """The config as a whole; a file given with `--configfile` adds to it."""

    datasets: Annotated[dict[DatasetName, DatasetConfig], BeforeValidator(_with_names)] = Field(
        {}, json_schema_extra=_ONLY_THESE
    )
    """Token data sets by name."""
    runs: Annotated[dict[RunName, RunConfig], BeforeValidator(_with_names)] = Field({}, json_schema_extra=_ONLY_THESE)
    """Runs by name. Letters, digits, `.`, `_` and `-`; not `datasets` or `sources`. In quotes where YAML would take the
    name for a number or a date: `"7"`, `"2026-01-01"`."""
    all: list[Text] = []
    """Runs whose sites `snakemake` makes when no target is named."""
    every_edit: bool = False
    """For developers: every edit of a stage's code makes it run again, not only a new version of the stage
    (docs/decisions/stages.md)."""
