"""What a loaded model's neurons do in a text of the reader's own. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from gluscope.browse.served import Served
from gluscope.browse.strongest import Peaks, Strongest, strongest_of
from gluscope.core.cases import Quantity
from gluscope.core.errors import ModelError
from gluscope.core.neuron import NeuronId, is_routed
from gluscope.dataset.reader import TokenDataset
from gluscope.dataset.special import tokenizer_folder
from gluscope.model.capture import GatedModel, Mixed
from gluscope.model.load import load_model
from gluscope.model.spec import ModelSpec
from gluscope.page.tokens import TokenKind, TokenTexts
from gluscope.summary.file import SummaryReader

_ROWS_ASKED = 256  # of a data set that came as tokens, for what stands around its texts


def model_of_run(served: Served) -> GatedModel:
    """The run's model, in the number format of its scan."""
    about = SummaryReader(served.summary).attributes
    dtype, tf32 = str(about.get("dtype", "float32")), bool(about.get("tf32"))
    return load_model(ModelSpec.read(served.model), served.device, dtype, tf32)


class OwnText:
    """Runs texts through a model as its data set's texts were. For one thread.

    Tokenised by the data set's tokenizer, with what it puts around a text, and cut where the data set cuts.
    """

    def __init__(self, served: Served, model: GatedModel) -> None:
        self._served, self._model = served, model
        folder = Path(served.tokens).parent
        tokenizer = tokenizer_folder(served.tokens, model.spec.folder)
        self._tokenizer = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._summary = SummaryReader(served.summary)
        self._texts = TokenTexts.read(tokenizer, self._summary.attributes.get("skipped_ids", ()))
        self._prefix, self._suffix = around(TokenDataset.open(folder), self._texts)

    def neuron(self, text: str, neuron: NeuronId) -> dict[str, Any]:
        """A neuron's values at every token, in the raw convention: lists by quantity, of numbers.

        tokens: [text, kind, skipped] of each, as in `page.tokens.Token`; a skipped one has no values (None). cut:
        whether the text was longer than the data set's may be. Of a routed expert weight: what the router multiplies
        its output with at each token; None, as values are, where a token does not reach it.
        """
        ids, cut = self._ids(text)
        layer, said = neuron.layer, self._said(ids, cut)
        nowhere = np.array([token[2] for token in said["tokens"]])
        values: dict[str, list[float | None]] = {}

        def keep(_: int, x: torch.Tensor, *tensors: torch.Tensor) -> None:
            take(torch.stack([tensor[0, :, neuron.neuron] for tensor in tensors]), nowhere)

        def keep_expert(_: int, x: torch.Tensor, mixed: Mixed) -> None:
            elsewhere = nowhere
            if is_routed(neuron.expert):
                weight = mixed.routed.weight_of(int(neuron.expert[1:])).cpu().numpy()
                values["weight"] = _known(weight, np.isnan(weight))
                elsewhere = nowhere | np.isnan(weight)
            take(mixed.neuron(neuron.expert, neuron.neuron), elsewhere)

        def take(four: torch.Tensor, unknown: np.ndarray) -> None:
            for quantity, found in zip(Quantity, four.float().cpu().numpy(), strict=True):
                values[quantity.value] = _known(found, unknown)

        with self._model.capture([layer], keep, keep_expert):
            self._model.forward(ids[None], stop_at_layer=layer)
        return {**said, **values}

    def strongest(self, text: str) -> dict[str, Any]:
        """The neurons whose post is largest in the text beside the last value of their own list, by case.

        cases: by name, entries as `Strongest` has them, in the run's convention. left_out: of each case, neurons that
        have it in the text and whose list has fewer than k texts, so that anything would enter it.
        """
        ids, cut = self._ids(text)
        spec, peaks = self._model.spec, Peaks()
        counted = torch.from_numpy(self._counted(ids))

        def take(layer: int, x: torch.Tensor, gate: torch.Tensor, in_: torch.Tensor, *rest: torch.Tensor) -> None:
            peaks.add(layer, gate[0], in_[0], rest[1][0], counted.to(gate.device))

        def take_experts(layer: int, x: torch.Tensor, mixed: Mixed) -> None:
            peaks.add_experts(layer, spec.size.layers[layer], mixed, counted.to(x.device))

        with self._model.capture(range(spec.n_layers), take, take_experts):
            self._model.forward(ids[None], stop_at_layer=spec.n_layers - 1)
        found, left_out = strongest_of(peaks, self._last_listed, self._summary, spec.size)
        cases = {case.value: [self._entry(one, ids) for one in entries] for case, entries in found.items()}
        return {
            **self._said(ids, cut),
            "convention": self._summary.attributes.get("convention", "raw"),
            "cases": cases,
            "left_out": {case.value: count for case, count in left_out.items()},
        }

    @cached_property
    def _last_listed(self) -> np.ndarray:
        """|post| at the end of each list, float32 [layer, place, case]; NaN where a list is not filled."""
        post = Quantity.POST.index
        layers = range(self._summary.n_layers)
        return np.stack([np.abs(self._summary.read("extreme_value", layer)[:, :, post, -1]) for layer in layers])

    def _ids(self, text: str) -> tuple[np.ndarray, bool]:
        """int64 [token], at least one of them the text's, and whether some were cut off."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        record = TokenDataset.open(Path(self._served.tokens).parent).record
        most = record.longest if record.pretokenised else record.settings.max_length
        if self._model.spec.positions:
            most = min(most, self._model.spec.positions)
        room = max(1, most - len(self._prefix) - len(self._suffix))
        if not ids:
            raise ModelError("your text", "at least one token", "none", "type some words")
        return np.array([*self._prefix, *ids[:room], *self._suffix], np.int64), len(ids) > room

    def _counted(self, ids: np.ndarray) -> np.ndarray:
        """bool [token]: neither skipped nor what the tokenizer puts around texts, which all of the data set have."""
        found = ~np.array([token.skipped for token in self._texts.tokens(ids.tolist())])
        found[: len(self._prefix)] = False
        found[len(ids) - len(self._suffix) :] = False
        return found

    def _said(self, ids: np.ndarray, cut: bool) -> dict[str, Any]:
        tokens = self._texts.tokens(ids.tolist())
        return {"tokens": [[token.text, int(token.kind), token.skipped] for token in tokens], "cut": cut}

    def _entry(self, one: Strongest, ids: np.ndarray) -> dict[str, Any]:
        return {
            "neuron": str(one.neuron), "value": one.value, "last": one.last, "ratio": one.ratio, "place": one.place,
            "k": one.k, "position": one.position,
        }  # fmt: skip


def _known(values: np.ndarray, unknown: np.ndarray) -> list[float | None]:
    return [None if gone else value for value, gone in zip(values.tolist(), unknown.tolist(), strict=True)]


def around(dataset: TokenDataset, texts: TokenTexts) -> tuple[list[int], list[int]]:
    """Ids before and after every text of a data set.

    Where it came as tokens nobody wrote them down: a special token that all of its first rows begin with is the prefix.
    """
    known: Mapping[str, list[int]] | None = dataset.record.around
    if known is not None:
        return list(known["prefix"]), list(known["suffix"])
    rows = [dataset.input_ids(row) for row in range(min(_ROWS_ASKED, len(dataset)))]
    first = {int(ids[0]) for ids in rows if len(ids)}
    if len(first) == 1 and texts.token(token := first.pop()).kind is TokenKind.SPECIAL:
        return [token], []
    return [], []
