"""The start page of a run's site."""

from typing import Any

from gluscope.job import start
from gluscope.model.spec import ModelSpec
from gluscope.page.site import read_cards, render_index
from gluscope.store.atomic import new_file
from gluscope.store.summary import read_attributes


def main(smk: Any) -> None:
    """Write `smk.output[0]`, with all pages that exist."""
    with start(smk) as job:
        spec, about = ModelSpec.read(smk.input.model), read_attributes(smk.input.summary)
        cards = read_cards(smk.wildcards.run)
        html = render_index(
            run=smk.wildcards.run,
            model=spec.model,
            n_layers=spec.n_layers,
            d_mlp=spec.d_mlp,
            cards=cards,
            facts=[("data set", about["dataset"]), ("tokens", f"{about['tokens']:,}"), ("k", str(about["k"]))],
        )
        with new_file(smk.output[0]) as part:
            part.write_text(html, encoding="utf-8", newline="\n")
        job.say(f"{len(cards)} pages in {smk.output[0]}")


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821
