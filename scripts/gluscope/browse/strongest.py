"""Which neurons answer most strongly to a text, compared with the texts in their own lists. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from gluscope.core.cases import CASES, Quantity, SignCase
from gluscope.core.neuron import NeuronId, is_routed, shared_number
from gluscope.core.size import LayerNeurons, Size
from gluscope.model.capture import Mixed
from gluscope.summary.file import SummaryReader

MOST = 25  # neurons of each case


@dataclass(frozen=True)
class Strongest:
    """A neuron's largest |post| of one case in a text.

    value: signed. position: in the text. last: |post| of the last text in the case's list. ratio: |value| over that.
    place: that the text would take in the list, from 1; k + 1 is behind its end.
    """

    neuron: NeuronId
    value: float
    position: int
    last: float
    ratio: float
    place: int
    k: int


@dataclass
class Peaks:
    """By layer and in the raw convention, each neuron's largest |post| in every case: float32 and int64 [case, neuron].

    -1 where the text has no token in the case.
    """

    size: dict[int, np.ndarray] = field(default_factory=dict)
    position: dict[int, np.ndarray] = field(default_factory=dict)

    def add(self, layer: int, gate: torch.Tensor, in_: torch.Tensor, post: torch.Tensor, counted: torch.Tensor) -> None:
        """gate, in_, post: [token, neuron]. counted: bool [token], those that may be a peak. The first one is."""
        self.size[layer], self.position[layer] = _peaks(gate, in_, post, counted)

    def add_experts(self, layer: int, neurons: LayerNeurons, mixed: Mixed, counted: torch.Tensor) -> None:
        """The same of a mixture of experts, at whose neurons are those tokens that reach their expert."""
        size = np.full((len(CASES), neurons.count), -1, np.float32)
        position = np.zeros(size.shape, np.int64)
        for stretch in neurons.stretches():
            own = slice(stretch.begin, stretch.end)
            if not is_routed(stretch.expert):
                shared = mixed.shared[shared_number(stretch.expert)]
                size[:, own], position[:, own] = _peaks(shared.gate[0], shared.in_[0], shared.post[0], counted)
                continue
            routed, pairs = mixed.routed, mixed.routed.pairs_of(int(stretch.expert[1:]))
            token = routed.token[pairs]
            if len(token):
                parts = routed.gate[pairs], routed.in_[pairs], routed.post[pairs], counted[token]
                size[:, own], among = _peaks(*parts)
                position[:, own] = token.cpu().numpy()[among]
        self.size[layer], self.position[layer] = size, position


def _peaks(
    gate: torch.Tensor, in_: torch.Tensor, post: torch.Tensor, counted: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """The largest |post| of each case and its token, float32 and int64 [case, neuron]."""
    magnitude, sizes, positions = post.float().abs(), [], []
    for case in CASES:
        inside = case.holds(gate, in_) & counted[:, None]
        size, position = torch.where(inside, magnitude, -1.0).max(dim=0)
        sizes.append(size)
        positions.append(position)
    return torch.stack(sizes).cpu().numpy(), torch.stack(positions).cpu().numpy()


def strongest_of(
    peaks: Peaks, last: np.ndarray, summary: SummaryReader, size: Size, most: int = MOST
) -> tuple[dict[SignCase, list[Strongest]], dict[SignCase, int]]:
    """By case of the run's convention the neurons with the largest ratio, and how many have no whole list there.

    last: float32 [layer, place, case], |post| at the end of each list, NaN where it is not filled.
    """
    refactored = summary.attributes.get("convention", "raw") == "refactored"
    sign = summary.sign() if refactored else np.ones(last.shape[:2], np.int8)
    ratios: Mapping[SignCase, list[tuple[float, int, int]]] = {case: [] for case in CASES}
    left_out = dict.fromkeys(CASES, 0)
    for layer, sizes in peaks.size.items():
        places = np.arange(sizes.shape[1])
        for case in CASES:
            raw = np.where(sign[layer, places] < 0, case.flipped.index, case.index)
            found, end = sizes[raw, places], last[layer, places, case.index]
            left_out[case] += int(((found >= 0) & np.isnan(end)).sum())
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where((found >= 0) & (end > 0), found / end, -1.0)
            best = np.argsort(-ratio, kind="stable")[:most]
            ratios[case].extend((float(ratio[place]), layer, int(place)) for place in best if ratio[place] >= 0)
    entries: dict[SignCase, list[Strongest]] = {}
    for case, candidates in ratios.items():
        chosen = sorted(candidates, key=lambda one: (-one[0], one[1:]))[:most]
        entries[case] = [_entry(peaks, summary, size, sign, case, *one) for one in chosen]
    return entries, left_out


def _entry(
    peaks: Peaks,
    summary: SummaryReader,
    size: Size,
    sign: np.ndarray,
    case: SignCase,
    ratio: float,
    layer: int,
    place: int,
) -> Strongest:
    raw = (case.flipped if sign[layer, place] < 0 else case).index
    found = float(peaks.size[layer][raw, place])
    listed = np.abs(summary.neuron(layer, place).extreme_value[0, case.index, Quantity.POST.index])
    return Strongest(
        neuron=size.neuron(layer, place),
        value=found * case.sign(Quantity.POST),
        position=int(peaks.position[layer][raw, place]),
        last=float(listed[-1]),
        ratio=ratio,
        place=1 + int((listed >= found).sum()),
        k=len(listed),
    )
