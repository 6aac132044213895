"""A packed page opens to what went in; the largest page stays below 1 MB."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gluscope.core.cases import LISTS
from gluscope.page.pack import PRECISIONS, Precision, as_text, from_text, near_extremes, pack, pack_as, unpack, varints
from gluscope.page.record import NeuronPage
from gluscope.page.render import render_page
from helpers.pages import largest_page, make, weights

TWO_BYTES_TO = 176 + 64 * 256


@pytest.fixture(scope="module")
def page() -> NeuronPage:
    return make().build(weights=weights(41))


@pytest.fixture(scope="module")
def largest() -> NeuronPage:
    return largest_page()


def decoded(header: dict[str, Any], arrays: dict[str, np.ndarray], page: NeuronPage, name: str) -> np.ndarray:
    """Gate or in of all tokens, as the page's script puts them together."""
    near = near_extremes(page, header["near"])
    mask = np.concatenate([near[example["row"]] for example in header["examples"]])
    values = np.zeros(len(mask))
    values[mask] = arrays[f"{name}_near"]
    values[~mask] = (arrays[f"{name}_far"] + 0.5) * header["step"][name]
    return values


def read_varints(data: np.ndarray) -> list[int]:
    found, rest = [], data.tolist()
    while rest:
        first, *rest = rest
        if first < 176:
            found.append(first)
        elif first < 240:
            found.append(176 + (first - 176) * 256 + rest.pop(0))
        else:
            found.append(TWO_BYTES_TO + (first - 240) * 65536 + rest.pop(0) * 256 + rest.pop(0))
    return found


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 100, 1001])
def test_text_of_bytes_and_back(length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    text = as_text(data)
    assert from_text(text) == data
    assert not set(text) & set("<&'\"\\\n ")


def test_text_of_bytes_is_base85_with_two_other_letters() -> None:
    data = np.random.default_rng(2).bytes(4001)
    assert as_text(data) == base64.b85encode(data).decode().translate(str.maketrans("<&", ",."))


def test_small_numbers_take_one_byte_and_all_come_back() -> None:
    numbers = [0, 1, 175, 176, 177, TWO_BYTES_TO - 1, TWO_BYTES_TO, 100_000, 1_000_000]
    assert [len(varints(np.array([number]))) for number in numbers] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert read_varints(varints(np.array(numbers))) == numbers


def test_everything_comes_back(page: NeuronPage) -> None:
    block, precision = pack(page)
    header, arrays = unpack(block)
    assert precision == PRECISIONS[0]
    assert header["cases"] == page.window()["cases"], "statistics and extremes are not rounded"
    tokens = [token for example in page.examples.values() for token in example.tokens]
    numbers = read_varints(arrays["token"])
    assert [header["tokens"][number] for number in numbers] == [token.text for token in tokens]
    assert [header["kinds"].get(str(number), 0) for number in numbers] == [token.kind for token in tokens]
    gate = np.concatenate([example.gate for example in page.examples.values()])
    np.testing.assert_array_equal(decoded(header, arrays, page, "gate"), gate.astype(np.float16))
    np.testing.assert_array_equal(arrays["sample_in"], page.sample.in_)
    np.testing.assert_array_equal(arrays["sample_position"], page.sample.position)
    assert header["examples"][0]["source"] == {"id": "doc-0", "url": page.examples[0].source["url"], "score": None}


def test_the_same_page_gives_the_same_bytes(page: NeuronPage) -> None:
    assert pack(page) == pack(make().build(weights=weights(41)))


@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_coarse_values_keep_their_sign_and_stay_within_half_a_step(page: NeuronPage, precision: Precision) -> None:
    tight = precision._replace(near=2)
    header, arrays = unpack(pack_as(page, tight))
    near = np.concatenate(list(near_extremes(page, 2).values()))
    assert 0 < near.sum() < len(near)
    for name, attribute in (("gate", "gate"), ("in", "in_")):
        exact = np.concatenate([getattr(example, attribute) for example in page.examples.values()])
        found = decoded(header, arrays, page, name)
        np.testing.assert_array_equal(found[near], exact[near].astype(np.float16))
        assert np.abs(found - exact)[~near].max() <= header["step"][name] / 2 * 1.0001
        assert (np.sign(found) == np.sign(exact))[~near & (exact != 0)].all()
        assert header["step"][name] == pytest.approx(np.abs(exact[~near]).max() / precision.steps)


def test_listed_extremes_are_always_near(page: NeuronPage) -> None:
    for reach in (0, 3, None):
        near = near_extremes(page, reach)
        assert all(near[place.example][place.position] for c, q in LISTS for place in page.cases[c].extreme[q])


def test_the_largest_page_is_below_a_megabyte(largest: NeuronPage) -> None:
    assert sum(len(example.tokens) for example in largest.examples.values()) == 208 * 1024
    html = render_page(largest)
    assert len(html.encode()) <= 1_000_000
    assert "tokens from an extreme and farther: within" in html


def test_turns_of_chats_are_in_the_block_and_other_pages_know_nothing_of_them(page: NeuronPage) -> None:
    header, arrays = unpack(pack_as(page, PRECISIONS[0]))
    assert all(example.keys() == {"row", "length", "source"} for example in header["examples"])
    row = next(iter(page.examples))
    example = replace(page.examples[row], turns=[(1, 4, "user"), (5, 9, "<b>")])
    chat, same = unpack(pack_as(replace(page, examples={**page.examples, row: example}), PRECISIONS[0]))
    assert chat["examples"][0].pop("turns") == [[1, 4, "user"], [5, 9, "<b>"]]
    assert chat == header
    assert all((same[name] == arrays[name]).all() for name in arrays)
