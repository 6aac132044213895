"""Who is let in: token, Host, and where a request comes from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from gluscope.browse.guard import LOOPBACK, Guard
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

OWN = "http://127.0.0.1:8765"


@pytest.fixture
def client() -> Iterator[TestClient]:
    def refusal(status: int, line: str) -> PlainTextResponse:
        return PlainTextResponse(line, status)

    inner = Starlette(routes=[Route("/a", lambda request: PlainTextResponse("inside"), methods=["GET", "POST"])])
    with TestClient(Guard(inner, "right", LOOPBACK, refusal), base_url=OWN) as found:
        yield found


def test_without_the_token_nothing_is_shown(client: TestClient) -> None:
    assert client.get("/a").status_code == 403
    assert client.get("/a?token=wrong").status_code == 403
    assert client.get("/a?token=").status_code == 403
    assert client.get("/a", headers={"cookie": "gluscope=right; token=right"}).status_code == 403


def test_the_token_becomes_a_cookie_that_scripts_do_not_see_and_leaves_the_address(client: TestClient) -> None:
    answer = client.get("/a?x=1&token=right", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/a?x=1")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
    assert client.get("/a").text == "inside"


def test_a_redirect_stays_on_this_server(client: TestClient) -> None:
    answer = client.get(f"{OWN}//evil.example/a?token=right", follow_redirects=False)
    assert answer.headers["location"] == "/evil.example/a"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "[", "10.0.0.1"])
def test_another_name_of_the_server_is_refused(client: TestClient, host: str) -> None:
    client.get("/a?token=right")
    assert client.get("/a", headers={"host": host}).status_code == 421
    assert client.get("/a?token=right", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:8765", "LOCALHOST"])
def test_its_own_names_are_taken_with_any_port(client: TestClient, host: str) -> None:
    """Through a tunnel the port may be another one. (The cookie is the browser's for 127.0.0.1 alone.)"""
    client.get("/a?token=right")
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    assert client.get("/a", headers={"host": host, "cookie": cookie}).text == "inside"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},  # another user's server, reached through a tunnel as well
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_sites_pages_get_nothing(client: TestClient, headers: dict[str, str], method: str) -> None:
    client.get("/a?token=right")
    assert client.request(method, "/a", headers=headers).status_code == 403


def test_a_link_to_here_may_be_followed_and_a_form_not_sent(client: TestClient) -> None:
    client.get("/a?token=right")
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/a", headers=headers).text == "inside"
    assert client.post("/a", headers=headers).status_code == 403
    own: dict[str, Any] = {"origin": OWN, "sec-fetch-site": "same-origin"}
    assert client.post("/a", headers=own).text == "inside"


def test_no_answer_may_be_read_or_framed_by_others(client: TestClient) -> None:
    for answer in (client.get("/a"), client.get("/a?token=right")):
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-frame-options"] == "SAMEORIGIN"
        assert not [name for name in answer.headers if name.startswith("access-control")]
