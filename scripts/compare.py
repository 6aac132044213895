"""Compare two runs over the same tokens."""

import json
from typing import Any

from gluscope.compare.report import lines
from gluscope.compare.runs import compare
from gluscope.store.atomic import new_file
from gluscope.summary.file import SummaryReader
from gluscope.workflow.job import start


def main(smk: Any) -> None:
    """Write how `smk.input.summary` differs from `smk.input.reference` as JSON, and say it."""
    with start(smk) as job:
        found = compare(SummaryReader(smk.input.reference), SummaryReader(smk.input.summary), job.say)
        with new_file(smk.output[0]) as part:
            part.write_text(json.dumps(found.as_json(), indent=1) + "\n", encoding="utf-8")
        for line in lines(found):
            job.say(line)


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821
