"""A few of the faults of docs/faults.md; all kinds, many times: `make faults ROUNDS=100`."""

from __future__ import annotations

import pytest
from helpers.cluster import Cluster
from slurm.conftest import texts
from slurm.fault_site import Site
from slurm.run_faults import play

# A killed Snakemake: test_restart_of_snakemake. A node that dies or a time limit takes SLURM half a minute to see.
KINDS = [
    "job killed while writing a store",
    "out of memory",
    "disk full",
    "scan output damaged",
    "cache damaged",
]


@pytest.fixture(scope="module")
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("faults"), cluster)
    made.prepare(texts, other=False)
    return made


@pytest.mark.xdist_group("slurm")
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost(site: Site, kind: str) -> None:
    outcome = play(site, kind, seed=1)
    assert not outcome.wrong
    assert outcome.equal
