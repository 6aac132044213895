"""Read-write classes: every key by hand, the law of the two conventions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from gluscope.weights.classes import RW_CLASSES, RWClass, rw_class, rw_classes

# in_out, gate_out, gate_in, name: the table of docs/notation.md written out, cosines on both sides of the threshold.
BY_HAND = [
    (0.9, 0.8, 0.7, "strengthening"),
    (0.9, -0.8, -0.7, "strengthening"),
    (0.9, 0.8, 0.2, "atypical strengthening"),
    (0.9, 0.8, -0.7, "atypical strengthening"),
    (0.9, 0.1, 0.3, "conditional strengthening"),
    (0.9, -0.1, 0.7, "atypical conditional strengthening"),
    (-0.9, 0.8, -0.7, "weakening"),
    (-0.9, -0.8, 0.7, "weakening"),
    (-0.9, 0.8, 0.7, "atypical weakening"),
    (-0.9, -0.3, 0.4, "conditional weakening"),
    (-0.9, 0.3, -0.6, "atypical conditional weakening"),
    (0.2, 0.8, 0.1, "proportional change"),
    (-0.2, -0.8, -0.4, "proportional change"),
    (0.2, 0.8, 0.6, "atypical proportional change"),
    (0.0, -0.8, 0.6, "atypical proportional change"),
    (0.2, 0.1, 0.0, "orthogonal output"),
    (0.2, 0.1, 0.9, "orthogonal output"),
    (-0.2, 0.1, -0.9, "orthogonal output"),
    # exactly at the threshold: r is 0
    (0.5, 0.5, 0.9, "orthogonal output"),
    (-0.5, -0.5000001, 0.5, "proportional change"),
]


@pytest.mark.parametrize(("in_out", "gate_out", "gate_in", "name"), BY_HAND)
def test_class_by_hand(in_out: float, gate_out: float, gate_in: float, name: str) -> None:
    assert rw_class(in_out, gate_out, gate_in).label == name


def test_by_hand_has_every_class() -> None:
    assert {name for *_, name in BY_HAND} == {kind.label for kind in RWClass}
    assert len(RW_CLASSES) == 11


def definition(in_out: float, gate_out: float, gate_in: float) -> tuple[int, int, int]:
    """The sentence of docs/notation.md, word by word."""

    def r(x: float) -> int:
        if x > 0.5:
            return 1
        return -1 if x < -0.5 else 0

    typical = int(r(gate_in) == r(in_out) * r(gate_out))
    if r(in_out) == 0 and r(gate_out) == 0:
        typical = 1
    return r(in_out), abs(r(gate_out)), typical


def test_every_combination_has_the_class_of_its_key() -> None:
    values = (-1.0, -0.51, -0.5, -0.49, 0.0, 0.49, 0.5, 0.51, 1.0)
    triples = np.array(list(itertools.product(values, repeat=3)))
    found = rw_classes(*triples.T)
    assert found.dtype == np.int8
    assert [RW_CLASSES[i].value for i in found] == [definition(*triple) for triple in triples]
    assert set(found.tolist()) == set(range(11)), "each of the eleven can occur"


def test_refactoring_keeps_the_class() -> None:
    cosines = np.random.default_rng(0).uniform(-1, 1, (3, 5000))
    in_out, gate_out, gate_in = cosines
    np.testing.assert_array_equal(rw_classes(in_out, gate_out, gate_in), rw_classes(in_out, -gate_out, -gate_in))
    changed = rw_classes(in_out, gate_out, gate_in) != rw_classes(in_out, gate_out, -gate_in)
    assert changed.any(), "negating one alone is no symmetry, or this test could not fail"
