"""Which stored tensor becomes which parameter of the model: by the functions with which transformers loads it.

Imports torch and transformers (their versions are pinned: these functions are not part of its public interface).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

from gluscope.core.errors import ModelError
from gluscope.model.files import FETCH_AGAIN, Tensor


@dataclass(frozen=True)
class StoredKeys:
    """Names in the weight files, by the model's own name of the parameter.

    names: of parameters that are one stored tensor as it is. converted: of those that are worked out from stored ones
    (halves of one tensor, experts joined, ...), any one of these.
    sources: of these, all that they are worked out from: those that a converter names first, first.
    """

    names: dict[str, str]
    converted: dict[str, str]
    sources: dict[str, list[str]] = field(default_factory=dict)

    def of(self, parameter: str, where: str) -> str:
        """The one stored tensor that is `parameter`. Raises ModelError where there is none."""
        if parameter in self.converted:
            found = f"one that transformers works out of {self.converted[parameter]} and others"
            raise ModelError(where, f"a stored tensor {parameter}", found, "load it and save it with save_pretrained")
        if parameter not in self.names:
            raise ModelError(where, f"a tensor {parameter}", "none in its weight files", FETCH_AGAIN)
        return self.names[parameter]

    def has(self, parameter: str) -> bool:
        return parameter in self.names or parameter in self.converted


def stored_keys(model: Any, tensors: dict[str, Tensor], where: str) -> StoredKeys:
    """Pair the tensors of a folder with the parameters of `model`, an empty transformers model of its class.

    Tensors that are no part of the model (blocks for predicting several tokens, an image part, buffers of old
    versions) pair with nothing. Raises ModelError for two stored tensors that would be the same parameter, and for
    parameters without any.
    """
    mapping = get_model_conversion_mapping(model)
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    own, prefix = model.state_dict(), model.base_model_prefix
    names: dict[str, str] = {}
    converted: dict[str, str] = {}
    sources: dict[str, list[tuple[str, str]]] = {}
    for stored in sorted(tensors, key=dot_natural_key):
        name, by = rename_source_key(stored, renamings, converters, prefix, own)
        if name not in own and stored in own:
            name, by = rename_source_key(stored, [], [], prefix, own)
        if name not in own:
            continue
        if by is not None:
            converted[name] = stored
            sources.setdefault(name, []).append((by, stored))
        elif name in names:
            found = f"{names[name]} and {stored}, both"
            raise ModelError(where, f"one stored tensor for {name}", found, "load it and save it with save_pretrained")
        else:
            names[name] = stored
    order = [pattern for converter in converters for pattern in converter.source_patterns]
    in_order = {
        name: [stored for _, stored in sorted(several, key=lambda one: order.index(one[0]))]
        for name, several in sources.items()
    }
    keys = StoredKeys(names, converted, in_order)
    _refuse_missing(model, keys, set(own), where)
    return keys


def tied(model: Any, parameter: str) -> tuple[str, ...]:
    """Parameters that transformers makes one with `parameter` where the files have just one of them."""
    pairs: dict[str, str] = model.all_tied_weights_keys
    source = pairs.get(parameter, parameter)
    return tuple(name for name in (source, *pairs) if pairs.get(name, name) == source and name != parameter)


def _refuse_missing(model: Any, keys: StoredKeys, own: set[str], where: str) -> None:
    """transformers would fill them with random numbers."""
    ignored = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_missing or ()]
    missing = [
        name
        for name in sorted(own)
        if not (keys.has(name) or any(keys.has(other) for other in tied(model, name)))
        and not any(pattern.search(name) for pattern in ignored)
    ]
    if missing:
        found = f"none for {missing[0]}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        raise ModelError(where, f"weights for all of {type(model).__name__}", found, FETCH_AGAIN)
