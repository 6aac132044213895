"""Pages for many readers at once: files that are there, or made by the workshop, each once."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Lock

from gluscope.browse.maker import Made, PageMaker
from gluscope.browse.served import Served
from gluscope.browse.workshop import LATER, SOON, Workshop
from gluscope.core.errors import GluscopeError, StoreError, one_line
from gluscope.core.neuron import NeuronId
from gluscope.page.refresh import index_with, refresh_index

_IN_MEMORY = 32  # pages that could not be kept as files


class LivePages:
    """maker: makes pages in the workshop's thread alone."""

    def __init__(self, maker: PageMaker, workshop: Workshop) -> None:
        self._maker, self._workshop = maker, workshop
        self._unkept: OrderedDict[NeuronId, Made] = OrderedDict()
        self._lock, self._index_lock = Lock(), Lock()

    @property
    def served(self) -> Served:
        return self._maker.served

    def check(self, neuron: NeuronId) -> None:
        """Raises ConfigError for a neuron that the model does not have."""
        self._maker.check(neuron)

    def there(self, neuron: NeuronId) -> bytes | None:
        """A page that needs not be made. Raises ConfigError for a neuron that the model does not have."""
        self.check(neuron)
        return self._maker.kept(neuron)

    def page(self, neuron: NeuronId) -> Future[tuple[bytes, str]]:
        """A neuron's page, and a remark on it. Raises Busy; the result raises GluscopeError."""
        return self._workshop.ask(neuron, lambda: self._page(neuron), then=lambda _: self._keep(neuron), when=SOON)

    def later(self, neuron: NeuronId) -> None:
        """Have a page made when nobody waits for another one. Raises Busy."""
        self._workshop.ask(neuron, lambda: self._page(neuron), then=lambda _: self._keep(neuron), when=LATER)

    def index(self) -> bytes:
        """The start page, with all pages that there are. Raises StoreError where there is none."""
        run, path = self.served.run, Path(self.served.paths.index)
        with self._index_lock:
            if not self._maker.read_only:
                with suppress(GluscopeError, OSError, ValueError):  # it then lists what it did
                    refresh_index(run, self.served.options)
            with self._lock:
                cards = [made.card for made in self._unkept.values()]
            html = index_with(run, cards) if cards else None
            return path.read_bytes() if html is None else html.encode()

    def _page(self, neuron: NeuronId) -> tuple[bytes, str]:
        with self._lock:
            made = self._unkept.get(neuron)
        if made is not None:
            return made.html, self._remark(made)
        if (html := self._maker.kept(neuron)) is not None:
            return html, ""
        try:
            made = self._maker.make(neuron)
        except (GluscopeError, OSError) as error:
            return self._older(neuron, error)
        with self._lock:
            self._unkept[neuron] = made
            while len(self._unkept) > _IN_MEMORY:
                self._unkept.popitem(last=False)
        return made.html, self._remark(made)

    def _keep(self, neuron: NeuronId) -> None:
        """Once it has been shown: the disk takes its time."""
        with self._lock:
            made = self._unkept.get(neuron)
        if made is not None and self._maker.keep(made):
            with self._lock:
                del self._unkept[neuron]

    def _remark(self, made: Made) -> str:
        why = made.why_not_kept or self._maker.read_only
        return f"This page is shown and not kept: {why}." if why else ""

    def _older(self, neuron: NeuronId, error: Exception) -> tuple[bytes, str]:
        """A page that is there but not as it would be made now, where it cannot be."""
        try:
            html = Path(self.served.page(neuron)).read_bytes()
        except OSError:
            if isinstance(error, GluscopeError):
                raise error from None
            raise StoreError(
                self.served.page(neuron), "what it is made from", one_line(error), "look at the disk"
            ) from error
        return html, f"This page may be older than the run's results, and cannot be made again: {one_line(error)}"
