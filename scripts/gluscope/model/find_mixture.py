"""Where the experts of a mixture are, from the config and the model's own tree of modules; weights are not read.

TransformerLens' adapters know few mixtures and wrap their experts as one module; what transformers runs through its
experts interface is told apart here by that module.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from gluscope.core.errors import ModelError
from gluscope.model.adapter import Layout, empty_model, head_name, named_act, refused, stored_template
from gluscope.model.experts import gating_of, is_experts
from gluscope.model.files import Tensor
from gluscope.model.keys import StoredKeys, stored_keys
from gluscope.model.mixture import CLAMPED, Mixture
from gluscope.model.mixture_sizes import chosen_of
from gluscope.model.norms import norms_of

# Children of a block that may be the norm before its mixture: the first that it has. Where it has only norms behind
# attention and MLP, x is the residual stream. `load` tries what is found here with the real weights.
_NORMS = ("pre_feedforward_layernorm", "pre_mlp_layernorm", "ffn_norm", "post_attention_layernorm")
_BEHIND = {"post_attention_layernorm", "post_feedforward_layernorm"}
_MLPS = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))
_OTHER = (
    "experts that transformers runs through its experts interface, which gate as act(gate) * in, or as gpt-oss does"
)


def mixture_layout(config: Any, where: str, tensors: dict[str, Tensor] | None = None) -> Layout | None:
    """The layout of a model with mixtures of experts; None for one whose module tree has none.

    Raises ModelError, with the class's name, where experts compute or lie otherwise than `Mixture` can say.
    """
    architecture = _class_of(config, where)
    model = empty_model(config, architecture, where)
    found = {name: part for name, part in model.named_modules() if is_experts(part)}
    if not found:
        return None
    blocks_name, module = _blocks_of(next(iter(found)), where, architecture)
    blocks = model.get_submodule(blocks_name)
    layers = tuple(n for n in range(len(blocks)) if f"{blocks_name}.{n}.{module}.experts" in found)
    if len(layers) != len(found):
        raise refused(where, architecture, "experts in several places")
    keys = StoredKeys({name: name for name in model.state_dict()}, {})
    if tensors is not None:
        keys = stored_keys(model, tensors, where)
    dense = [n for n in range(len(blocks)) if n not in layers]
    mixture = _Finder(model, blocks_name, module, keys, where, architecture).mixture(layers, dense)
    own = _dense(blocks, module, dense, where, architecture)
    embed = _name_of(model, model.get_input_embeddings())
    unembed = _name_of(model, model.get_output_embeddings())
    stored = {"gate": "", "in_": "", "out": ""}
    if dense:
        paths = {p: f"{blocks_name}.{{layer}}.{module}.{own[p]}.weight" for p in stored}
        stored = {p: _of_layers(keys, path, dense, where) for p, path in paths.items()}
    heads = {"embed": f"{embed}.weight", "unembed": f"{unembed}.weight"}
    stored |= {part: head_name(model, keys, name, where) for part, name in heads.items()}
    d_model = _d_model(model)
    norms = [_norm_name(block, where, architecture) for block in blocks]
    return Layout(
        architecture=architecture,
        layers=blocks_name,
        mlp=module,
        gate=own["gate"],
        in_=own["in_"],
        out=own["out"],
        act=own["act"],
        embed=embed,
        unembed=unembed,
        n_layers=len(blocks),
        d_model=d_model,
        d_mlp=max(mixture.neurons(n).count for n in range(len(blocks))),
        n_vocab=model.get_submodule(embed).weight.shape[0],
        act_fn=_act_of(config, next(iter(found.values())), mixture, where, architecture),
        stored=stored,
        bias=False,
        norms=norms_of(blocks, norms, f"{blocks_name}.{{layer}}", keys, d_model, where),
        mixture=mixture,
    )


def _class_of(config: Any, where: str) -> str:
    import transformers

    names = getattr(config, "architectures", None) or []
    if len(names) != 1 or not hasattr(transformers, names[0]):
        raise refused(where, ", ".join(names) or config.model_type, "a class that transformers does not have")
    return str(names[0])


def _blocks_of(experts: str, where: str, architecture: str) -> tuple[str, str]:
    """The name of the list of blocks, and that of a mixture in its block, from the name of experts."""
    named = re.fullmatch(r"(.+)\.\d+\.(.+)\.experts", experts)
    if not named:
        raise refused(where, architecture, f"experts at {experts}")
    return named[1], named[2]


class _Finder:
    """The parts of a model's mixtures, which must be alike in all layers."""

    def __init__(self, model: Any, blocks: str, module: str, keys: StoredKeys, where: str, architecture: str) -> None:
        self._model, self._blocks, self._module, self._keys = model, blocks, module, keys
        self._where, self._architecture = where, architecture

    def mixture(self, layers: tuple[int, ...], dense: list[int]) -> Mixture:
        found = [self._parts(layer) for layer in layers]
        if any(other != found[0] for other in found):
            raise self._refused("mixtures that differ from layer to layer")
        modules, experts, shared = found[0][0], self._at(layers[0], "experts"), found[0][1]
        clamped = gating_of(experts) == CLAMPED
        both, out = f"{self._path}.experts.gate_up_proj", f"{self._path}.experts.down_proj"
        form, gate, in_, down = self._stored_experts(both, out, layers, experts.is_transposed)
        names = modules.get("shared", "").split()
        paths = {part: [f"{self._path}.{name}.{modules[part]}.weight" for name in names] for part in _SHARED}
        own = {part: tuple(_of_layers(self._keys, p, layers, self._where) for p in paths[part]) for part in paths}
        width = self._dense_width(dense)
        return Mixture(
            layers=layers,
            experts=experts.num_experts,
            each=experts.down_proj.shape[1 if experts.is_transposed else 2],
            chosen=self._chosen(),
            dense=width,
            shared=shared,
            gating=str(gating_of(experts)),
            limit=float(experts.limit) if clamped else 0.0,
            form=form,
            gate=gate,
            in_=in_,
            out=down,
            router=_of_layers(self._keys, f"{self._path}.{modules['router']}.weight", layers, self._where),
            bias=bool(experts.has_bias),
            shared_gate=own["gate"],
            shared_in=own["in"],
            shared_out=own["out"],
            module=self._module,
            modules=modules,
        )

    @property
    def _path(self) -> str:
        return f"{self._blocks}.{{layer}}.{self._module}"

    def _at(self, layer: int, name: str) -> Any:
        return self._model.get_submodule(f"{self._path.format(layer=layer)}.{name}")

    def _parts(self, layer: int) -> tuple[dict[str, str], tuple[int, ...]]:
        """Names of the parts of a layer's mixture, and the neurons of its shared experts."""
        block = self._model.get_submodule(self._path.format(layer=layer))
        modules, widths, experts = {"experts": "experts"}, [], block.get_submodule("experts")
        if gating_of(experts) is None:
            raise self._refused(f"{type(experts).__name__}, which gate in another way")
        if experts.is_concatenated == experts.is_transposed:
            raise self._refused(f"{type(experts).__name__}, whose weights lie in another way")
        for name, part in block.named_children():
            if name == "experts":
                continue
            weight = getattr(part, "weight", None)
            if weight is not None and tuple(weight.shape) == (experts.num_experts, _d_model(self._model)):
                modules["router"] = name
            elif type(part) is nn.Linear and part.out_features == 1:
                modules["shared_weight"] = name
            elif (parts := _gated_mlp(part)) is not None:
                modules["shared"] = f"{modules.get('shared', '')} {name}".strip()
                modules |= parts
                widths.append(part.get_submodule(parts["gate"]).out_features)
            else:
                raise self._refused(f"a mixture of experts with {name} ({type(part).__name__})")
        if "router" not in modules:
            raise self._refused("a mixture of experts whose router is no plain matrix")
        return modules, tuple(widths)

    def _stored_experts(
        self, both: str, out: str, layers: tuple[int, ...], interleaved: bool
    ) -> tuple[str, str, str, str]:
        """Form and stored names of routed experts: gate, in, out."""
        if both.format(layer=layers[0]) in self._keys.names:
            name, down = (_of_layers(self._keys, p, layers, self._where, "") for p in (both, out))
            return ("interleaved" if interleaved else "stacked"), name, name, down
        sources = [self._sources(name, layers) for name in (both, out)]
        if [len(names) for names in sources] != [2, 1]:
            raise self._refused("experts stored in another way than a tensor for each of gate, in and out")
        return "rows", sources[0][0], sources[0][1], sources[1][0]

    def _sources(self, path: str, layers: tuple[int, ...]) -> list[str]:
        """Templates, with `{layer}` and `{expert}`, of the stored tensors that a parameter is joined of, in order."""
        found: dict[str, None] | None = None
        for layer in layers:
            own: dict[str, None] = {}
            for stored in self._keys.sources.get(path.format(layer=layer), []):
                named = re.sub(r"\.experts\.\d+\.", ".experts.{expert}.", stored)
                own.setdefault(re.sub(rf"\.{layer}\.(?=.*\{{expert\}})", ".{layer}.", named, count=1))
            if found is not None and list(own) != list(found):
                raise self._refused("experts whose stored names differ from layer to layer")
            found = own
        return list(found or {})

    def _dense_width(self, dense: list[int]) -> int:
        if not dense:
            return 0
        parts = _gated_mlp(self._model.get_submodule(self._path.format(layer=dense[0])))
        return int(self._at(dense[0], parts["gate"]).out_features) if parts else 0

    def _chosen(self) -> int:
        chosen = chosen_of(self._model.config.get_text_config().to_dict())
        if chosen is None:
            raise self._refused("a config that does not say to how many experts a token is sent")
        return chosen

    def _refused(self, found: str) -> ModelError:
        return ModelError(self._where, _OTHER, f"{self._architecture}, {found}", "use another model")


_SHARED = ("gate", "in", "out")


def _gated_mlp(module: Any) -> dict[str, str] | None:
    """Names of the parts of an ordinary gated MLP without biases; None for anything else."""
    children = dict(module.named_children())
    for names in _MLPS:
        if all(type(children.get(name)) is nn.Linear and children[name].bias is None for name in names):
            rest = [name for name in children if name not in names]
            return dict(zip(("gate", "in", "out", "act"), (*names, rest[0]), strict=True)) if len(rest) == 1 else None
    return None


def _dense(blocks: Any, module: str, dense: list[int], where: str, architecture: str) -> dict[str, Any]:
    """Names of the parts of dense layers' MLPs, which must be alike."""
    found = [_gated_mlp(blocks[layer].get_submodule(module)) for layer in dense]
    sizes = {blocks[layer].get_submodule(module).get_submodule(p["gate"]).out_features
             for layer, p in zip(dense, found, strict=True) if p}  # fmt: skip
    if any(parts is None or parts != found[0] for parts in found) or len(sizes) > 1:
        raise refused(where, architecture, "dense layers that differ, or are no gated MLPs")
    parts: dict[str, Any] = (found[0] if found else None) or {"gate": "", "in": "", "out": "", "act": None}
    return {"gate": parts["gate"], "in_": parts["in"], "out": parts["out"], "act": parts["act"]}


def _of_layers(keys: StoredKeys, path: str, layers: Any, where: str, suffix: str = "") -> str:
    return stored_template(keys, path + suffix, list(layers), where)


def _name_of(model: Any, module: Any) -> str:
    return str(next(name for name, part in model.named_modules() if part is module))


def _d_model(model: Any) -> int:
    return int(model.config.get_text_config().hidden_size)


def _norm_name(block: Any, where: str, architecture: str) -> str | None:
    children = dict(block.named_children())
    if set(children) >= _BEHIND and not {"input_layernorm", "pre_feedforward_layernorm"} & set(children):
        return None
    name = next((name for name in _NORMS if name in children), None)
    if name is None:
        raise refused(where, architecture, f"no known norm before its experts, but {', '.join(children)}")
    return name


def _act_of(config: Any, experts: Any, mixture: Mixture, where: str, architecture: str) -> str:
    """The activation's name, which the config says; checked against the module that the model really made."""
    if mixture.gating == CLAMPED:
        return "quick_gelu"  # x * sigmoid(1.702 x)
    return named_act(config, experts.act_fn, where, architecture)
