"""A place where faults happen: one cluster, one undisturbed run to compare with, and states to start a round from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from gluscope.cache.reader import CacheReader
from gluscope.core.errors import StoreError
from gluscope.recompute.types import Recomputed
from gluscope.summary.file import SummaryReader
from gluscope.weights.file import WeightsReader
from gluscope.workflow.as_asked import attributes_of
from helpers.checkout import copy_checkout
from helpers.cluster import Cluster, login_environment
from helpers.quick import quick_snakemake
from helpers.tiny_models import make

RUN = "results/tiny"
PAGES = [f"{RUN}/site/L1/N7.html"]
WEIGHTS = f"{RUN}/weights.zarr/zarr.json"
SHARDS = ["0000", "0001", "0002", "0003"]
CONFIG = """\
datasets:
  mine-texts: {{source: texts.jsonl, tokenizer: my-model, max_length: 64}}
runs:
  tiny: {{model: my-model, dataset: mine-texts, neurons: [L0/N3, L1/N7], shards: 4, samples: 64,
         k: {k}, dtype: {dtype}}}
"""


def write_config(folder: Path, k: int = 4, dtype: str = "float32") -> None:
    (folder / "mine.yaml").write_text(CONFIG.format(k=k, dtype=dtype), encoding="utf-8")


def scan(shard: str) -> str:
    return f"{RUN}/scan/{shard}.zarr.zip"


def read_wholly(path: Path) -> None:
    """Read all of a stored file or folder, given by its last file, with the reader that the program uses."""
    if path.name.endswith(".zarr.zip") or path.parent.name == "summary.zarr":
        reader = SummaryReader(path)
        for layer in range(reader.n_layers):
            reader.layer(layer)
        reader.sample()
    elif path.parent.name == "weights.zarr":
        weights = WeightsReader(path)
        for layer in range(weights.n_layers):
            weights.layer(layer)
    elif path.parent.parent.name == "cache":
        with CacheReader(path) as cache:
            for layer in range(cache.n_layers):
                for row in cache.rows.tolist():
                    cache.read(layer, row)
    elif path.suffix == ".npz":
        Recomputed.read(path)
    elif path.suffix == ".html" and not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise StoreError(str(path), "a whole page", "a part of one", "look")


def final_names(folder: Path) -> Iterator[Path]:
    """All that stands under a final name in a run's results."""
    for pattern in (
        "scan/*.zarr.zip",
        "cache/*.zarr/zarr.json",
        "*.zarr/zarr.json",
        "neurons/*/*.npz",
        "site/*/*.html",
    ):
        yield from (folder / RUN).glob(pattern)


class Watcher(threading.Thread):
    """Opens everything that appears under a final name, as soon as it does; `half` lists what was not whole."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.half, self.looked = folder, [], 0
        self._known: dict[Path, tuple[int, int]] = {}
        self._end = threading.Event()

    def look(self) -> None:
        for path in final_names(self.folder):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            identity = (stat.st_ino, stat.st_mtime_ns)
            if self._known.get(path) == identity:
                continue
            self._known[path] = identity
            self.looked += 1
            try:
                read_wholly(path)
            except (StoreError, OSError) as error:
                if path.exists() and (path.stat().st_ino, path.stat().st_mtime_ns) == identity:
                    self.half.append(f"{path.relative_to(self.folder)}: {error}")

    def run(self) -> None:
        while not self._end.wait(0.05):
            self.look()

    def stop(self) -> list[str]:
        self._end.set()
        self.join()
        self._known.clear()
        self.look()
        return self.half


@dataclass
class Room:
    """What a fault sees: the cluster, the user's folder, the command as it runs."""

    cluster: Cluster
    folder: Path
    program: str
    arguments: list[str] = field(default_factory=list)
    first_job: int = 0
    process: subprocess.Popen[bytes] | None = None
    commands: int = 0
    log: list[str] = field(default_factory=list)  # what the fault did, for people
    environment: dict[str, str] = field(default_factory=dict)  # of the command, and so of its jobs

    def write_config(self, k: int = 4) -> None:
        write_config(self.folder, k)

    def start(self, *targets: str) -> None:
        """Type the command; it runs on."""
        self.commands += 1
        command = [self.program, "--profile", "slurm", *(targets or PAGES), *self.arguments]
        with open(self.folder / f"command-{self.commands}.log", "w") as log:
            self.process = subprocess.Popen(
                [*command, "--max-status-checks-per-second", "10", "--configfile", "mine.yaml"],
                cwd=self.folder,
                env=login_environment(self.cluster, str(Path(self.program).parent)) 
                | {"PYTHONDONTWRITEBYTECODE": "", **self.environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def wait(self, seconds: float = 1200) -> int:
        """Exit status of the command."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()
            return -99

    def signal(self, how: signal.Signals) -> None:
        """To the command and all it has started on the login node, as a terminal would send it."""
        assert self.process is not None
        os.killpg(self.process.pid, how)

    def said(self) -> str:
        """What the last command has printed."""
        return (self.folder / f"command-{self.commands}.log").read_text(encoding="utf-8", errors="replace")

    def jobs(self, all_states: bool = True) -> list[tuple[int, str, str, str]]:
        """Id, state, rule with wildcards, and node of the jobs of this round."""
        states = ["-t", "all"] if all_states else []
        lines = self.cluster.run("squeue", "-h", *states, "-o", "%i|%T|%k|%N", check=False).splitlines()
        found = [line.strip().split("|") for line in lines]
        jobs = [(int(i), state, comment, node) for i, state, comment, node in found]
        return [job for job in jobs if job[0] > self.first_job and job[2].startswith("rule_")]

    def redone(self) -> Counter[str]:
        """How often each job was submitted, by rule and wildcards."""
        return Counter(job[2].removeprefix("rule_").replace("_wildcards_", " ") for job in self.jobs())

    def running(self, what: str = "rule_scan") -> tuple[int, str]:
        """Wait for a running job; returns its id and node."""
        found: list[tuple[int, str]] = []

        def look() -> bool:
            found[:] = [
                (i, node) for i, state, job, node in self.jobs(False) if job.startswith(what) and state == "RUNNING"
            ]
            return bool(found) or (self.process is not None and self.process.poll() is not None)

        self.cluster.wait_for(look, 600, f"{what} to run")
        if not found:
            raise RuntimeError(f"the command ended before {what} ran: {self.said()[-1500:]}")
        return found[0]

    def processes(self, job: int) -> list[psutil.Process]:
        """Of a SLURM job, the latest started first. Another cluster of this machine may have a job of the same id."""
        found, ours = [], {"SLURM_JOB_ID": str(job), "SLURM_CONF": str(self.cluster.conf)}
        for process in psutil.process_iter():
            try:
                if process.environ().items() >= ours.items() and "slurmstepd" not in process.name():
                    found.append((process.create_time(), process.pid, process))
            except psutil.Error:
                continue
        return [process for _, _, process in sorted(found, reverse=True)]

    def kill(self, job: int, everything: bool = True) -> None:
        for process in self.processes(job)[: None if everything else 1]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue

    def wait_until(self, condition: Callable[[], bool], seconds: float = 60, every: float = 0.01) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return True
            time.sleep(every)
        return False

    def settle(self) -> None:
        """Wait until no job of this round is left."""
        self.cluster.wait_for(lambda: not self.jobs(False), 900, "the queue to empty")


class Site:
    """`with Site(folder, cluster) as site`: the reference run is made once, by steps, each kept as a state."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder, self.cluster = folder, cluster
        self.room_folder, self.states = folder / "gluscope", folder / "states"
        self.program = quick_snakemake(folder / "bin", 0.4)
        self.reference: dict[str, bytes] = {}

    def write_config(self, k: int = 4, dtype: str = "float32") -> None:
        write_config(self.room_folder, k, dtype)

    def prepare(self, texts: Callable[[Path], None], every: bool = True) -> None:
        """every: all states, not just `last`, `merged` and `done`. What is there is kept."""
        if (self.states / "done").exists():
            self.room_folder.mkdir(exist_ok=True)
            self.load("done")
            self.reference = self.results()
            return
        copy_checkout(self.room_folder)
        make("OlmoForCausalLM", self.folder / "model")
        shutil.copytree(self.folder / "model", self.room_folder / "my-model")
        texts(self.room_folder / "texts.jsonl")
        self.write_config()
        if every:
            self._first_steps()
        self._step("last", scan("0000"), scan("0001"), scan("0002"), WEIGHTS)
        if every:
            self._step("scanned", scan("0003"))
        self._step("merged", f"{RUN}/summary.zarr/zarr.json")
        self._step("done", *PAGES)
        self.reference = self.results()
        assert len([name for name in self.reference if name.endswith(".html")]) == len(PAGES)

    def _first_steps(self) -> None:
        self._step("planned", f"{RUN}/plan.json", WEIGHTS)
        self.write_config(k=3)
        self._step("", scan("0000"))
        self.write_config(dtype="bfloat16")
        self._step("other", scan("0001"), "--rerun-triggers", "mtime")
        self.load("planned")
        make("OlmoForCausalLM", self.room_folder / "my-model", seed=1)
        self.write_config()
        self._step("other-model", scan("0000"), scan("0001"), WEIGHTS)
        self.load("planned")
        self._step("half", scan("0000"), scan("0001"))

    def _step(self, state: str, *targets: str) -> None:
        room = self.new_room()
        room.start(*targets)
        if room.wait():
            raise RuntimeError(room.said()[-3000:])
        if state:
            self.states.mkdir(exist_ok=True)
            subprocess.run(["cp", "-a", self.room_folder, self.states / state], check=True)

    def load(self, state: str) -> None:
        """Make the user's folder what it was then, under the same path and with all times."""
        shutil.rmtree(self.room_folder)
        subprocess.run(["cp", "-a", self.states / state, self.room_folder], check=True)

    def new_room(self) -> Room:
        lines = self.cluster.run("squeue", "-h", "-t", "all", "-o", "%i").split()
        return Room(self.cluster, self.room_folder, self.program, first_job=max(map(int, lines), default=0))

    def results(self) -> dict[str, bytes]:
        """All that is stored, by name: of scans and caches what they hold, of all else every byte.

        The start page, which lists what exists, is each command's own.
        """
        root = self.room_folder / "results"
        files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "index.html"]
        held = {path: _held(path) for path in files if path.match("scan/*.zip") or path.match("cache/*/zarr.json")}
        inside = {path.parent for path in held if path.name == "zarr.json"}
        whole = {path: path.read_bytes() for path in files if path not in held and not inside & set(path.parents)}
        return {str(path.relative_to(root)): data for path, data in {**whole, **held}.items()}


def _held(path: Path) -> bytes:
    """All values of a scan or, by its zarr.json, a cache, and what it says it was made with.

    But for the tokens that were to be multiplied at a time: a job that is tried again takes fewer. The file's checksums
    cover that number too.
    """
    try:
        if path.name == "zarr.json":
            with CacheReader(path) as cache:
                rows = cache.rows.tolist()
                values = [cache.read(layer, row).tobytes() for layer in range(cache.n_layers) for row in rows]
        else:
            reader = SummaryReader(path)
            parts = [*map(reader.layer, range(reader.n_layers)), reader.sample()]
            values = [np.asarray(value).tobytes() for part in parts for value in vars(part).values()]
    except StoreError as error:
        return str(error).encode()
    made = dict(attributes_of(str(path)) or {})
    for of_the_attempt in ("batch_tokens", "metadata_crc32c", "files_marked"):
        made.pop(of_the_attempt, None)
    return b"".join([json.dumps(made, sort_keys=True).encode(), *values])
