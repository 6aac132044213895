"""Measure what things cost and write it into docs/performance.md: `make bench`."""

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
os.environ.update(dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"), "1"))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), help="float32 on a CPU, else bfloat16")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, the times mean nothing")
    parser.add_argument("--out", type=Path, help="the document to fill in (docs/performance.md); with --quick: none")
    parser.add_argument("--paper", action="store_true", help="print the estimates for A100 and H100, measure nothing")
    parser.add_argument("--folder", type=Path, help="a folder on a local disk for some gigabytes (the system's own)")
    given = parser.parse_args(arguments)

    import torch
    from gluscope.bench.report import markdown, picture, put
    from gluscope.bench.run import plan_for, run
    from gluscope.bench.tables import groups, on_paper_table, tables

    if given.paper:
        print(markdown([on_paper_table()], [], ""))
        return
    dtype = getattr(torch, given.dtype or ("float32" if given.device == "cpu" else "bfloat16"))
    out = given.out or (None if given.quick else HERE.parent / "docs/performance.md")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that its files go away
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="gluscope-bench-") as folder:
        found = run(plan_for(given.device, given.quick), given.device, dtype, Path(folder), say)
    text = markdown(tables(found), found.conditions, f"{out.stem if out else 'performance'}.svg")
    print(text)
    if out is not None:
        out.write_text(put(out.read_text(encoding="utf-8"), text), encoding="utf-8")
        out.with_suffix(".svg").write_text(picture(groups(found)), encoding="utf-8")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
