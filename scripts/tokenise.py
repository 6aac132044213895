"""Make a token data set."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gluscope.core.provenance import versions
from gluscope.dataset.build import build
from gluscope.dataset.record import TokenSettings
from gluscope.dataset.sources import Sources, fetch
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Fill the folder of `smk.output[0]`, which is its last file."""
    with start(smk) as job:
        keys = smk.params.settings
        if smk.input.fetched:
            sources = Sources.read(smk.input.fetched[0])
        else:
            sources = fetch(keys["source"], keys["tokenizer"], keys["revision"])
        made_with = versions("datasets", "tokenizers", "transformers", "pyarrow")
        record = build(
            Path(smk.output[0]).parent,
            sources,
            TokenSettings.of(SimpleNamespace(**keys)),
            made_with,
            stages=smk.params.version,
        )
        job.say(f"{record.rows} examples, {record.tokens} tokens, the longest {record.longest}")
        for line in record.remarks:
            job.say(line)


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821
