"""What a scan's job costs before its first token: imports, the model, compiling. In a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from gluscope.bench.shapes import Shape, make_model

_SCRIPTS = Path(__file__).resolve().parents[2]
_CHILD = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
taken, last = {}, time.perf_counter()
def done(name):
    global last
    now = time.perf_counter()
    taken[name], last = now - last, now
import torch
done("import torch")
from gluscope.model.load import load
from gluscope.model.spec import ModelSpec
spec = ModelSpec(**json.loads(sys.argv[2]))
import transformers
transformers.utils.logging.disable_progress_bar()
getattr(transformers, spec.architecture)
done("import transformers and the model's class")
from gluscope.scan.passes import Passes
from gluscope.scan.reduce import make_reducer
reducer = make_reducer(spec.n_layers, spec.d_mlp, 16, sys.argv[3])
done("import the scan and its reducer")
model = load(spec, sys.argv[3], sys.argv[4])
done("load the model, try it out")
if sys.argv[3] == "cpu":
    from gluscope.scan.kernel import compiled
    compiled(sys.argv[4])
    done("compile the reduction")
print(json.dumps(taken))
"""


def fixed_costs(shape: Shape, device: str, dtype: torch.dtype, folder: Path) -> dict[str, float]:
    """Seconds of each step, in order. The files are in memory: they have just been written."""
    model = make_model(shape, "cpu", dtype)
    hf_model: Any = model.hf_model
    transformers.utils.logging.disable_progress_bar()
    hf_model.save_pretrained(folder)
    spec = json.dumps(asdict(replace(model.spec, folder=str(folder))))
    name = str(dtype).removeprefix("torch.")
    command = [sys.executable, "-c", _CHILD, str(_SCRIPTS), spec, device, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
