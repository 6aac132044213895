"""What the weights of every neuron say."""

from typing import Any

from gluscope.job import start


def main(smk: Any) -> None:
    with start(smk):
        pass


if __name__ == "__main__":
    main(snakemake)  # type: ignore[name-defined]  # noqa: F821
