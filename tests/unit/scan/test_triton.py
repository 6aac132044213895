"""The GPU reduction as far as it goes without a GPU: in Triton's interpreter, through its compiler, cuts of a batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gluscope.core.cases import CASES, LISTS, QUANTITIES
from gluscope.scan import triton_check
from gluscope.scan.reduce import TorchReducer, make_reducer
from gluscope.scan.segments import MOST_LAUNCHED, launches, whole_waves
from helpers.checkout import PATIENCE, REPO
from hypothesis import given, settings
from hypothesis import strategies as st

triton = pytest.importorskip("triton", reason="Triton exists for Linux only; envs/test.txt has it there")


def test_in_the_interpreter() -> None:
    """A process of its own: whether kernels are interpreted is settled when triton is imported."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "0", "--rootdir", str(REPO)]
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    cases = Path(__file__).with_name("triton_cases.py")
    done = subprocess.run(
        [*command, str(cases)], env=environment, cwd=REPO, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.parametrize(("capability", "dtype"), [(80, "bf16"), (90, "fp32")])
def test_compiles_for_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capability: int, dtype: str) -> None:
    """To machine code, for an A100 and an H100. Addresses with float16 and the like are of no other kind."""
    from gluscope.scan import triton_kernel as kernel
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kinds = dict.fromkeys(("gate", "in_", "act", "post"), f"*{dtype}") | {
        "segments": "*i64", "splits": "*i64", "bars": "*fp32", "found": "*fp32", "hits": "*i32", "partial": "*fp32",
        "neurons": "i32", "n_splits": "i32", "signs": "*i64", "keys": "*i64", "positions": "*i32", "k": "i32",
    }  # fmt: skip
    constants = dict.fromkeys("GUAP", 11008) | {
        "TILE": kernel.TILE, "BLOCK": kernel.BLOCK, "SEGMENT": kernel.SEGMENT_MARKED, "SCAN": kernel.SCAN, "K": 16,
        "LANES": kernel.LANES, "CHUNK": kernel.CHUNK, "MARKED": dtype != "fp32",
    }  # fmt: skip
    for function, options in (
        (kernel.reduce_splits, {"num_warps": kernel.WARPS, "maxnreg": 128}),
        (kernel.merge_hits, {"num_warps": 1}),
    ):
        names = function.arg_names
        signature = {name: kinds.get(name, "constexpr") for name in names}
        given_ = {(names.index(name),): value for name, value in constants.items() if name in names}
        compiled = triton.compile(
            ASTSource(function, signature, given_), target=GPUTarget("cuda", capability, 32), options=options
        )
        assert compiled.asm["cubin"]
        assert ".ftz" not in compiled.asm["ptx"]  # the smallest numbers stay what they are


def test_the_order_of_lists_and_sums_is_the_one_written_out() -> None:
    """`_step` names them one by one."""
    lists = [f"{case.value}:{quantity.value}" for case, quantity in LISTS]
    assert lists == [
        "gate+_in+:gate", "gate+_in+:in", "gate+_in+:post", "gate+_in-:gate", "gate+_in-:in", "gate+_in-:post",
        "gate-_in+:gate", "gate-_in+:in", "gate-_in+:act", "gate-_in+:post",
        "gate-_in-:gate", "gate-_in-:in", "gate-_in-:act", "gate-_in-:post",
    ]  # fmt: skip
    assert [len(CASES), *(quantity.value for quantity in QUANTITIES)] == [4, "gate", "in", "act", "post"]


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 3000), min_size=1, max_size=30),
    segment=st.sampled_from([4, 128]),
    most=st.integers(1, 31),
    n_splits=st.integers(1, 40),
)
def test_every_token_is_in_one_segment(lengths: list[int], segment: int, most: int, n_splits: int) -> None:
    own = np.array(lengths)
    begins = np.cumsum(own) - own
    parts = list(launches(np.arange(len(own)) * 3, begins, own, segment, most, n_splits))
    table = np.concatenate([np.zeros((0, 4), np.int64), *(part.segments for part in parts)])
    tokens = [np.arange(begin, begin + size) for begin, size, *_ in table]
    np.testing.assert_array_equal(np.concatenate([np.zeros(0, int), *tokens]), np.arange(own.sum()))
    text = table[:, 3] // 3
    np.testing.assert_array_equal(begins[text] + table[:, 2], table[:, 0])
    assert (table[:, 0] + table[:, 1] <= begins[text] + own[text]).all()
    for part in parts:
        assert len(part.segments) <= MOST_LAUNCHED
        sizes = np.diff(part.splits)
        assert part.splits[0] == 0
        assert part.splits[-1] == len(part.segments)
        assert sizes.min() >= 1
        assert sizes.max() <= most
        for low, high in zip(part.splits[:-1], part.splits[1:], strict=True):
            assert part.segments[low:high, 1].sum() <= max(64, min(4096, -(-own.sum() // n_splits)))
    assert table[:, 1].max(initial=0) <= segment
    splits = sum(len(part.splits) - 1 for part in parts)
    assert splits <= n_splits + len(parts) + own.sum() // 4096 + len(table) // most


@pytest.mark.parametrize(
    ("neurons", "slots", "splits"),
    [(11008, 528, 6), (14336, 528, 9), (11008, 432, 5), (64, 528, 528), (10**6, 432, 1)],
)
def test_programs_fill_a_device(neurons: int, slots: int, splits: int) -> None:
    """OLMo-7B and Llama-3.1-8B on an H100, OLMo-7B on an A100, and sizes at both ends."""
    blocks = -(-neurons // 128)
    assert whole_waves(blocks, slots) == splits


def test_without_a_sound_triton_torch_takes_over_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(triton_check, "triton_problem", lambda *_: "another `count` than the reference")
    assert isinstance(make_reducer(1, 3, 2, "cuda"), TorchReducer)
    blank, line, end = capsys.readouterr().err.splitlines()
    assert blank == end == ""  # it stands out among what libraries say
    assert line.startswith(
        "WARNING: reduction on cuda: expected a fused kernel, found another `count` than the reference; "
    )
    assert "Next: " in line


def test_the_check_is_of_the_runs_own_dtype_and_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(triton_check, "triton_problem", lambda *how: asked.append(how))
    made = make_reducer(1, 3, 2, "cuda", dtype=torch.float16, fused=True)
    assert made.kind == "triton"
    assert asked == [(3, 2, "cuda", torch.float16, True)]


def test_a_device_that_is_not_there_is_a_problem_and_no_crash() -> None:
    found = triton_check.triton_problem(5, 2, "cuda:99", lengths=(1, 2))
    assert found
    assert "\n" not in found
