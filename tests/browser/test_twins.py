"""What is computed in Python and in the page's script gives the same in both, for random inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from gluscope.core.activation import NAMES, act
from gluscope.core.cases import CASES, QUANTITIES
from gluscope.core.convention import CONVENTIONS
from gluscope.page.bundle import NEURON_PAGE, PAIR_PAGE, START_PAGE, text_of
from gluscope.page.headline import peaks
from gluscope.page.numbers import clipped, label, number, percent
from gluscope.page.pack import as_text, pack, varints
from gluscope.page.render import visible
from helpers.pages import HOSTILE, READABLE, make

Script = Callable[..., Any]


@pytest.fixture(scope="module")
def script(browser: Any) -> Iterator[Script]:
    """`script(expression, argument)`: its value where the page's own functions are known; `x` is the argument."""
    files = [name for name in NEURON_PAGE.scripts if name != "page/main"]
    tab = browser.new_page()
    yield lambda expression, x=None: tab.evaluate(f"async (x) => {{ {text_of(files)}\nreturn {expression}; }}", x)
    tab.close()


def sizes(count: int) -> list[float]:
    """Numbers of all sizes, halves among them, for which rounding must be told."""
    rng = np.random.default_rng(3)
    wide = rng.standard_normal(count) * 10 ** rng.uniform(-9, 8, count)
    halves = np.asarray(rng.standard_normal(count) * 10 ** rng.uniform(-2, 3.5, count), np.float16)
    edges = [0.0, 999.5, 999.4999, 9999.5, 1e4, 1e-3, 9.995e-4, 0.9995, 1000.5, 2.125, -2.125, 0.0078125]
    return [*wide.tolist(), *halves.astype(float).tolist(), *edges, *(-x for x in edges)]


@pytest.mark.parametrize("name", NAMES)
def test_activations(script: Script, name: str) -> None:
    rng = np.random.default_rng(1)
    gate = np.float32(np.concatenate([rng.standard_normal(500) * 3, rng.uniform(-120, 120, 300), [0, 1e-20, -1e-20]]))
    found = script(f'x.map((value) => Math.fround(ACTIVATIONS["{name}"](value)))', gate.tolist())
    np.testing.assert_allclose(found, act(name)(gate), rtol=3e-7, atol=1e-37)


def test_names_of_activations_cases_and_lists(script: Script) -> None:
    assert sorted(script("Object.keys(ACTIVATIONS)")) == sorted(NAMES)
    assert script("CASES") == [case.value for case in CASES]
    assert script("QUANTITIES") == [quantity.value for quantity in QUANTITIES]
    assert script("CASES.map((name) => listsOf(name).toSorted())") == [
        sorted(quantity.value for quantity in case.listed) for case in CASES
    ]
    assert script("CASES.map(flippedCase)") == [case.flipped.value for case in CASES]
    assert script("CASES.map(caseLabel)") == [label(case) for case in CASES]


def test_numbers(script: Script) -> None:
    values = sizes(3000)
    for plus in (False, True):
        assert script(f"x.map((v) => number(v, {{ plus: {json.dumps(plus)} }}))", values) == [
            number(value, plus=plus) for value in values
        ]
    assert script("x.map((v) => number(v, { decimals: 2 }))", values) == [number(v, decimals=2) for v in values]
    assert script("number(null)") == number(None)


def test_shares(script: Script) -> None:
    rng = np.random.default_rng(4)
    shares = [*(10 ** rng.uniform(-8, 0, 3000)).tolist(), *(rng.integers(0, 2001, 500) / 2000).tolist(), 0.0, 1.0, None]
    assert script("x.map(percent)", shares) == [percent(share) for share in shares]


def test_texts(script: Script) -> None:
    rng = np.random.default_rng(5)
    # The browser's bridge carries no lone surrogates: they go as numbers.
    joined = ["\u200c", "\u200d", "می‌خ", "क्‍ष", "👩‍👧", "❤️‍🔥"]
    characters = [*"".join(HOSTILE + READABLE), "\U0001f44d", "\ud800", "\udfff", *joined * 4]
    texts = ["".join(rng.choice(characters, 30)) for _ in range(300)]
    texts = [text.replace("\ud800\udfff", "\udfff\ud800") for text in texts]  # in the script a pair is one character
    codes = [[ord(character) for character in text] for text in texts]
    read = "x.map((codes) => codes.map((code) => String.fromCodePoint(code)).join(''))"
    back = "Array.from({}, (character) => character.codePointAt(0))"
    shown = script(f"{read}.map((text) => {back.format('unhide(text)')})", codes)
    assert shown == [[ord(character) for character in visible(text)] for text in texts]
    whole = [visible(text) for text in texts]
    assert script("x.map((text) => clipped(text, 24))", whole) == [clipped(text, 24) for text in whole]


def test_stored_numbers(script: Script) -> None:
    numbers = np.random.default_rng(6).integers(0, 10 ** np.tile([2, 3, 4, 5], 500))
    text = as_text(varints(numbers).tobytes())
    assert script("[...fromVarints(fromText(x))]", text) == numbers.tolist()


@pytest.mark.parametrize("sign", [-1, 0, 1])
@pytest.mark.parametrize("stored", CONVENTIONS)
def test_either_convention(script: Script, stored: str, sign: int) -> None:
    """Cases, first extremes, samples and texts, from either stored convention, and where post is strongest."""
    page = make(seed=7 + sign, texts=6, length=30).build(convention=stored, sign=sign)
    for wanted in CONVENTIONS:
        expected = page.in_convention(wanted)
        view = f"const data = await openBlock(x); const view = viewOf(data, {json.dumps(wanted)});"
        found = script(
            f"""await (async () => {{ {view} return {{
              cases: view.cases, strongest: strongestCase(casesIn(data, {json.dumps(wanted)})),
              first: CASES.map((name) => QUANTITIES.map((q) => firstExtreme(view.cases[name], q, data.act))),
              sample: [[...view.sample.gate], [...view.sample.in]],
              post: [...view.examples].map(([row, e]) =>
                [row, [...e.post], [...e.gate].map((g, i) => caseOf(g, e.in[i]))]),
            }}; }})()""",
            pack(page)[0],
        )
        assert found["cases"] == expected.window()["cases"]
        assert found["strongest"] == peaks(expected)[0].case.value
        first = [[expected.first_extreme(case, quantity) for quantity in QUANTITIES] for case in CASES]
        np.testing.assert_allclose(np.array(found["first"], float), np.array(first, float), rtol=3e-7)
        np.testing.assert_array_equal(found["sample"], [expected.sample.gate, expected.sample.in_])
        for row, post, cases in found["post"]:
            values = {quantity.value: value for quantity, value in expected.values(row).items()}
            np.testing.assert_allclose(post, values["post"], rtol=3e-3, atol=1e-5)
            signs = zip(np.sign(values["gate"]).tolist(), np.sign(values["in"]).tolist(), strict=True)
            assert cases == [
                next((case.value for case in CASES if (case.gate_sign, case.in_sign) == pair), None) for pair in signs
            ]


def test_every_file_stands_in_a_page() -> None:
    from gluscope.page.bundle import ASSETS

    listed = {f"{name}.js" for kind in (NEURON_PAGE, PAIR_PAGE, START_PAGE) for name in kind.scripts}
    listed |= {f"{name}.css" for kind in (NEURON_PAGE, PAIR_PAGE, START_PAGE) for name in kind.styles}
    assert listed == {str(path.relative_to(ASSETS)) for path in ASSETS.rglob("*.*")}
