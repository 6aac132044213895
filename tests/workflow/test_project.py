"""What others expect of a project: pins, versions and metadata that agree with each other."""

from __future__ import annotations

import re
import sys
import tomllib
from collections import Counter
from importlib.metadata import packages_distributions

import gluscope
import yaml
from gluscope.core.digest import imports_of
from helpers.checkout import REPO
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))
PYTHON = re.search(r"From: python:(\d+\.\d+)-slim", (REPO / "envs/gluscope.def").read_text(encoding="utf-8"))[1]


def requirements(name: str) -> dict[str, Requirement]:
    """The lines of a file under envs/ that name a package."""
    lines = (REPO / "envs" / name).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]
    assert len({canonicalize_name(one.name) for one in found}) == len(found), f"{name} names a package twice"
    return {canonicalize_name(one.name): one for one in found}


def pinned(name: str) -> dict[str, str]:
    """Versions of a file in which every line is an exact pin."""
    found = {}
    for package, one in requirements(name).items():
        [only] = one.specifier
        assert only.operator == "==", one
        found[package] = only.version
    return found


def test_exact_pins_hold_what_was_asked_for() -> None:
    runtime, test = pinned("runtime.txt"), pinned("test.txt")
    assert not set(runtime) & set(test), "test.txt adds to runtime.txt"
    assert "-r runtime.txt" in (REPO / "envs/test.txt").read_text(encoding="utf-8").splitlines()
    for file, pins in (("runtime.in", runtime), ("test.in", {**runtime, **test})):
        for package, asked in requirements(file).items():
            assert package in pins, f"{file}: {package} has no pin; `make lock` makes one"
            assert pins[package] in asked.specifier, f"{file}: {asked}, pinned {pins[package]}"


def test_what_the_library_imports_is_pinned() -> None:
    """Directly, or by way of a package that needs it; triton comes with torch's builds for GPUs, and for the tests;
    the benchmark measures clicks where the tests' browser is there."""
    folders = ("scripts", "tests/benchmark", "config/demo")
    files = [file for folder in folders for file in (REPO / folder).rglob("*.py") if file.name != "test_benchmark.py"]
    own = {"gluscope", "benchmark", "helpers", ""}
    names = {name.split(".")[0] for file in files for name in imports_of(file, "gluscope.x")} - own
    others, known = names - set(sys.stdlib_module_names), packages_distributions()
    pins = {*pinned("runtime.txt"), *(set(pinned("test.txt")) & {"triton", "playwright"})}
    missing = {name for name in others if not {canonicalize_name(dist) for dist in known[name]} & pins}
    assert not missing


def test_no_two_test_files_have_one_name() -> None:
    """pytest would leave one of them out."""
    names = Counter(file.name for file in (REPO / "tests").rglob("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []


def test_one_python_version() -> None:
    assert PYTHON in SpecifierSet(PROJECT["project"]["requires-python"])
    lowest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert PROJECT["tool"]["mypy"]["python_version"] == lowest
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + lowest.replace(".", "")
    assert f"Python {lowest} or newer" in (REPO / "README.md").read_text(encoding="utf-8")


def test_the_container_installs_the_pins() -> None:
    recipe = (REPO / "envs/gluscope.def").read_text(encoding="utf-8")
    assert "envs/runtime.txt /runtime.txt" in recipe
    assert "pip install --no-cache-dir -r /runtime.txt" in recipe
    # -dev: Triton's own C code includes the C library's headers, and gcc does not bring them along.
    assert re.search(r"apt-get install .*\bgcc libc6-dev\b", recipe)
    assert "envs/gluscope.sif" in (REPO / "Snakefile").read_text(encoding="utf-8")


def test_the_snakefile_asks_for_no_newer_snakemake_than_is_pinned() -> None:
    asked = re.search(r'min_version\("([\d.]+)"\)', (REPO / "Snakefile").read_text(encoding="utf-8"))[1]
    assert pinned("runtime.txt")["snakemake"] in SpecifierSet(f">={asked}")


def test_one_version_and_licence_everywhere() -> None:
    cited = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    assert gluscope.__version__ == PROJECT["project"]["version"] == cited["version"]
    assert f"(version {gluscope.__version__})" in (REPO / "README.md").read_text(encoding="utf-8")
    assert f"## {gluscope.__version__}" in (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == cited["license"] == "MIT"
    assert (REPO / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_citation_has_what_the_format_and_bibtex_require() -> None:
    cited = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    paper = cited["preferred-citation"]
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert re.fullmatch(r"1\.2\.\d", cited["cff-version"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", cited["date-released"])
    assert cited["authors"] == [{"name": "The GLUScope workflow authors"}]
    # What becomes of it as BibTeX: author, title, journal, year, url.
    assert all(author["family-names"] and author["given-names"] for author in paper["authors"])
    assert isinstance(paper["year"], int)
    assert paper["url"].startswith("https://arxiv.org/abs/")


def test_a_pages_bibtex_cites_what_the_citation_file_does() -> None:
    cited = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    script = (REPO / "scripts/gluscope/page/assets/page/footer.js").read_text(encoding="utf-8")
    paper = cited["preferred-citation"]
    assert f'AUTHORS = "{{{cited["authors"][0]["name"]}}}"' in script
    assert f"YEAR = {cited['date-released'][:4]}" in script
    assert paper["year"] == int(cited["date-released"][:4])
    assert f'PAPER = "{paper["url"].removeprefix("https://")}"' in script
    assert paper["title"] in script.replace("{GLUScope}", "GLUScope").replace("{GLU}", "GLU")


def test_the_catalogue_entry_names_how_software_comes() -> None:
    usage = yaml.safe_load((REPO / ".snakemake-workflow-catalog.yml").read_text(encoding="utf-8"))["usage"]
    assert any(usage["software-stack-deployment"].values())
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert (REPO / "config/README.md").is_file()
