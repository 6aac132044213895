"""The start page in a real browser: the way between pages, the picker, and the finder over all neurons."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gluscope.core.cases import LISTS, Quantity
from gluscope.core.neuron import NeuronId
from gluscope.page.render import card, render_page
from gluscope.page.site import render_index
from gluscope.weights.classes import RW_CLASSES, RWClass
from helpers.damage import flip
from helpers.finder_data import Model, model
from helpers.pages import make

Open = Callable[..., Any]
PAGES = (NeuronId(0, 12), NeuronId(1, 7), NeuronId(2, 0))


@pytest.fixture(scope="module")
def made() -> Model:
    return model()


@pytest.fixture(scope="module")
def site(made: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """index.html of a site with three pages and a finder."""
    folder, page = tmp_path_factory.mktemp("site"), make().build()
    cards = []
    for neuron in PAGES:
        file = folder / f"{neuron}.html"
        file.parent.mkdir()
        file.write_text(render_page(replace(page, id=neuron)), encoding="utf-8")
        cards.append(card(replace(page, id=neuron)))
    index = folder / "index.html"
    html = render_index(
        run="demo", model="org/model", n_layers=3, d_mlp=40, cards=cards, finder=made.write(folder), facts=[("k", "16")]
    )
    index.write_text(html, encoding="utf-8")
    return index


def arrives(tab: Any, neuron: NeuronId) -> bool:
    tab.wait_for_url(f"**/{neuron}.html*")
    return True


@pytest.mark.parametrize(
    ("at", "link", "to"), [(1, "#next", 2), (1, "#previous", 0), (2, "#next", 0), (0, "#previous", 2)]
)
def test_to_the_neighbours(open_page: Open, site: Path, at: int, link: str, to: int) -> None:
    tab = open_page(site.parent / f"{PAGES[at]}.html")
    tab.click(link)
    assert arrives(tab, PAGES[to])


def test_the_way_keeps_what_is_shown(open_page: Open, site: Path) -> None:
    tab = open_page(site.parent / f"{PAGES[0]}.html", "#case=gate-_in-&list=in&color=gate")
    for _ in range(2):
        tab.keyboard.press("]")
        tab.wait_for_timeout(500)
    assert arrives(tab, PAGES[2])
    tab.wait_for_selector("html.ready")
    for switch in ("case=gate-_in-", "list=in", "color=gate"):
        assert tab.locator(f'[data-set="{switch}"]').get_attribute("aria-pressed") == "true"


def test_from_a_neuron_without_a_page_and_at_random(open_page: Open, site: Path) -> None:
    tab = open_page(site.parent / f"{PAGES[0]}.html")
    tab.goto(site.as_uri() + "#go=next&from=L1/N8")
    assert arrives(tab, PAGES[2])
    tab.goto(site.as_uri() + "#go=random&from=L1/N7")
    tab.wait_for_url(re.compile(r"/L[02]/N\d+\.html"))


def test_the_list_and_its_search(open_page: Open, site: Path) -> None:
    tab = open_page(site)
    assert tab.locator("#pages .name").all_inner_texts() == ["L0 · N12", "L1 · N7", "L2 · N0"]
    tab.fill("#search", "l1/n7")
    assert tab.locator("#pages .name").all_inner_texts() == ["L1 · N7"]
    assert tab.inner_text("#found") == "1 of 3"
    for words in ("the", "strongest", "of tokens"):
        tab.fill("#search", words)
        assert tab.inner_text("#found") == "0 of 3", "words that every page says are none of its tokens"
    token = tab.evaluate("window.site.cards[0].tokens[1]")
    tab.fill("#search", token)
    assert tab.inner_text("#found") == "3 neurons"
    tab.fill("#search", "l1/n7")
    tab.click("#pages .name")
    assert arrives(tab, PAGES[1])


def test_the_picker_opens_a_page_or_says_how_to_make_it(open_page: Open, site: Path) -> None:
    tab = open_page(site)
    tab.fill("#layer", "1")
    tab.fill("#neuron", "9")
    tab.click("#picker button")
    assert "snakemake --cores 2 results/demo/site/L1/N9.html" in tab.inner_text("#picked")
    tab.fill("#neuron", "7")
    tab.click("#picker button")
    assert arrives(tab, PAGES[1])


def rows(tab: Any) -> list[tuple[int, int]]:
    while tab.locator("#finder-more").is_visible():
        tab.click("#finder-more")
    cells = tab.locator("#finder-table tbody tr").evaluate_all(
        "(all) => all.map((row) => [row.cells[0].innerText, row.cells[1].innerText])"
    )
    return [(int(layer), int(neuron[1:])) for layer, neuron in cells]


def open_finder(open_page: Open, site: Path) -> Any:
    return open_page(site, ready="html.finder-ready")


def test_the_finder_sorts(open_page: Open, site: Path, made: Model) -> None:
    tab = open_finder(open_page, site)
    post = np.nan_to_num(np.stack([summary.extreme_value[..., Quantity.POST.index, 0] for summary in made.summaries]))
    post = post.astype(np.float16).reshape(120, 4)
    expected = np.argsort(-np.abs(post).max(axis=1), kind="stable")
    assert rows(tab) == [divmod(int(i), 40) for i in expected], "at first by the strongest post, whatever its case"
    shown = [
        float(cell.replace("−", "-")) for cell in tab.locator("#finder-table tbody td:nth-child(5)").all_inner_texts()
    ]
    strongest = post[expected, np.abs(post[expected]).argmax(axis=1)].astype(float)
    np.testing.assert_allclose(shown, strongest, rtol=6e-3)
    tab.get_by_role("button", name="post gate+ in+", exact=True).click()
    assert rows(tab) == [divmod(int(i), 40) for i in np.argsort(-post[:, 0], kind="stable")]
    tab.get_by_role("button", name="neuron", exact=True).click()
    assert rows(tab)[:3] == [(0, 39), (1, 39), (2, 39)]
    tab.get_by_role("button", name="neuron", exact=True).click()
    assert rows(tab)[:3] == [(0, 0), (1, 0), (2, 0)]


def test_the_finder_filters(open_page: Open, site: Path, made: Model) -> None:
    tab = open_finder(open_page, site)
    number = RWClass.ORTHOGONAL_OUTPUT.index
    tab.select_option("[name=class]", str(number))
    assert RW_CLASSES[number].label == "orthogonal output"
    expected = {(i, int(n)) for i, w in enumerate(made.weights) for n in np.flatnonzero(w.rw_class == number)}
    assert set(rows(tab)) == expected
    tab.fill("[name=from]", "1")
    assert set(rows(tab)) == {place for place in expected if place[0] >= 1}
    counts = {
        option.partition(" · ")[0]: int(option.partition(" · ")[2])
        for option in tab.locator("[name=class] option").all_inner_texts()[1:]
    }
    assert counts["orthogonal output"] == len(rows(tab))
    assert sum(counts.values()) == 80
    tab.click("#finder-reset")
    assert len(rows(tab)) == 120


def ask(tab: Any, text: str, **choices: str) -> None:
    """Types into the search box, and waits for the answer about all neurons."""
    for key, value in choices.items():
        field = f"#ask-{key}"
        tab.fill(field, value) if key == "times" else tab.select_option(field, value)
    tab.fill("#search", text)
    tab.wait_for_timeout(400)
    tab.wait_for_function("!asking()", arg=None) if False else tab.locator("#finder:not(.asking)").wait_for()


def answering(made: Model, wanted: Callable[[str], bool], times: int, case: str = "", quantity: str = "") -> set:
    """Neurons with wanted tokens at so many places of one list, by loops."""
    found = set()
    for layer, summary in enumerate(made.summaries):
        for neuron in range(summary.neurons):
            for its_case, its_quantity in LISTS:
                if (case and its_case.value != case) or (quantity and its_quantity.value != quantity):
                    continue
                at = (neuron, its_case.index, its_quantity.index)
                places = zip(summary.extreme_example[at].tolist(), summary.extreme_position[at].tolist(), strict=True)
                words = [made.words[made.rows.ids[row][place] - 1] for row, place in places if row >= 0]
                if sum(map(wanted, words)) >= times:
                    found.add((layer, neuron))
    return found


def test_the_finder_finds_every_neuron_that_answers_to_a_token(open_page: Open, site: Path, made: Model) -> None:
    tab = open_finder(open_page, site)
    for typed in ("·aren", " aren"):
        ask(tab, typed, times="3")
        assert set(rows(tab)) == answering(made, lambda word: word == " aren", 3)
    ask(tab, "AREN", times="3")
    assert set(rows(tab)) == answering(made, lambda word: word == " aren", 3), (
        "the space is left aside if none is typed"
    )
    ask(tab, "n", how="part", times="4")
    assert set(rows(tab)) == answering(made, lambda word: "n" in word, 4), "the places of several tokens add up"
    ask(tab, "don", how="token", case="gate-_in+", times="2")
    assert set(rows(tab)) == answering(made, "don".__eq__, 2, "gate-_in+")
    ask(tab, "don", list="act", times="2")
    assert set(rows(tab)) == answering(made, "don".__eq__, 2, "gate-_in+", "act")
    assert 0 < len(rows(tab)) < 120
    assert f"{len(rows(tab))} neuron" in tab.inner_text("#asked")


def test_the_finder_finds_what_weights_write(open_page: Open, site: Path, made: Model) -> None:
    tab = open_finder(open_page, site)
    ask(tab, "don", list="w_out top", times="4")  # of four words, at place 1
    first = {
        (layer, int(n)) for layer, w in enumerate(made.weights) for n in np.flatnonzero(w.token_id[:, 2, 0, 0] == 2)
    }
    assert set(rows(tab)) == first


def test_an_answer_is_in_the_address_and_can_be_taken_away(open_page: Open, site: Path, made: Model) -> None:
    tab = open_finder(open_page, site)
    ask(tab, "·aren", list="post", times="2")
    found = rows(tab)
    with tab.expect_download() as download:
        tab.click("#take-csv")
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file)
    assert [(int(line[0]), int(line[1])) for line in lines] == found
    times = [
        max(int(cell) for name, cell in zip(head, line, strict=True) if name.startswith("times post")) for line in lines
    ]
    assert times == sorted(times, reverse=True)
    assert times[-1] >= 2
    tab.click("#take-pages")
    shown = tab.inner_text("#taken")
    assert f"neurons: [L{found[0][0]}/N{found[0][1]}, " in shown
    assert tab.locator("#take-make").count() == 0, "nobody makes pages for a file"
    again = open_page(site, "#" + tab.url.partition("#")[2], ready="html.finder-ready")
    assert rows(again) == found
    assert again.url == tab.url


def test_ticked_neurons_are_taken_alone_and_two_side_by_side(open_page: Open, site: Path) -> None:
    tab = open_finder(open_page, site)
    found = rows(tab)[:2]
    assert tab.locator("#take-pair").is_disabled()
    for number in range(2):
        tab.locator("#finder-table tbody .tick input").nth(number).check()
    tab.click("#take-pair")
    (a, b), (c, d) = sorted(found)
    assert f"results/demo/compare/demo/L{a}/N{b}-L{c}/N{d}.html" in tab.inner_text("#taken")
    with tab.expect_download() as download:
        tab.click("#take-csv")
    assert len(Path(download.value.path()).read_text(encoding="utf-8").splitlines()) >= 3
    assert tab.inner_text("#take-which") == "2 ticked:"


def test_the_tokens_of_a_neurons_lists(open_page: Open, site: Path, made: Model) -> None:
    tab = open_finder(open_page, site)
    layer, neuron = rows(tab)[0]
    tab.locator("#finder-table tbody button:has-text('tokens')").first.click()
    tab.locator(".own-lists dl").wait_for()
    shown = {
        row.locator("dt").inner_text(): row.locator("dd").inner_text() for row in tab.locator(".own-lists dl div").all()
    }
    for (case, quantity), text in {
        (case, quantity): shown.get(f"{quantity.value} {case.value.replace('_', ' ').replace('-', '−')}", "")
        for case, quantity in LISTS
    }.items():
        at = (neuron, case.index, quantity.index)
        summary = made.summaries[layer]
        filled = int((summary.extreme_example[at] >= 0).sum())
        assert sum(int(number) for number in re.findall(r" (\d+)(?= |$)", text)) == filled


def test_a_choice_made_while_the_search_is_typed_is_not_lost(open_page: Open, site: Path) -> None:
    tab = open_finder(open_page, site)
    tab.evaluate("""() => {
      const set = (id, value) => {
        const one = document.getElementById(id);
        one.value = value;
        one.dispatchEvent(new Event("input", { bubbles: true }));
      };
      set("search", "don"); set("ask-times", "2");
    }""")
    tab.locator("#asked", has_text="neurons by").wait_for(timeout=10_000)


def test_by_measured_effect(open_page: Open, made: Model, tmp_path: Path) -> None:
    finder = made.write(tmp_path, effects={1: {7: 0.25, 3: 0.0}, 2: {5: 0.5}})
    facts = [("k", "16")]
    html = render_index(run="demo", model="m", n_layers=3, d_mlp=40, cards=[], finder=finder, facts=facts)
    (tmp_path / "index.html").write_text(html, encoding="utf-8")
    tab = open_finder(open_page, tmp_path / "index.html")
    tab.get_by_role("button", name="effect (KL)", exact=True).click()
    head = tab.locator("#finder-table thead th").all_inner_texts()
    shown = tab.locator(f"#finder-table tbody td:nth-child({head.index('effect (KL)') + 1})").all_inner_texts()
    assert rows(tab)[:3] == [(2, 5), (1, 7), (1, 3)]
    assert [float(cell) for cell in shown[:3]] == [0.5, 0.25, 0]
    assert set(shown[3:]) == {"–"}


def test_nothing_found_says_why(open_page: Open, site: Path) -> None:
    tab = open_finder(open_page, site)
    for text, choices, why in [
        ("zebra", {}, "“zebra”. Tokens that contain it"), ("zebra", {"how": "part"}, "contains “zebra”"),
        ("don", {"how": "token", "times": "9"}, "asked were 9"),
    ]:  # fmt: skip
        ask(tab, text, **choices)
        assert rows(tab) == []
        assert why in tab.inner_text("#finder-empty")
    ask(tab, "", times="1")
    tab.fill("[name=from]", "2")
    tab.fill("[name=to]", "1")
    assert "the layers leave none" in tab.inner_text("#finder-empty")
    ask(tab, "l1/n9")
    assert "snakemake --cores 2 results/demo/site/L1/N9.html" in tab.inner_text("#asked")
    assert "No page names" in tab.inner_text("#pages")
    ask(tab, "weakening")
    tab.locator("#asked button", has_text="class").first.click()
    assert "class=" in tab.url


def test_a_point_of_the_picture_names_its_neurons(open_page: Open, site: Path) -> None:
    tab = open_finder(open_page, site)
    tab.locator("#scatter").scroll_into_view_if_needed()
    box = tab.locator("#scatter").bounding_box()
    for x in np.linspace(0.4, 0.6, 9):
        tab.mouse.click(box["x"] + x * box["width"], box["y"] + 0.45 * box["height"])
        if "here:" in tab.inner_text("#here"):
            break
    assert re.search(r"\d neurons? here: L\d", tab.inner_text("#here"))
    assert "range" not in tab.url


def test_a_region_of_the_scatter_is_a_filter(open_page: Open, site: Path, made: Model) -> None:
    tab = open_finder(open_page, site)
    box = tab.locator("#scatter").bounding_box()
    tab.locator("#scatter").scroll_into_view_if_needed()
    box = tab.locator("#scatter").bounding_box()
    tab.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.3 * box["height"])
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.95 * box["width"], box["y"] + 0.8 * box["height"])
    tab.mouse.up()
    limits = [float(field.input_value()) for field in tab.locator("#ranges input").all()]
    cosine = np.concatenate([weights.cosine for weights in made.weights]).astype(np.float16).astype(float)
    inside = (cosine[:, 0] >= limits[0]) & (cosine[:, 0] <= limits[1])
    inside &= (cosine[:, 1] >= limits[2]) & (cosine[:, 1] <= limits[3])
    assert 0 < inside.sum() < 120
    assert set(rows(tab)) == {divmod(int(i), 40) for i in np.flatnonzero(inside)}
    frame, box = tab.locator("#brush").bounding_box(), tab.locator("#scatter").bounding_box()
    assert frame["width"] == pytest.approx(0.45 * box["width"], abs=4)
    assert frame["y"] == pytest.approx(box["y"] + 0.3 * box["height"], abs=4)


def test_the_address_keeps_filters_sorting_and_region(open_page: Open, site: Path, made: Model) -> None:
    tab = open_finder(open_page, site)
    tab.select_option("[name=class]", str(RWClass.ORTHOGONAL_OUTPUT.index))
    tab.fill("[name=to]", "1")
    tab.select_option("[name=x]", "share gate+")
    tab.click("#add-range")
    tab.locator("#ranges select").select_option("norm w_out")
    tab.locator("#ranges input").nth(0).fill("0.8")
    tab.get_by_role("button", name="norm w_in", exact=True).click()
    tab.get_by_role("button", name="norm w_in", exact=True).click()
    tab.fill("#search", "L1")
    found = rows(tab)
    norm = np.concatenate([weights.norm for weights in made.weights]).astype(np.float16)
    places = [40 * layer + neuron for layer, neuron in found]
    assert 0 < len(found) < 80
    assert norm[places, 2].min() >= 0.8
    assert norm[places, 1].tolist() == sorted(norm[places, 1].tolist())
    again = open_page(site, "#" + tab.url.partition("#")[2], ready="html.finder-ready")
    assert rows(again) == found
    assert again.url == tab.url
    assert again.input_value("[name=x]") == "share gate+"
    assert again.input_value("#search") == "L1"
    again.click("#finder-reset")
    assert "class" not in again.url
    assert "range" not in again.url


def test_wrong_addresses_of_the_finder_are_ignored(open_page: Open, site: Path) -> None:
    wrong = "#class=no&range=x:1:2&range=norm w_in:a:b&sort=__proto__&x=y&from=-1&order=1&range=:::"
    tab = open_page(site, wrong, ready="html.finder-ready")
    assert len(rows(tab)) == 120


def test_the_way_to_a_neuron_that_may_have_no_page(open_page: Open, site: Path) -> None:
    tab = open_page(site, "#go=L0/N3")
    assert "snakemake --cores 2 results/demo/site/L0/N3.html" in tab.inner_text("#picked")
    tab.goto(site.as_uri() + "#go=L99/N3")
    tab.locator("#picked", has_text="There is no such neuron").wait_for()
    tab.goto(site.as_uri() + "#go=L1/N7")
    assert arrives(tab, PAGES[1])


def test_rows_lead_to_the_page_or_to_its_command(open_page: Open, site: Path) -> None:
    tab = open_finder(open_page, site)
    while tab.locator("#finder-more").is_visible():
        tab.click("#finder-more")
    tab.locator("#finder-table tbody tr button").first.click()
    assert "snakemake --cores 2 results/demo/site/L" in tab.inner_text("#finder-table tbody code")
    tab.locator('#finder-table a[href="L1/N7.html"]').click()
    assert arrives(tab, PAGES[1])


def test_an_index_whose_data_are_gone_says_so(browser: Any, site: Path, tmp_path: Path) -> None:
    alone = tmp_path / "index.html"
    alone.write_bytes(site.read_bytes())
    tab = browser.new_page()
    tab.goto(alone.as_uri())
    tab.locator("#finder-found", has_text="cannot be read").wait_for(state="attached")
    tab.close()


def test_altered_data_are_never_shown(browser: Any, site: Path, tmp_path: Path) -> None:
    """Bits of a layer's data turned over, a script that ends early, and the data of another layer in their place."""
    finder = tmp_path / "site/finder"
    shutil.copytree(site.parent, finder.parent)
    whole, rng = (finder / "L1.js").read_bytes(), np.random.default_rng(0)
    inside = rng.integers(8 * whole.index(b'"') + 8, 8 * whole.rindex(b'"') - 40, 8)  # the last digits hold no data
    texts = [flip(whole, bit) for bit in inside.tolist()] + [
        whole.replace(b'"', b"'", 1),
        (finder / "L0.js").read_bytes(),
    ]
    for text in texts:
        (finder / "L1.js").write_bytes(text)
        tab = browser.new_page()
        tab.goto((finder.parent / "index.html").as_uri())
        tab.locator("#finder-found", has_text="cannot be read").wait_for(state="attached")
        tab.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_the_index(open_page: Open, site: Path, axe: str, theme: str) -> None:
    tab = open_page(site, ready="html.finder-ready", color_scheme=theme, bypass_csp=True)
    tab.evaluate(axe)
    found = tab.evaluate("axe.run().then((found) => found.violations)")
    assert [(one["id"], [node["html"] for node in one["nodes"][:3]]) for one in found] == []


def test_nothing_on_the_index_is_wider_than_a_phone(open_page: Open, site: Path) -> None:
    tab = open_page(site, ready="html.finder-ready", viewport={"width": 360, "height": 740})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_finder_at_full_size(open_page: Open, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = tuple({"".join(rng.choice(list("etaoinshr"), rng.integers(2, 8))) for _ in range(20_000)})
    small = model(layers=1, neurons=11_008, words=words, k=16)
    large = Model(words, small.rows, small.summaries * 32, small.weights * 32)
    finder = large.write(tmp_path)
    assert finder["rows"] == 352_256
    index = tmp_path / "index.html"
    index.write_text(
        render_index(run="demo", model="m", n_layers=32, d_mlp=11_008, cards=[], finder=finder), encoding="utf-8"
    )
    size = sum(file.stat().st_size for file in tmp_path.rglob("*.js"))
    tab = open_page(index)
    ready = tab.evaluate("performance.now()")
    tab.wait_for_selector("html.finder-ready")
    loaded = tab.evaluate("performance.getEntriesByName('finder-ready')[0].startTime")
    word = words[int(small.rows.ids[0][1]) - 1]
    took = {}
    for how, text in (("token", word), ("part", "ea")):
        tab.select_option("#ask-how", how)
        began = tab.evaluate("performance.now()")
        tab.fill("#search", text)
        tab.locator("#asked", has_text=" neurons by").wait_for()
        took[how] = tab.evaluate("performance.now()") - began
        tab.fill("#search", "")
        tab.locator("#finder-found", has_text="352,256 neurons").wait_for()
    tab.fill("[name=from]", "3")
    step = tab.evaluate("performance.getEntriesByName('finder').at(-1).duration")
    heap = tab.evaluate("performance.memory.usedJSHeapSize")
    print(
        f"index: usable after {ready:.0f} ms, columns after {loaded:.0f} ms, a filter {step:.0f} ms, a token "
        f"{took['token']:.0f} ms, a part {took['part']:.0f} ms; {size / 1e6:.1f} MB on disk, {heap / 1e6:.0f} MB in use"
    )
    assert took["token"] < 3_000
    assert took["part"] < 30_000
    assert heap < 500e6
    assert ready < 5_000
    assert loaded < 30_000
    assert step < 1_500
