"""Load a described model: the plain Hugging Face class, so that it runs at its own speed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from gluscope.core.activation import act as numpy_act
from gluscope.core.errors import ModelError, one_line
from gluscope.model.capture import GatedModel, Mixed
from gluscope.model.config import read_config
from gluscope.model.files import FETCH_AGAIN, read_json, weight_files
from gluscope.model.loaded import check_reads, check_weights
from gluscope.model.spec import ModelSpec

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_GIB = 2**30
_HEADROOM = 1.1  # a forward pass needs memory beside the weights


def load_model(spec: ModelSpec, device: str = "auto", dtype: str = "float32", tf32: bool = False) -> GatedModel:
    """Load the model that `describe` described, ready for forward passes.

    device: "auto" (a GPU if there is one), "cpu" or "cuda". dtype: "float32", "bfloat16", "float16", or "auto":
    the checkpoint's own. tf32: whether float32 products on a GPU may be of TF32, for the whole process: torch's own
    choice is yes for convolutions and no for matrices. Attention is the class's default: sdpa where it allows it.
    A model that does not fit on one GPU is spread over all that the job has, with whole blocks on each.
    Raises ModelError for a device that is not there, a model too large for it, files that do not fit the class,
    weights other than those that `WeightRows` reads, an MLP that reads something else than the spec's norm leaves, and
    one that does not compute out(act(gate(x)) * in(x)).
    """
    place = _device(spec, device)
    number_type = DTYPES[spec.number_format(dtype)]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    hf_model = _load_hf(spec, number_type, _device_map(spec, place, number_type))
    if place == "cuda":
        _check_on_gpus(spec, hf_model)
    model = GatedModel(hf_model.eval().requires_grad_(False), spec)
    check_weights(model)
    check_reads(model)
    if spec.mixture is not None:
        try_mixture(model)
    if spec.mixture is None or spec.mixture.dense:
        _try_out(model)
    return model


def _device(spec: ModelSpec, device: str) -> str:
    if device not in ("auto", "cpu", "cuda"):
        raise ModelError(spec.model, 'device "auto", "cpu" or "cuda"', repr(device), "change `device`")
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        step = 'ask for a GPU (see docs/cluster.md), or set device to "auto" or "cpu"'
        raise ModelError(spec.model, "a GPU, as the run's `device` says", "none that torch can use", step)
    return "cuda" if there and device != "cpu" else "cpu"


def _device_map(spec: ModelSpec, place: str, dtype: torch.dtype) -> dict[str, Any]:
    """Where the parts go, as arguments of from_pretrained: one GPU, or the memory of several."""
    if place == "cpu":
        return {}
    needed = spec.parameters * dtype.itemsize * _HEADROOM
    free = {gpu: torch.cuda.mem_get_info(gpu)[0] for gpu in range(torch.cuda.device_count())}
    best = max(free, key=lambda gpu: free[gpu])
    if needed <= free[best]:
        return {"device_map": {"": best}}
    if needed <= sum(free.values()) / _HEADROOM:
        # Each keeps room for the forward pass; the last one would be filled up otherwise.
        return {"device_map": "balanced", "max_memory": {gpu: int(size / _HEADROOM) for gpu, size in free.items()}}
    found = f"{sum(free.values()) / _GIB:.0f} GiB free on {len(free)} GPU"
    step = "ask for larger or more GPUs, or set dtype to bfloat16"
    raise ModelError(spec.model, f"{needed / _GIB:.0f} GiB of GPU memory for {dtype}", found, step)


def _check_on_gpus(spec: ModelSpec, hf_model: nn.Module) -> None:
    """What fits on no GPU, because blocks stay whole, is otherwise left on the disk without a word, and read again and
    again."""
    places: dict[str, Any] = getattr(hf_model, "hf_device_map", {})
    left = [part for part, where in places.items() if where in ("cpu", "disk")]
    if left:
        found = f"no room for {left[0]}" + (f" and {len(left) - 1} more" if len(left) > 1 else "")
        step = "ask for larger or more GPUs, or set dtype to bfloat16"
        raise ModelError(spec.model, "all parts on GPUs, whole blocks on each", found, step)


def _load_hf(spec: ModelSpec, dtype: torch.dtype, placement: dict[str, Any]) -> nn.Module:
    import transformers

    folder = Path(spec.folder)
    weight_files(folder)  # refuses what would make transformers read anything but these
    config = read_config(folder, read_json(folder / "config.json", "a model's config"), spec.model)
    kind = getattr(transformers, spec.architecture)
    if not isinstance(config, kind.config_class):
        config = config.get_text_config()
    if spec.mixture is not None:
        from gluscope.model.experts import NAME

        placement = placement | {"experts_implementation": NAME}
    try:
        hf_model, info = kind.from_pretrained(
            spec.folder,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            **placement,
        )
    except torch.OutOfMemoryError as error:
        raise ModelError(spec.model, "a model that fits on the GPU", one_line(error), "ask for a larger one") from error
    except (OSError, ValueError, RuntimeError, AttributeError) as error:
        raise ModelError(spec.folder, f"weights of {spec.architecture}", one_line(error), FETCH_AGAIN) from error
    missing = sorted(info["missing_keys"])
    if missing:
        found = f"none for {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        raise ModelError(spec.folder, f"weights for all of {spec.architecture}", found, FETCH_AGAIN)
    model: nn.Module = hf_model
    return model


def _try_out(model: GatedModel) -> None:
    """Run three tokens: what the hooks hand out must make up the MLP that pages are written about."""
    spec, written = model.spec, []
    seen: dict[str, torch.Tensor] = {}
    first = next(layer for layer in range(spec.n_layers) if not spec.is_mixture(layer))
    mlp = model.blocks.get_submodule(f"{first}.{spec.modules['mlp']}")
    out = mlp.get_submodule(spec.modules["out"])

    def keep(layer: int, *tensors: torch.Tensor) -> None:
        seen.update(zip(("x", "gate", "in", "act", "post"), tensors, strict=True))

    handle = mlp.register_forward_hook(lambda _, args, output: written.append(output))
    with model.capture([first], keep):
        stop = first + 1 if spec.n_layers > first + 1 else None
        model.forward(torch.tensor([[1, 2, 3]]) % spec.n_vocab, stop_at_layer=stop)
    handle.remove()
    with torch.inference_mode():
        own_act = torch.from_numpy(numpy_act(spec.act_fn)(seen["gate"].double().cpu().numpy())).to(seen["act"])
        pairs = {
            f"{spec.act_fn}(gate)": (seen["act"], own_act),
            "act * in": (seen["post"], own_act * seen["in"]),
            "out(post)": (written[0], out(seen["post"])),
        }
    _compare(model, pairs)


def try_mixture(model: GatedModel) -> None:
    """Run three tokens: what the first mixture hands out, times the weights shown for it, must make up its output."""
    spec, written = model.spec, []
    assert spec.mixture is not None
    layer, seen = spec.mixture.layers[0], []
    mlp = model.blocks.get_submodule(f"{layer}.{spec.mixture.module}")
    handle = mlp.register_forward_hook(lambda _, args, output: written.append(output))
    with model.capture([layer], lambda *_: None, lambda _, x, mixed: seen.append((x, mixed))):
        stop = layer + 1 if spec.n_layers > layer + 1 else None
        model.forward(torch.tensor([[1, 2, 3]]) % spec.n_vocab, stop_at_layer=stop)
    handle.remove()
    (x, mixed), output = seen[0], written[0]
    output = (output[0] if isinstance(output, tuple) else output).reshape(x.shape[0] * x.shape[1], -1)
    with torch.inference_mode():
        expected, own_act = _made_up(model, layer, mixed, output), numpy_act(spec.act_fn)
        routed = mixed.routed
        act = torch.from_numpy(own_act(routed.gate.double().cpu().numpy())).to(routed.act)
        pairs = {
            f"{spec.act_fn}(gate)": (routed.act, act),
            "act * in": (routed.post, act * routed.in_),
            "the experts' outputs times the router's weights": (output, expected),
        }
    _compare(model, pairs)


def _made_up(model: GatedModel, layer: int, mixed: Mixed, output: torch.Tensor) -> torch.Tensor:
    """The output of a mixture from what it hands out, in float64."""
    assert model.spec.mixture is not None
    routed, total = mixed.routed, torch.zeros_like(output, dtype=torch.float64)
    experts, begin = model.experts(layer), 0
    for expert, count in enumerate(routed.pairs.tolist()):
        part = slice(begin, begin := begin + count)
        out = experts.down_proj[expert].double()
        own = routed.post[part].double() @ (out if experts.is_transposed else out.T)
        own += experts.down_proj_bias[expert].double() if experts.has_bias else 0
        token = routed.token[part]
        weight = (routed.weight.double() * (routed.chosen == expert)).sum(-1)[token]
        total.index_add_(0, token, own * weight[:, None])
    for shared, name in zip(mixed.shared, model.spec.mixture.modules.get("shared", "").split(), strict=True):
        mlp: Any = model.blocks.get_submodule(f"{layer}.{model.spec.mixture.module}.{name}")
        out = mlp.get_submodule(model.spec.mixture.modules["out"]).weight.double()
        own = (shared.post.double() @ out.T).flatten(0, 1)
        total += own if shared.weight is None else own * shared.weight.double().reshape(-1, 1)
    return total.to(output.dtype)


def _compare(model: GatedModel, pairs: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    spec = model.spec
    for name, (found, expected) in pairs.items():
        difference, scale = (found - expected).double().abs(), expected.double().abs()
        finite = torch.isfinite(difference) & torch.isfinite(scale)
        error = float((difference[finite].max() / scale[finite].max().clamp(min=1e-30)) if finite.any() else 0.0)
        if error > 8 * torch.finfo(model.dtype).eps:
            found_text = f"{spec.architecture}, where it differs by {error:.1e} of the largest value"
            raise ModelError(spec.model, f"an MLP that computes {name}", found_text, "use another model")
