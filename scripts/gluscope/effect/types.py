"""What a neuron's effect is, and its file. Imports numpy alone: pages read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gluscope.core.errors import WrongFile
from gluscope.core.neuron import NeuronId
from gluscope.store.arrays import read_arrays, write_arrays
from gluscope.store.damage import to_redo

SCOPES = ("position", "case")  # post is zero at the position shown; at all tokens of its case up to there
GROUPS = ("strongest", "typical")  # the case's list by post; as a control, sampled tokens of the case
ENDS = ("raised", "lowered")
_FORMAT = 1


@dataclass(frozen=True)
class Effect:
    """What one neuron adds to the model's prediction: log-probabilities with it minus those without, in nats.

    Cases are those of the raw convention. Axes: scope of SCOPES, case of CASES, group of GROUPS, end of ENDS; example.

    expert: as in NeuronId. dtype: the number format of the forward passes.
    row, position: int64, int32 [case, group, example], where post is set to zero; -1 unfilled. The prediction is that
    made at this position. next_token: int32, the token that follows; -1 where the text ends. post: float32, as the
    model has it. logprob: float32, the log-probability of the token that follows, as the model is; NaN where none does.
    change: float32 [scope, case, group, example], the neuron's part in that log-probability: above 0 it makes the token
    likelier. kl: float32 of the same axes, KL(with || without) over the vocabulary.
    token: int32 [scope, case, group, end, place], the tokens whose log-probability the neuron raises and lowers most,
    by the mean over the examples; -1 unfilled. token_change: float32, that mean.
    signs: float32 [scope, case, group]: of the tokens that w_out promotes and demotes most by the weights, the share
    that moves to the side promised, measured from the vocabulary's mean; 0.5 by chance, NaN where nothing moves.
    overlap: float32 of the same axes: the share of them that are among the tokens moved most.
    """

    layer: int
    neuron: int
    expert: str
    dtype: str
    row: np.ndarray
    position: np.ndarray
    next_token: np.ndarray
    post: np.ndarray
    logprob: np.ndarray
    change: np.ndarray
    kl: np.ndarray
    token: np.ndarray
    token_change: np.ndarray
    signs: np.ndarray
    overlap: np.ndarray

    @property
    def id(self) -> NeuronId:
        return NeuronId(self.layer, self.neuron, self.expert)

    @property
    def largest(self) -> float | None:
        """By how much the neuron moves predictions: the KL at a case's strongest tokens, their mean, of the case where
        it is largest; in nats. None where no case has an example."""
        means = [found[0] for kl in self.kl[0, :, 0] if (found := mean_and_spread(kl)) is not None]
        return max(means, default=None)

    def save(self, path: str | Path) -> None:
        """Write it as an .npz without pickles, whole or not at all."""
        write_arrays(path, _FORMAT, {name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def read(cls, path: str | Path, neuron: NeuronId | None = None) -> Effect:
        """Raises StoreError for a file that is missing, damaged or something else, also another neuron's."""
        found = cls(**read_arrays(path, "a measured effect", _FORMAT, cls.__dataclass_fields__))
        if neuron not in (None, found.id):
            raise to_redo(WrongFile, Path(path), str(path), f"the effect of {neuron}", f"that of {found.id}")
        return found


def mean_and_spread(values: np.ndarray) -> tuple[float, float, int] | None:
    """Mean and standard deviation (that of the examples, n - 1; 0 for one) of the numbers that are there, and how many;
    None where there are none."""
    there = values[~np.isnan(values)].astype(np.float64)
    if not len(there):
        return None
    return float(there.mean()), float(there.std(ddof=1)) if len(there) > 1 else 0.0, len(there)
