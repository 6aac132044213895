"""What a target of the wrong shape means, and what there is to look at after a command."""

from __future__ import annotations

import pytest
from gluscope.config.keys import ConfigFile
from gluscope.config.load import load_config
from gluscope.core.errors import ConfigError
from gluscope.workflow.targets import nearest_target, refuse_wrong, to_open

RUN = {"model": "m", "dataset": "texts", "neurons": []}


@pytest.fixture
def config() -> ConfigFile:
    return load_config(
        {"datasets": {"texts": {"source": "t.txt"}}, "runs": {"demo": RUN, "other": RUN}, "all": ["demo"]}
    )


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("results/demo/site/L1/N7", "results/demo/site/L1/N7.html"),
        ("results/other/L1/N7.html", "results/other/site/L1/N7.html"),
        ("other/L1/N7", "results/other/site/L1/N7.html"),
        ("L1/N7", "results/demo/site/L1/N7.html"),
        ("./results/demo/site/", "results/demo/site/index.html"),
        ("results/demo/summary.zarr", "results/demo/summary.zarr/zarr.json"),
        ("results/demo/weights.zarr", "results/demo/weights.zarr/zarr.json"),
        ("demo", "results/demo/site/index.html"),
        ("results/other", "results/other/site/index.html"),
        ("results/demo/export/hf", "results/demo/export/hf/state.json"),
        ("results/demo/export/neuron.parquet", "results/demo/export/neurons.parquet"),
        ("results/demo/site/index.htm", "results/demo/site/index.html"),
        ("results/datasets/texts", "results/datasets/texts/tokens.json"),
        ("texts", "results/datasets/texts/tokens.json"),
    ],
)
def test_the_nearest_right_target(config: ConfigFile, target: str, meant: str) -> None:
    assert nearest_target(target, config) == meant
    with pytest.raises(ConfigError, match="expected a file that the workflow makes") as caught:
        refuse_wrong([target], lambda name: name == meant, config)
    assert str(caught.value).endswith(f"Next: write {meant}.")
    refuse_wrong([meant], lambda name: name == meant, config)


def test_what_to_open() -> None:
    index, other = "results/demo/site/index.html", "results/other/site/index.html"
    page, second = "results/demo/site/L1/N7.html", "results/demo/site/L1/N8.html"
    assert to_open([page], [index]) == f"Open {page} in a browser."
    assert to_open([page, second], [index]) == f"Open {index} in a browser."
    assert to_open([], [index]) == to_open(["all"], [index]) == f"Open {index} in a browser."
    assert to_open(["all"], [index, other]) == f"Open {index} and {other} in a browser."
    assert to_open(["results/demo/summary.zarr/zarr.json"], [index]) == ""
