"""A few of the faults of docs/faults.md; all kinds, many times: `make faults ROUNDS=100`."""

from __future__ import annotations

import pytest
from helpers.cluster import Cluster
from slurm.conftest import texts
from slurm.fault_site import Site
from slurm.run_faults import play

# A killed Snakemake: test_pipeline. One kind that hits a running job, one that the next start makes good.
KINDS = ["job killed while writing a store", "cache damaged"]


@pytest.fixture(scope="module")
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("faults"), cluster)
    made.prepare(texts, every=False)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost(site: Site, kind: str) -> None:
    outcome = play(site, kind, seed=1)
    assert not outcome.wrong
    assert outcome.equal
