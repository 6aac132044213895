"""Measure what things cost and write it into docs/performance.md: `make bench`."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO / "scripts"), str(REPO / "tests")]
os.environ.update(dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "1"))


def main(arguments: list[str]) -> None:
    given = parser().parse_args(arguments)

    import torch
    from benchmark.report import markdown, put
    from benchmark.run import SECTIONS, plan_for, run

    only = given.only.split(",") if given.only else []
    if unknown := sorted(set(only) - set(SECTIONS)):
        sys.exit(f"error: expected --only with some of {', '.join(SECTIONS)}, found {unknown[0]}. Next: name those.")
    if given.device == "cuda" and not torch.cuda.is_available():
        found = "expected a GPU that PyTorch sees, found none"
        sys.exit(f"error: --device cuda: {found}. Next: run it where there is one (srun), or leave --device out.")
    dtype = getattr(torch, given.dtype or ("float32" if given.device == "cpu" else "bfloat16"))
    out = given.out or (None if given.quick or only else REPO / "docs/performance.md")
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that its files go away
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="gluscope-bench-") as folder:
        room = 0.8 * shutil.disk_usage(folder).free
        plan = plan_for(given.device, given.quick, only, min(given.most_gb * 1e9, room))
        found = run(plan, given.device, dtype, Path(folder), say)
    text = markdown(found)
    print(text)
    if found.failed:
        failed = "; ".join(f"{name}: {why}" for name, why in found.failed.items())
        sys.exit(
            f"error: expected every part to run, found {failed}. Next: see the traceback above; nothing is written."
        )
    if out is not None:
        out.write_text(put(out.read_text(encoding="utf-8"), text, given.device), encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda"), help="each has its own section of the document"
    )
    made.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="float32 on a CPU, else bfloat16")
    made.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, the times mean nothing")
    made.add_argument("--only", help="some of merge, pages, writing, forward, with commas; prints them")
    made.add_argument("--most-gb", type=float, default=20, help="most that a cache may take on the disk (20)")
    made.add_argument(
        "--out", type=Path, help="the document to fill in (docs/performance.md); with --quick, --only: none"
    )
    made.add_argument("--folder", type=Path, help="a folder on a local disk for some gigabytes (the system's own)")
    return made


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
