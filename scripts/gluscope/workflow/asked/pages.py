"""Pages of a run's site, alone or in batches, and what they are made from."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gluscope.config.neurons import Batch, Pages, share_out
from gluscope.core.paths import PAGES, RESULTS, RunPaths
from gluscope.workflow.asked.neurons import Neurons


class SitePages(Neurons):
    """make_again: told of files that are there and have to be made again all the same."""

    def __init__(self, raw: Mapping[str, Any], folder: Path, results: str = RESULTS) -> None:
        super().__init__(raw, folder, results)
        self.make_again: Callable[[list[str]], None] = lambda files: None
        self._pages: dict[str, Pages] = {}

    def pages(self, run: str) -> Pages:
        """The pages of a run's site, by job."""
        if run not in self._pages:
            self._pages[run] = share_out(self.listed(run), self.size(run))
        return self._pages[run]

    def page_files(self, run: str) -> list[str]:
        """Files that stand for the listed pages: the pages, or markers of batches where they are many."""
        self.make_again(self.false_markers(run))
        paths, pages = RunPaths(run), self.pages(run)
        single = [paths.page(neuron) for neuron in pages.single]
        return single + [paths.done("page", batch.layer, batch.low, batch.high) for batch in pages.batches]

    def neuron_files(self, run: str) -> list[str]:
        """Files that stand for the recomputed values of the listed neurons."""
        paths, pages = RunPaths(run), self.pages(run)
        single = [paths.neuron(neuron) for neuron in pages.single]
        return single + [paths.done("recompute", batch.layer, batch.low, batch.high) for batch in pages.wide]

    def recomputed_for(self, run: str, batch: Batch) -> str:
        """The marker of what the pages of a batch are made from."""
        wide = next((wide for wide in self.pages(run).wide if wide.holds(batch)), batch)
        return RunPaths(run).done("recompute", wide.layer, wide.low, wide.high)

    def recomputed_for_batch(self, run: str, layer: str, low: str, high: str) -> str:
        return self.recomputed_for(run, Batch(int(layer), int(low), int(high)))

    def kept_for_pages(self, run: str) -> list[str]:
        """The caches, or replays, of all shards, if the run's pages are computed from them."""
        paths = RunPaths(run)
        path_of = {"cache": paths.cache, "replay": paths.replay}.get(self.run(run).pages_source)
        return [path_of(shard) for shard in self.shards(run)] if path_of else []

    def false_markers(self, run: str) -> list[str]:
        """Markers of batches of which a page, or what it is made from, has gone; the start page if a single one has."""
        paths, names = RunPaths(run), functools.cache(names_in)
        false = []
        for batch in self.pages(run).batches:
            marker = paths.done("page", batch.layer, batch.low, batch.high)
            if not os.path.exists(marker):
                continue
            gone = [neuron for neuron in self.neurons_of(run, batch) if not is_there(paths.page(neuron), names)]
            if gone:
                false.append(marker)
                if not all(is_there(paths.neuron(neuron), names) for neuron in gone):
                    false.append(self.recomputed_for(run, batch))
        single = (paths.page(neuron) for neuron in self.pages(run).single)
        if os.path.exists(paths.index) and not all(map(os.path.exists, single)):
            false.append(paths.index)
        return list(dict.fromkeys(false))

    def unlisted(self, run: str) -> str:
        """Neurons that have a page without being listed, as text; the site's start page shows them as well."""
        size, found = self.size(run), []
        listed = {layer: set(places) for layer, places in self.listed(run).items()}
        for path in Path(RunPaths(run).site).glob(PAGES):
            try:
                neuron = RunPaths(run).parse_page(path.as_posix())
                place = size.place(neuron) if size else neuron.neuron
            except (ValueError, IndexError):
                continue
            if place not in listed.get(neuron.layer, ()):
                found.append(neuron)
        return " ".join(map(str, sorted(found)))


def is_there(file: str, names: Callable[[str], set[str]]) -> bool:
    """Whether a file is there. names: of the files in a folder."""
    folder, _, name = file.rpartition("/")
    return name in names(folder)


def names_in(folder: str) -> set[str]:
    """Names of the files in a folder; none where there is no folder."""
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()
