"""Pages made in a warm process, and kept as the files that the workflow's targets name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from gluscope.browse.served import Served
from gluscope.core.cores import usable_cores
from gluscope.core.errors import StoreError, one_line
from gluscope.core.freshness import is_fresh
from gluscope.core.half import compiled_from_float16
from gluscope.core.neuron import NeuronId
from gluscope.effect.types import Effect
from gluscope.explain.types import Explanation
from gluscope.page.render import card, render_page
from gluscope.page.results import RunResults
from gluscope.recompute.stage import Origin, recomputed
from gluscope.recompute.types import Recomputed
from gluscope.stages.made import refuse_old
from gluscope.store.atomic import new_file
from gluscope.workflow.marks import forget

if TYPE_CHECKING:
    from gluscope.model.capture import GatedModel

_MOST_THREADS = 8  # that read a cache; more wait for the same memory
_FOR_LIVE = b"gluscopeLive"  # in every page that can show a reader's own text


@dataclass(frozen=True)
class Made:
    """A page that was made now. html: the whole file. card: see `render.card`. values: those that are not a file
    yet, if any. why_not_kept: empty if it may be one.
    """

    neuron: NeuronId
    html: bytes
    card: dict[str, object]
    values: Recomputed | None
    why_not_kept: str = ""


class PageMaker:
    """Makes pages of a run. `make` and `keep` are for one thread; others may look (`check`, `kept`) at that time.

    model: a loaded one, for pages from it. say: for people at the terminal.
    """

    def __init__(
        self, served: Served, model: GatedModel | None = None, say: Callable[[str], None] = lambda text: None
    ) -> None:
        self.served, self._model, self._say = served, model, say
        self._origin = Origin(
            source=served.source,
            folders=[Path(file).parent for file in served.kept],
            device=served.device,
            batch_tokens=served.batch_tokens,
            threads=min(_MOST_THREADS, usable_cores()),
            compiled=True,
            model=model,
        )
        self._opened: tuple[tuple[int, ...], RunResults] | None = None
        self._opening = Lock()
        self.read_only = ""

    @property
    def results(self) -> RunResults:
        """The run's results as they are now: what the workflow makes meanwhile is opened anew."""
        served = self.served
        files = (served.model, served.tokens, served.summary, served.weights, *served.descriptions)
        with self._opening:
            stamp = tuple(os.stat(file).st_mtime_ns for file in files)
            if self._opened is None or self._opened[0] != stamp:
                refuse_old([served.summary, served.weights, *filter(os.path.exists, served.kept)])
                self._opened = stamp, RunResults.open(served.run, served)
            return self._opened[1]

    def warm(self) -> None:
        """Open, and compile, now what the first page would wait for."""
        _ = self.results.contexts
        if self._origin.source == "cache":
            compiled_from_float16()

    def check(self, neuron: NeuronId) -> None:
        """Raises ConfigError for a neuron that the model does not have."""
        self.results.spec.size.refuse(self.served.page(neuron), neuron)

    def kept(self, neuron: NeuronId) -> bytes | None:
        """The page's file, if it is newer than all that it is made from; None where it has to be made."""
        served = self.served
        versions = {stage: served.paths.version(stage) for stage in served.versions}
        if any(not _says(versions[stage], text) for stage, text in served.versions.items()):
            return None
        made_from = [served.values(neuron), *self._shared, *versions.values()]
        made_from += served.found_besides(neuron).values()
        if not is_fresh(served.page(neuron), filter(os.path.exists, made_from)):
            return None
        html = Path(served.page(neuron)).read_bytes()
        return html if _FOR_LIVE in html else None

    def make(self, neuron: NeuronId) -> Made:
        """Make a page from what the run has; it is a file only after `keep`. Raises GluscopeError."""
        served, results, origin, why_not = self.served, self.results, self._origin, ""
        place = results.spec.size.place(neuron)
        if not served.holds(neuron.layer, place):
            origin, why_not = replace(origin, source="model"), "the run's replay does not hold this neuron"
        if origin.source == "model" and self._model is None:
            expected = f"a loaded model{f' ({why_not})' if why_not else ', which the pages of this run come from'}"
            raise StoreError(served.page(neuron), expected, "none", "start `make browse` with MODEL=1")
        values, new = None if why_not else self._stored(neuron), None
        if values is None:
            tokens = Path(served.tokens).parent
            [(_, values)] = recomputed(results.spec, served.summary, tokens, neuron.layer, [place], origin)
            new = values
        besides = self._besides(neuron)
        effect = Effect.read(besides["effect"], neuron) if "effect" in besides else None
        explained = Explanation.read(besides["explain"], neuron) if "explain" in besides else None
        page = results.neuron(neuron, served.command(neuron), values, effect, explained)
        return Made(neuron, render_page(page).encode(), card(page), new, why_not)

    def keep(self, made: Made) -> bool:
        """Write the files that the workflow would; returns whether that could be done.

        Both are newer than all that they are made from, and no record says how earlier ones of their names were made.
        """
        served, neuron = self.served, made.neuron
        if made.why_not_kept or self.read_only:
            return False
        try:
            for stage, text in served.versions.items():
                if not _says(file := served.paths.version(stage), text):
                    _write(file, text.encode())
            if made.values is not None:
                made.values.save(served.values(neuron))
                forget(served.values(neuron))
            _write(served.page(neuron), made.html)
        except (OSError, StoreError) as error:
            self.read_only = one_line(error)
            self._say(f"Pages are shown and not kept: {self.read_only}")
            return False
        return True

    def _stored(self, neuron: NeuronId) -> Recomputed | None:
        """The neuron's recomputed values, where they are there as they would be made. The file stays: a measured effect
        would be older than a new one.
        """
        served, version = self.served, self.served.paths.version("recompute")
        made_from = [served.summary, served.model, served.tokens, *served.kept, version]
        if not _says(version, served.versions.get("recompute", "")):
            return None
        if not is_fresh(served.values(neuron), filter(os.path.exists, made_from)):
            return None
        with suppress(StoreError):
            return Recomputed.read(served.values(neuron), neuron)
        return None

    def _besides(self, neuron: NeuronId) -> dict[str, str]:
        """`Served.found_besides`, as far as it is there and newer than what it is made from."""
        served, found = self.served, {}
        for stage, file in served.found_besides(neuron).items():
            made_from = [served.summary, served.weights, served.model, served.tokens, served.paths.version(stage)]
            if is_fresh(file, filter(os.path.exists, made_from)):
                found[stage] = file
        return found

    @property
    def _shared(self) -> list[str]:
        served = self.served
        return [served.summary, served.weights, served.model, served.tokens, *served.tokenizer, *served.descriptions]


def _write(file: str, data: bytes) -> None:
    with new_file(file) as part:
        part.write_bytes(data)
    forget(file)


def _says(file: str, text: str) -> bool:
    """Whether a versions file says the same."""
    try:
        return bool(json.loads(Path(file).read_text(encoding="utf-8")) == json.loads(text))
    except (OSError, ValueError):
        return False
