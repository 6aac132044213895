"""Takes one of the program's precautions away, for the negative control of `make faults`. Only tests put it on a path.

GLUSCOPE_TEST_WITHOUT: `rename`: files are written under their final names. `fsync`: nothing is synced. `lock`: locks of
Snakemake, jobs of an earlier start and later jobs of the same file are not looked at.
GLUSCOPE_TEST_HOLD: a file for which each scan waits, ten minutes at most, before it syncs anything.
GLUSCOPE_TEST_POWER: a file that exists. The first scan that begins takes it away, and loses its node's power as soon as
a result has got its final name: what was not synced is lost, all else is on the disk.
"""

import importlib.abc
import importlib.util
import os
import shutil
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

WITHOUT = os.environ.get("GLUSCOPE_TEST_WITHOUT", "")
POWER = os.environ.get("GLUSCOPE_TEST_POWER", "")
HOLD = os.environ.get("GLUSCOPE_TEST_HOLD", "")


def in_place(atomic):
    """Results are written where they are read."""

    @contextmanager
    def new_file(target):
        target = Path(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        yield target

    @contextmanager
    def new_folder(target, keep=None):
        target = Path(target)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        yield target

    atomic.new_file, atomic.new_folder = new_file, new_folder


def one_writer_or_two(module):
    """Of what keeps two writers apart nothing is left."""
    if module.__name__.endswith("claims"):
        module._read = lambda file: next(iter(_own), None)
        write = module._write
        module._write = lambda file, claim: (_own.append(claim), write(file, claim))
    else:
        module.make_good = lambda *rest, **others: None


_own = []


CHANGES = {
    "rename": {"gluscope.store.atomic": in_place},
    "lock": dict.fromkeys(("gluscope.workflow.claims", "gluscope.workflow.restart"), one_writer_or_two),
}.get(WITHOUT, {})


class Changed(importlib.abc.MetaPathFinder):
    """Changes a module as soon as it is there."""

    def find_spec(self, name, path, target=None):
        if name not in CHANGES:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), CHANGES[name](module))[0]
        return spec


def power_lost():
    """Watch what is synced; after the first final name lose the rest and die."""
    synced, fsync, rename = set(), os.fsync, os.rename

    def watched(handle):
        fsync(handle)
        stat = os.fstat(handle)
        synced.add((stat.st_dev, stat.st_ino))

    def named(source, target, replace):
        replace(source, target)
        if ".writing-" in str(source) and ".writing-" not in str(target):
            target = Path(target)
            for file in [target] if target.is_file() else [path for path in target.rglob("*") if path.is_file()]:
                stat = file.stat()
                if (stat.st_dev, stat.st_ino) not in synced:
                    os.truncate(file, 0)
            os.kill(os.getpid(), signal.SIGKILL)

    replace = os.replace
    os.fsync = watched if WITHOUT != "fsync" else lambda handle: None
    os.replace = lambda source, target, **others: named(source, target, replace)
    os.rename = lambda source, target, **others: named(source, target, rename)


def held():
    """Be late with the first file."""
    fsync, done = os.fsync, []

    def late(handle):
        if not done:
            done.append(True)
            end = time.monotonic() + 600
            while not os.path.exists(HOLD) and time.monotonic() < end:
                time.sleep(0.2)
        fsync(handle)

    os.fsync = late


scans = ".scan.py" in " ".join(getattr(sys, "orig_argv", []))
if CHANGES:
    sys.meta_path.insert(0, Changed())
if HOLD and scans:
    held()
if POWER and scans:
    try:
        os.unlink(POWER)
        power_lost()
    except FileNotFoundError:
        pass
elif WITHOUT == "fsync":
    os.fsync = lambda handle: None
