"""Kinds of faults. Each takes the room, with the command running unless it starts from damage, and a seeded random."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gluscope.core.errors import StoreError
from gluscope.core.neuron import NeuronId
from gluscope.model.spec import ModelSpec
from gluscope.recompute.stage import Origin, recompute
from slurm.fault_site import PAGES, RUN, SHARDS, Room, read_wholly

_LIFE = 9.0  # seconds that a scan job lives here


@dataclass(frozen=True)
class Kind:
    """state: what the round starts from. before: done before the command. during: done while it runs.

    arguments: added to every command of the round. spared: shards that must not run. most: jobs more than an
    undisturbed run. ends: whether the fault may end the command, so that it is typed once more. made_again: how many
    shards may run, where the fault is not in a scan.
    """

    during: Callable[[Room, random.Random], None] | None = None
    before: Callable[[Room, random.Random], None] | None = None
    state: str = "last"
    arguments: tuple[str, ...] = ()
    spared: tuple[str, ...] = ("0000", "0001", "0002")
    most: int = 1
    ends: bool = False
    made_again: tuple[int, ...] | None = None


def kill(room: Room, rng: random.Random) -> None:
    job, _ = room.running()
    time.sleep(rng.uniform(0, _LIFE))
    room.kill(job, rng.random() < 0.5)


def kill_writing(room: Room, rng: random.Random) -> None:
    part = rng.choice(["scan", "cache"])
    room.running()
    found: list[Path] = []

    def writing() -> bool:
        found[:] = (room.folder / RUN / part).glob("*.writing-*")
        return bool(found)

    if room.wait_until(writing, 60, 0.001):
        if part == "cache":
            time.sleep(rng.uniform(0, 3))
        pid = int(found[0].name.rsplit("-", 2)[1])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def scancel(room: Room, rng: random.Random) -> None:
    job, _ = room.running()
    time.sleep(rng.uniform(0, _LIFE))
    room.cluster.run("scancel", str(job), check=False)


def time_limit(room: Room, rng: random.Random) -> None:
    job, _ = room.running()
    time.sleep(rng.uniform(0, 2))
    for process in room.processes(job):
        process.suspend()
    room.cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=0:01", check=False)


def node_down(room: Room, rng: random.Random) -> None:
    _, node = room.running()
    time.sleep(rng.uniform(0, _LIFE))
    room.cluster.run("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    time.sleep(2)
    room.cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)


def node_dies(room: Room, rng: random.Random) -> None:
    _, node = room.running()
    time.sleep(rng.uniform(0, 3))
    lost = [i for i, _, _, where in room.jobs(False) if where == node]
    room.cluster.stop(f"slurmd-{node}", signal.SIGKILL)
    for job in lost:
        room.kill(job)
    room.cluster.wait_for(lambda: room.cluster.states().get(node, "").startswith("down"), 300, f"{node} to be down")
    room.cluster.start_node(node)


def controller(room: Room, rng: random.Random) -> None:
    room.running()
    time.sleep(rng.uniform(0, _LIFE))
    room.cluster.stop("slurmctld", rng.choice([signal.SIGTERM, signal.SIGKILL]))
    time.sleep(rng.uniform(0, 6))
    room.cluster.start_controller()
    # A controller that was killed has forgotten what it did last, and drains nodes whose jobs it does not know. An
    # administrator puts them back.
    end = time.monotonic() + 15
    while time.monotonic() < end:
        for node, state in room.cluster.states().items():
            if state.startswith("drain"):
                room.log.append(f"{node} put back")
                room.cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
        time.sleep(0.5)


def on_snakemake(how: signal.Signals) -> Callable[[Room, random.Random], None]:
    def send(room: Room, rng: random.Random) -> None:
        room.running()
        time.sleep(rng.uniform(0, _LIFE))
        room.signal(how)
        assert room.wait() != 0, "the signal did not end the command"

    return send


def preempt(room: Room, rng: random.Random) -> None:
    _, node = room.running()
    time.sleep(rng.uniform(0, 4))
    room.cluster.run(
        "sbatch", "-p", "urgent", "-w", node, "--exclusive", "-t", "1", "-o", "/dev/null", "--wrap", "sleep 3"
    )


def requeueing(room: Room, rng: random.Random) -> None:
    """The profile as docs/faults.md says for partitions whose jobs may be preempted."""
    profile = room.folder / "profiles/slurm/config.yaml"
    text = profile.read_text(encoding="utf-8")
    assert "\nslurm-no-requeue: true" in text
    profile.write_text(text.replace("slurm-no-requeue: true", "slurm-requeue: true"), encoding="utf-8")


def _ballast(room: Room) -> Path:
    return room.folder / "results/ballast"


def small_disk(room: Room, rng: random.Random) -> None:
    results = room.folder / "results"
    aside = room.folder / "results-before"
    results.rename(aside)
    results.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", results], check=True)
    subprocess.run(["cp", "-a", f"{aside}/.", results], check=True)
    stat = os.statvfs(results)
    left = rng.randrange(4096, 300_000)
    _ballast(room).write_bytes(bytes(stat.f_bavail * stat.f_frsize - left))


def make_room(room: Room, rng: random.Random) -> None:
    assert room.wait() != 0, "the disk was not full"
    stages = [path for path in (room.folder / "logs").rglob("*.log") if "slurm" not in path.parts]
    logs = [path.read_text(errors="replace") for path in stages]
    lines = [line for log in logs for line in log.splitlines() if line.startswith("error:")]
    assert any("space" in line for line in lines), lines
    _ballast(room).unlink()


def damage(part: str) -> Callable[[Room, random.Random], None]:
    """Cut a stored file short or turn over a bit of it where the next job reads it; its time stays."""

    def hurt(room: Room, rng: random.Random) -> None:
        root = room.folder / RUN
        shard = rng.randrange(4)
        store = {
            "scan": root / f"scan/{shard:04d}.zarr.zip",
            "cache": root / f"cache/{shard:04d}.zarr",
            "summary": root / "summary.zarr",
        }[part]
        files = [store] if part == "scan" else sorted(path for path in store.rglob("*") if path.is_file())
        for _ in range(1000):
            file = rng.choice(files)
            whole, stat = file.read_bytes(), file.stat()
            changed = bytearray(whole)
            if rng.random() < 0.3:
                changed = changed[: rng.randrange(len(whole))]
            else:
                changed[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
            file.write_bytes(changed)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            try:
                if part == "scan":  # the merge reads all of it
                    read_wholly(store)
                else:
                    as_pages_do(room)
            except StoreError:
                room.log.append(f"damaged: {file.relative_to(root)}, {len(whole)} -> {len(changed)} bytes")
                return
            file.write_bytes(whole)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        raise AssertionError("no damage that is refused")

    return hurt


def as_pages_do(room: Room) -> None:
    """Read of summary and caches what the pages' jobs read."""
    root = room.folder / RUN
    spec = ModelSpec.read(root / "model.json")
    spec = replace(spec, folder=str(room.folder / spec.folder))
    origin = Origin("cache", [root / f"cache/{shard}.zarr" for shard in SHARDS])
    for page in PAGES:
        neuron = NeuronId.parse(page.removeprefix(f"{RUN}/site/").removesuffix(".html"))
        with tempfile.TemporaryDirectory() as folder:
            tokens = room.folder / "results/datasets/mine-texts"
            outputs = {neuron.neuron: Path(folder) / "values.npz"}
            recompute(spec, root / "summary.zarr", tokens, neuron.layer, outputs, origin)


def forgotten(room: Room, rng: random.Random) -> None:
    """Shard 0000 was made with another k, 0001 with another dtype; at random Snakemake's record of that is gone."""
    if rng.random() < 0.5:
        for path in (room.folder / ".snakemake/metadata").rglob("*"):
            if path.is_file() and "/scan/" in _name(path.name):
                path.unlink()


def other_model(room: Room, rng: random.Random) -> None:
    """Shards 0000 and 0001, and the weights, are of another model in the same folder; this one may have older files."""
    older = rng.random() < 0.5
    shutil.rmtree(room.folder / "my-model")
    shutil.copytree(room.folder.parent / "model", room.folder / "my-model", copy_function=shutil.copy2)
    if not older:
        for path in (room.folder / "my-model").iterdir():
            path.touch()
    room.log.append("files of the new model older than the old results" if older else "newer files")


WITHOUT = Path(__file__).with_name("without")


def without(room: Room, precaution: str = "") -> None:
    """Have the command and its jobs read `without/sitecustomize.py`, without one of the program's precautions."""
    room.environment |= {"PYTHONPATH": str(WITHOUT), "GLUSCOPE_TEST_WITHOUT": precaution}


def power_to_lose(room: Room, rng: random.Random) -> None:
    """The first scan loses its node's power when a result has just got its final name."""
    without(room, room.environment.get("GLUSCOPE_TEST_WITHOUT", ""))
    once = room.folder / "power"
    once.touch()
    room.environment["GLUSCOPE_TEST_POWER"] = str(once)


def other_k_and_late(room: Room, rng: random.Random) -> None:
    """The command begins with another k, and its scans end late."""
    without(room, room.environment.get("GLUSCOPE_TEST_WITHOUT", ""))
    room.write_config(k=3)
    room.environment["GLUSCOPE_TEST_HOLD"] = str(room.folder / "go-on")


def killed_and_changed(room: Room, rng: random.Random) -> None:
    """Snakemake is killed and the config corrected while scans run that were sent with the old one."""
    room.running()
    time.sleep(rng.uniform(3, 6))
    room.signal(signal.SIGKILL)
    room.wait()
    room.write_config()
    room.environment.pop("GLUSCOPE_TEST_HOLD")
    threading.Thread(target=_go_on, args=(room,), daemon=True).start()


def _go_on(room: Room) -> None:
    """Let the old scans end when the next command is done, or, where it waits for them, when it says so.

    They come too late then for its merge, which would refuse them by name. They ran since before it, and there are GPUs
    for its own scans beside them.
    """

    def waits_or_is_done() -> bool:
        said = room.folder / "command-2.log"
        return (room.folder / PAGES[0]).exists() or (
            said.exists() and "Waiting for" in said.read_text(errors="replace")
        )

    room.wait_until(waits_or_is_done, 560, 0.2)
    (room.folder / "go-on").touch()


def kill_in_place(room: Room, rng: random.Random) -> None:
    """Without the rename: kill a scan as soon as its file is there."""
    job, _ = room.running()
    before = set((room.folder / RUN / "scan").glob("*.zip"))
    if room.wait_until(lambda: set((room.folder / RUN / "scan").glob("*.zip")) != before, 60, 0.001):
        room.kill(job)


def _name(record: str) -> str:
    try:
        return urlsafe_b64decode(record).decode()
    except ValueError:
        return ""


_TWO = ("0000", "0001")

KINDS: dict[str, Kind] = {
    "job killed (SIGKILL)": Kind(kill),
    "job killed while writing a store": Kind(kill_writing),
    "scancel": Kind(scancel),
    "time limit": Kind(time_limit),
    "out of memory": Kind(arguments=("--set-resources", "scan:mem_mb=160*attempt**4"), most=4),
    "node marked down": Kind(node_down, state="half", spared=_TWO, most=3),
    "node dies (slurmd SIGKILL)": Kind(node_dies, state="half", spared=_TWO, most=3),
    "slurmctld restarted": Kind(controller, state="half", spared=_TWO, most=2),
    "Snakemake SIGKILL": Kind(on_snakemake(signal.SIGKILL), state="half", spared=_TWO, most=0, ends=True),
    "Snakemake SIGHUP (terminal closed)": Kind(
        on_snakemake(signal.SIGHUP), state="half", spared=_TWO, most=2, ends=True
    ),
    "Snakemake SIGINT (Ctrl-C)": Kind(on_snakemake(signal.SIGINT), state="half", spared=_TWO, most=2, ends=True),
    "disk full": Kind(make_room, small_disk, arguments=("--retries", "0"), most=2, ends=True),
    "scan output damaged": Kind(before=damage("scan"), state="scanned", spared=(), most=4, ends=True, made_again=(1,)),
    "cache damaged": Kind(before=damage("cache"), state="merged", spared=(), most=8, ends=True, made_again=(1,)),
    "summary damaged": Kind(
        before=damage("summary"), state="merged", spared=("0000", "0001", "0002", "0003"), most=7, ends=True
    ),
    "settings changed (k, dtype)": Kind(before=forgotten, state="other", spared=(), most=6, ends=True),
    "model revision changed": Kind(before=other_model, state="other-model", spared=(), most=4, ends=True),
    "power lost as a file got its name": Kind(before=power_to_lose, state="half", spared=_TWO, most=1),
    "Snakemake SIGKILL, then another k": Kind(
        killed_and_changed, other_k_and_late, state="half", spared=(), most=8, ends=True
    ),
    "preempted": Kind(
        preempt,
        requeueing,
        arguments=("--set-resources", "scan:slurm_partition=low"),
        most=0,
    ),
}

# Without a precaution the rounds of these kinds have to go wrong: `make faults WITHOUT=rename`.
CONTROLS: dict[str, dict[str, Kind]] = {
    "rename": {"job killed while its file is there": Kind(kill_in_place, state="half", spared=_TWO)},
    "fsync": {"power lost as a file got its name": KINDS["power lost as a file got its name"]},
    "lock": {
        "Snakemake SIGKILL, then another k": replace(
            KINDS["Snakemake SIGKILL, then another k"], arguments=("--nolock",)
        )
    },
}
