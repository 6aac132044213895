"""Another workflow that has this one as a module: from a path, with a prefix, from a git host; with its own config."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from helpers.checkout import REPO, copy_checkout, snakemake
from helpers.killed import killed_under_way
from helpers.room import CONFIG, Room
from helpers.tiny_models import make

OUTER = """\
configfile: "outer.yaml"

rule report:
    input:
        "{prefix}results/mine/site/L0/N3.html",
    output:
        "report.txt",
    shell:
        "wc -c {{input}} > {{output}}"

module gluscope:
    snakefile: {snakefile}
    config: config["gluscope"]
{more}
use rule * from gluscope as gs_*
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(folder=tmp_path_factory.mktemp("model") / "my-model")


@pytest.fixture
def folder(tmp_path: Path, model: Path) -> Path:
    room = Room(tmp_path)
    room.write_texts()
    shutil.copytree(model, tmp_path / "my-model")
    (tmp_path / "outer.yaml").write_text(yaml.safe_dump({"gluscope": CONFIG}), encoding="utf-8")
    return tmp_path


def write(folder: Path, snakefile: str, prefix: str = "") -> None:
    more = f'    prefix: "{prefix}"\n' if prefix else ""
    slash = f"{prefix}/" if prefix else ""
    (folder / "Snakefile").write_text(OUTER.format(snakefile=snakefile, prefix=slash, more=more), encoding="utf-8")


@pytest.mark.parametrize("prefix", ["", "gs"])
def test_a_page_for_another_workflow(folder: Path, prefix: str) -> None:
    write(folder, f'"{REPO}/Snakefile"', prefix)
    done = snakemake(folder, "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    page = folder / prefix / "results/mine/site/L0/N3.html"
    assert str(page.relative_to(folder)) in (folder / "report.txt").read_text(encoding="utf-8")
    assert (page.parents[1] / "index.html").is_file(), "the start page lists it"
    tops = {path.name for path in folder.iterdir()} - {".snakemake", "my-model", "texts.jsonl", "outer.yaml"}
    assert tops == {"Snakefile", "report.txt", *([prefix] if prefix else ["results", "logs", "benchmarks"])}
    again = snakemake(folder, "--cores", "2", "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr, again.stdout + again.stderr
    # What was made with other settings than those of now is made again, as it is without an outer workflow.
    config = {**CONFIG, "runs": {"mine": {**CONFIG["runs"]["mine"], "k": 3}}}
    (folder / "outer.yaml").write_text(yaml.safe_dump({"gluscope": config}), encoding="utf-8")
    shutil.rmtree(folder / ".snakemake/metadata")
    changed = snakemake(folder, "--cores", "2", "--dry-run")
    assert "made with k 16, asked for is 3" in changed.stderr, changed.stdout + changed.stderr


def test_after_a_start_that_was_killed(folder: Path) -> None:
    """Locks and marks are the outer workflow's: the commands of docs/module.md go on from there."""
    Room(folder).write_texts([f"the cat sat on mat {number} and {number + 1} dogs came by ." for number in range(1000)])
    write(folder, f'"{REPO}/Snakefile"', "gs")
    killed_under_way(folder, ["--cores", "1"], "gs/results/mine/scan/0000*writing*")
    locked = snakemake(folder, "--cores", "1")
    assert locked.returncode == 1
    assert "LockException" in locked.stdout + locked.stderr
    assert snakemake(folder, "--unlock").returncode == 0
    done = snakemake(folder, "--cores", "1", "--rerun-incomplete")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "report.txt").is_file()


def test_from_a_git_host(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The host is a folder, to which git is told to go in place of github.com."""
    host = tmp_path_factory.mktemp("host")
    source = copy_checkout(host / "owner/gluscope")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(source)]
    for call in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "x"], ["tag", "v1"]):
        subprocess.run([*git, *call], check=True)
    (host / "home").mkdir()
    url = f'[url "file://{host}/"]\n\tinsteadOf = https://github.com/\n[safe]\n\tdirectory = *\n'
    (host / "home/.gitconfig").write_text(url, encoding="utf-8")
    write(folder, 'github("owner/gluscope", path="Snakefile", tag="v1")')
    home = {"HOME": str(host / "home"), "XDG_CACHE_HOME": str(host / "cache")}
    done = snakemake(folder, "--cores", "2", **home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "results/mine/site/L0/N3.html").is_file()
