"""A live site of the tiny run: what it serves, and a client that has its token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from gluscope.browse.app import make_app
from gluscope.browse.guard import LOOPBACK
from gluscope.browse.maker import PageMaker
from gluscope.browse.pages import LivePages
from gluscope.browse.served import STAGES, Served
from gluscope.browse.workshop import Workshop
from gluscope.stages.made import version_text
from helpers.tiny_run import SHARDS, TinyRun
from starlette.testclient import TestClient

TOKEN = "the-token"


def served(**other: Any) -> Served:
    """The tiny run of the working directory, its pages from the cache."""
    run, data = TinyRun.run, TinyRun.data
    caches = [run.cache(f"{shard:04d}") for shard in range(SHARDS)]
    versions = {stage: version_text({stage: "1"}, {}) for stage in STAGES}
    found = Served(
        run="tiny", model=run.model, tokens=data.tokens, summary=run.summary, weights=run.weights, tokenizer=[],
        descriptions=[],
        kept=caches, source="cache", device="cpu", batch_tokens=4096, listed=None, versions=versions,
    )  # fmt: skip
    return replace(found, **other)


@contextmanager
def client(maker: PageMaker, own: Any = None, *, most: int = 64, token: str = TOKEN) -> Iterator[TestClient]:
    """Of the whole application; it has been to the address with the token unless that is empty."""
    workshop = Workshop(most)
    app = make_app(LivePages(maker, workshop), workshop, own, TOKEN, LOOPBACK)
    try:
        with TestClient(app, base_url="http://127.0.0.1:8765") as found:
            if token:
                found.get(f"/?token={token}")
            yield found
    finally:
        workshop.close()
