"""Say which stages have code that nobody has decided on; record a decision.

python -m gluscope.stages                       what is to be decided; status 1 if anything is
python -m gluscope.stages same STAGE... | all   the results are the same
python -m gluscope.stages raise STAGE "WHY"     they are not: the stage gets the next version
"""

from __future__ import annotations

import sys
from pathlib import Path

from gluscope.core.errors import ConfigError, GluscopeError
from gluscope.stages.lock import LOCK, Lock, Undecided, record, undecided
from gluscope.stages.table import STAGES
from gluscope.stages.write import raised

FOLDER = Path(__file__).resolve().parents[3]
NEXT = """\
Are the results the same (tests/workflow/test_whole.py passes)? Then: make stages SAME="STAGE ..." (or all)
If not, the next version, with the reason in a few words for users:      make stages RAISE=STAGE WHY="..."
"""


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Returns the exit status."""
    try:
        lock = Lock.read(folder / LOCK)
        match arguments:
            case []:
                pass
            case ["same", *names] if names:
                same = [moved.stage for moved in undecided(lock, folder)] if names == ["all"] else names
                lock = record(lock, folder, [known(name) for name in same])
                lock.save(folder / LOCK)
            case ["raise", name, why]:
                version = raised(folder, known(name), why)
                print(f"{name} has version {version}: {why}")
                lock = record(lock, folder, [], {name: version})
                lock.save(folder / LOCK)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except (GluscopeError, ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    left = undecided(lock, folder)
    print("".join(map(told, left)) + NEXT if left else "Every stage is decided.", flush=True)
    return 1 if left else 0


def known(name: str) -> str:
    """`name`, if a stage has it."""
    if name not in STAGES:
        raise ConfigError("make stages", "the name of a stage", repr(name), f"choose one of {', '.join(STAGES)}")
    return name


def told(moved: Undecided) -> str:
    """One line on a stage whose code moved."""
    files = ", ".join(moved.files[:4]) + (f" and {len(moved.files) - 4} more" if len(moved.files) > 4 else "")
    return f"{moved.stage} (version {STAGES[moved.stage].version}): {files or 'files that went'}\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
