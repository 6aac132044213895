"""Runs of the workflow on a real SLURM, each with one fault, and what came of them: `make faults ROUNDS=100`."""

from __future__ import annotations

import argparse
import multiprocessing
import queue
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.checkout import REPO
from helpers.cluster import Cluster
from slurm.conftest import texts
from slurm.fault_kinds import CONTROLS, KINDS, Kind, without
from slurm.fault_site import RUN, SHARDS, Room, Site, Watcher

TABLE = REPO / "docs/faults.md"
BEGIN, END = "<!-- made by make faults -->", "<!-- end -->"


@dataclass
class Outcome:
    """What a round came to. wrong: all that must not be; an empty list is a good round."""

    kind: str
    seed: int
    commands: int = 0
    redone: int = 0
    half: int = 0
    equal: bool = False
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


def play(site: Site, name: str, seed: int, lacking: str = "") -> Outcome:
    """One round: a prepared state, a fault, the same command until it is done (two more at most), a comparison.

    lacking: the precaution that is taken away, one of CONTROLS.
    """
    kinds = CONTROLS[lacking] if lacking else KINDS
    kind, rng, outcome, start = kinds[name], random.Random(f"{name} {seed}"), Outcome(name, seed), time.monotonic()
    site.load(kind.state)
    site.write_config()
    room = site.new_room()
    room.arguments = list(kind.arguments)
    if lacking:
        without(room, lacking)
    watcher = None
    try:
        if kind.before:
            kind.before(room, rng)
        watcher = Watcher(room.folder)
        if kind.state in ("half", "last"):
            watcher.start()
        _commands(room, kind, rng)
        room.settle()
        watcher.look()
        outcome.equal = site.results() == site.reference
        _judge(room, kind, outcome)
        if not outcome.equal:
            outcome.wrong.append(f"differs from the undisturbed run: {_differing(site)}")
        if lacking:
            _with_it_back(room, site)
    except Exception as error:
        outcome.wrong.append(f"{type(error).__name__}: {error}")
        traceback.print_exc()
    finally:
        if watcher is not None and watcher.is_alive():
            outcome.half = len(watcher.stop())
            outcome.wrong += watcher.half
        if subprocess.run(["mountpoint", "-q", room.folder / "results"], check=False).returncode == 0:
            subprocess.run(["umount", "-l", room.folder / "results"], check=False)
    outcome.log = room.log
    outcome.commands, outcome.seconds = room.commands, time.monotonic() - start
    return outcome


def _commands(room: Room, kind: Kind, rng: random.Random) -> None:
    room.start()
    if kind.during:
        kind.during(room, rng)
    for _ in range(4):
        if room.wait() == 0:
            return
        if room.commands == 4:
            break
        room.start()
    raise RuntimeError(f"not done after {room.commands} commands: {room.said()[-1500:]}")


def _differing(site: Site) -> str:
    """The stores and pages in which files are not as they should be; how many files."""
    now = site.results()
    files = [name for name in sorted({*now, *site.reference}) if now.get(name) != site.reference.get(name)]
    stores = dict.fromkeys(re.sub(r"(\.zarr)/.*", r"\1", name) for name in files)
    return f"{len(files)} files, of {', '.join(stores)}"


def _with_it_back(room: Room, site: Site) -> None:
    """The same command once more, with the precaution: note what it finds and whether all is right then."""
    room.environment, room.arguments = {}, []
    room.start()
    status = room.wait()
    room.settle()
    named = [line for line in room.said().splitlines() if line.endswith(("it is made again.", "it is made anew."))]
    right = "as it should be" if site.results() == site.reference else "still wrong"
    room.log.append(f"with it back: exit {status}, {len(named)} named ({named[0] if named else 'none'}), all {right}")


def _judge(room: Room, kind: Kind, outcome: Outcome) -> None:
    """What was redone, and what stands about."""
    redone = room.redone()
    usual = {"half": 3, "last": 2, "other": 5, "other-model": 6, "scanned": 1, "merged": 0}[kind.state]
    outcome.redone = sum(redone.values()) - usual
    if outcome.redone > kind.most:
        outcome.wrong.append(
            f"{outcome.redone} jobs more than an undisturbed run, at most {kind.most} expected: {redone}"
        )
    for shard in kind.spared:
        if redone[f"scan tiny_{shard}"]:
            outcome.wrong.append(f"shard {shard} was done and was made again")
    if kind.made_again is not None and len([s for s in SHARDS if redone[f"scan tiny_{s}"]]) not in kind.made_again:
        outcome.wrong.append(f"shards made again, of which {kind.made_again} were expected: {redone}")
    left = [str(path) for path in (room.folder / RUN).rglob("*.writing-*")]
    if left:
        outcome.wrong.append(f"left behind: {left}")
    if room.commands > (3 if kind.ends else 2) or (room.commands > 1 and not kind.ends):
        outcome.wrong.append(f"{room.commands} commands")


def table(outcomes: list[Outcome]) -> str:
    """The outcomes by kind, in Markdown."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        groups[outcome.kind].append(outcome)
    lines = [
        "| fault | rounds | commands until done | additional jobs | half-written files | summary and pages equal |",
        "|---|---|---|---|---|---|",
    ]
    for kind in KINDS:
        if group := groups.get(kind):
            few = {name: sorted(getattr(o, name) for o in group) for name in ("commands", "redone")}
            span = {k: str(v[0]) if v[0] == v[-1] else f"{v[0]}-{v[-1]}" for k, v in few.items()}
            equal = sum(o.equal for o in group)
            half = sum(o.half for o in group)
            row = [kind, len(group), span["commands"], span["redone"], half, f"{equal} of {len(group)}"]
            lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


def rounds_of(count: int, seed: int, only: list[str] | None, lacking: str = "") -> list[tuple[str, int]]:
    """Kinds in turn, each turn in another order."""
    rng, names, found = (
        random.Random(seed),
        [name for name in (CONTROLS[lacking] if lacking else KINDS) if not only or any(part in name for part in only)],
        [],
    )
    while len(found) < count:
        found += [(name, seed * 10_000 + len(found) + i) for i, name in enumerate(rng.sample(names, len(names)))]
    return found[:count]


def runner(folder: Path, rounds: Any, outcomes: Any, until: float, lacking: str) -> None:
    """Play rounds on a cluster of its own: kind and seed of each come from a queue, an Outcome goes out, at last None.

    until: of time.monotonic(), after which no round is started.
    """
    # Started in the background this program ignores them, and what it starts would as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, lambda *_: None)
    try:
        with Cluster(folder / "slurm", cpus=32, memory_mb=400_000, gpus=4) as cluster:
            site, start = Site(folder, cluster), time.monotonic()
            site.prepare(texts)
            up = cluster.seconds_to_start
            print(f"SLURM up in {up:.2f} s, reference run and states {time.monotonic() - start:.0f} s", flush=True)
            while time.monotonic() < until:
                kind, seed = rounds.get_nowait()
                outcome = play(site, kind, seed, lacking)
                if outcome.wrong:
                    kept = folder / f"failed-{seed}"
                    subprocess.run(["cp", "-a", site.room_folder, kept], check=False)
                outcomes.put(outcome)
    except queue.Empty:
        pass
    finally:
        outcomes.put(None)


def played(
    folder: Path, rounds: list[tuple[str, int]], runners: int, seconds: float, lacking: str = ""
) -> Iterator[Outcome]:
    """What the rounds came to, as they end; `runners` play at a time."""
    todo, done = multiprocessing.Queue(), multiprocessing.Queue()
    for each in rounds:
        todo.put(each)
    arguments = [(folder / f"runner-{i}", todo, done, time.monotonic() + seconds, lacking) for i in range(runners)]
    processes = [multiprocessing.Process(target=runner, args=given) for given in arguments]
    for process in processes:
        process.start()
    left = runners
    while left:
        outcome = done.get()
        if outcome is None:
            left -= 1
        else:
            yield outcome
    for process in processes:
        process.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=len(KINDS))
    parser.add_argument("--runners", type=int, default=1, help="that play at a time, each on its own cluster")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", help="parts of kinds' names")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no round after this long")
    parser.add_argument("--write", action="store_true", help="put the table into docs/faults.md")
    parser.add_argument("--folder", type=Path, help="where the sites are built and left")
    parser.add_argument("--without", default="", choices=["", *CONTROLS], help="negative control: rounds must go wrong")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="faults-"))
    outcomes: list[Outcome] = []
    rounds = rounds_of(given.rounds, given.seed, given.only, given.without)
    for outcome in played(folder, rounds, given.runners, given.seconds, given.without):
        outcomes.append(outcome)
        said = "ok" if not outcome.wrong else " | ".join(outcome.wrong)
        more = f"{outcome.commands} commands, {outcome.redone} more jobs, {outcome.seconds:.0f} s"
        more += "".join(f", {text}" for text in outcome.log)
        print(f"{len(outcomes):3} {outcome.kind} (seed {outcome.seed}): {more}: {said}", flush=True)
        if given.write and not given.without:
            write_table(outcomes)
    if given.without:
        return control(outcomes, given.without)
    print(table(outcomes))
    bad = [outcome for outcome in outcomes if outcome.wrong]
    print(f"{len(outcomes)} rounds, {len(bad)} with something wrong")
    if not bad and given.folder is None:
        shutil.rmtree(folder)
    return bool(bad)


def control(outcomes: list[Outcome], lacking: str) -> int:
    """Say whether a negative control went wrong as it must; the exit status."""
    hit = [outcome for outcome in outcomes if outcome.half or not outcome.equal]
    print(f"without {lacking}: {len(hit)} of {len(outcomes)} rounds with half-written or differing files")
    return 0 if hit else 1


def write_table(outcomes: list[Outcome]) -> None:
    text = TABLE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    bad = sum(bool(outcome.wrong) for outcome in outcomes)
    said = f"{len(outcomes)} rounds, {bad} in which something was not as this page says.\n\n{table(outcomes)}"
    TABLE.write_text(f"{before}{BEGIN}\n{said}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
