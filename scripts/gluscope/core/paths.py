"""File names of a run, and the way back from a file name to what it holds.

Everything lies under `results/`, relative to the working directory; in a workflow that has this one as a module with a
prefix, under that (`results_in`). Paths are strings, with `/`, and are
compared as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from gluscope.core.neuron import NeuronId

RESULTS = "results"
PAGES = "L*/**/N*.html"  # matches all pages below a site's folder
STATE = ".snakemake"  # what starts and jobs know of each other lies here, and no result
RESERVED_RUN_NAMES = frozenset({"datasets", "sources"})


_WHERE: ContextVar[str] = ContextVar("results", default=RESULTS)


def results() -> str:
    """The folder of all results."""
    return _WHERE.get()


@contextmanager
def results_in(folder: str) -> Iterator[None]:
    """Inside, results lie in this folder."""
    before = _WHERE.set(folder)
    try:
        yield
    finally:
        _WHERE.reset(before)


def shard_name(index: int) -> str:
    """Name of a run's shard: four digits, so that names sort."""
    return f"{index:04d}"


@dataclass(frozen=True)
class DatasetPaths:
    """Files of one token data set."""

    name: str

    @property
    def folder(self) -> str:
        """What `datasets.load_from_disk` opens."""
        return f"{results()}/datasets/{self.name}"

    @property
    def tokens(self) -> str:
        """JSON written last into the folder: rows, tokens, fingerprint, settings, checksums."""
        return f"{self.folder}/tokens.json"

    @property
    def source(self) -> str:
        """JSON of what was fetched from a hub: ids, revisions, where it lies."""
        return f"{results()}/datasets/{self.name}.source.json"


@dataclass(frozen=True)
class RunPaths:
    """Files of one run. `shard` and `neuron` arguments are names, or a wildcard in braces."""

    run: str

    @property
    def root(self) -> str:
        return f"{results()}/{self.run}"

    @property
    def model(self) -> str:
        """JSON that describes the model: dimensions, tensor names, files, revision."""
        return f"{self.root}/model.json"

    @property
    def plan(self) -> str:
        """JSON of how the rows of the data set are cut into shards."""
        return f"{self.root}/plan.json"

    def scan(self, shard: str) -> str:
        """One shard's statistics, a zarr group in one zip file."""
        return f"{self.root}/scan/{shard}.zarr.zip"

    def cache(self, shard: str) -> str:
        """The last file that a shard's cache, a zarr array in a folder, gets."""
        return f"{self.root}/cache/{shard}.zarr/zarr.json"

    @property
    def summary(self) -> str:
        """The last file that the merged statistics, a zarr group in a folder, get."""
        return f"{self.root}/summary.zarr/zarr.json"

    @property
    def activations(self) -> str:
        """JSON of what was fetched of published activations: id, revision, where it lies."""
        return f"{self.root}/activations.json"

    @property
    def sampled_activations(self) -> str:
        """The same of published sampled activations."""
        return f"{self.root}/sampled_activations.json"

    @property
    def descriptions(self) -> str:
        """What others say of the run's neurons, in words."""
        return f"{self.root}/descriptions.npz"

    @property
    def weights(self) -> str:
        """The last file that the weight statistics, a zarr group in a folder, get."""
        return f"{self.root}/weights.zarr/zarr.json"

    def replay(self, shard: str) -> str:
        """The last file that a shard's replay gets."""
        return f"{self.root}/replay/{shard}.zarr/zarr.json"

    def neuron(self, neuron: NeuronId | str) -> str:
        """Gate and in at every token of one neuron's example texts."""
        return f"{self.root}/neurons/{neuron}.npz"

    def effect(self, neuron: NeuronId | str) -> str:
        """What one neuron does to predictions, measured."""
        return f"{self.root}/effect/{neuron}.npz"

    def explanation(self, neuron: NeuronId | str) -> str:
        """Words for each sign case of one neuron, with scores."""
        return f"{self.root}/explain/{neuron}.json"

    @property
    def explained(self) -> str:
        """Empty file: all listed neurons are explained."""
        return f"{self.root}/done/explain"

    @property
    def answers(self) -> str:
        """JSON lines: every answer of a language model that was paid for."""
        return f"{self.root}/explain/answers.jsonl"

    def version(self, stage: str) -> str:
        """JSON of version and keys of `stage`; what is made in bulk is compared with its age."""
        return f"{self.root}/versions/{stage}.json"

    def parse_page(self, path: str) -> NeuronId:
        """The neuron of a page's path. Raises ValueError for other paths."""
        return NeuronId.parse(path.removeprefix(f"{self.site}/").removesuffix(".html"))

    def done(self, stage: str, layer: int | str, low: int | str, high: int | str) -> str:
        """Empty file: `stage` is done for a layer's listed neurons at places (`core.size`) from `low` to `high`."""
        return f"{self.root}/done/{stage}-L{layer}-N{low}-{high}"

    @property
    def site(self) -> str:
        return f"{self.root}/site"

    @property
    def index(self) -> str:
        return f"{self.site}/index.html"

    def page(self, neuron: NeuronId | str) -> str:
        return f"{self.site}/{neuron}.html"

    @property
    def export(self) -> str:
        return f"{self.root}/export"

    @property
    def export_hf(self) -> str:
        """One of the files of the folder that `datasets.load_from_disk` opens; they appear together."""
        return f"{self.export}/hf/state.json"

    @property
    def export_site(self) -> str:
        """The list of pages of a GLUScope site folder; all of that appears together."""
        return f"{self.export}/gluscope-site/pages.json"

    @property
    def export_neuronpedia(self) -> str:
        """JSON of what lies beside it, in `v1/`, in Neuronpedia's export layout."""
        return f"{self.export}/neuronpedia/sources.json"

    @property
    def export_explainers(self) -> str:
        """One of the files of a folder for programs that explain and score; they appear together."""
        return f"{self.export}/explainers/examples.jsonl"

    @property
    def neurons_table(self) -> str:
        """Statistics of every neuron, a row each."""
        return f"{self.export}/neurons.parquet"

    def compared(self, reference: str) -> str:
        """JSON of how the run differs from another one on the same data set."""
        return f"{self.root}/compare/{reference}.json"
