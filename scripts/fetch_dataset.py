"""Fetch what a data set takes from the hub."""

from typing import Any

from gluscope.dataset.files import has_template, no_template
from gluscope.dataset.sources import fetch
from gluscope.store.atomic import new_file
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write `smk.output[0]`: where source and tokenizer lie now, and their revisions."""
    with start(smk, online=True) as job:
        keys = smk.params.settings
        job.say(f"Fetching {keys['source']}" + (f", {keys['tokenizer']}" if keys["tokenizer"] else ""))
        sources = fetch(keys["source"], keys["tokenizer"], keys["revision"])
        if keys.get("messages_column") and sources.tokenizer and not has_template(sources.tokenizer.folder):
            raise no_template(sources.tokenizer.id)
        with new_file(smk.output[0]) as part:
            sources.save(part)


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821
