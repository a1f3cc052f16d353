"""`moa ask --base-url`: a mixture of what a server serves."""

import pytest
from raw_responses import responding


def test_several_models_propose_and_the_first_aggregates(moa, server):
    server.listed = ["a", "b", "nomic-embed-text"]
    server.model("a", reply="final")
    done = moa("ask", "q", "--base-url", f"{server.url}/")
    assert (done.returncode, done.stdout) == (0, "final\n")
    assert done.stderr == f"moa: {server.url} serves a, b: each proposes, a aggregates\n"
    assert sorted(call.model for call in server.calls) == ["a", "a", "b"]
    assert not any("authorization" in call.headers and "sk-" in str(call) for call in server.calls)


def test_single_model_proposes_several_times_and_aggregates(moa, server):
    server.listed = ["solo"]
    done = moa("ask", "q", "--base-url", server.url, "--thread", "sky")
    assert done.returncode == 0
    assert "serves solo: it proposes 3 times and aggregates" in done.stderr
    assert [call.model for call in server.calls] == ["solo"] * 4
    moa("ask", "and then?", "--thread", "sky")  # its mixture is kept with it
    assert len(server.calls) == 8


def test_of_many_models_a_few_are_asked(moa, server):
    server.listed = [f"m{number}" for number in range(200)]
    done = moa("ask", "q", "--base-url", server.url)
    assert done.returncode == 0
    assert "serves 200 models: the first 6 propose (m0, m1, m2, m3, m4, m5), m0" in done.stderr
    assert len(server.calls) == 7


@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "it requires a key: name its variable"), (404, "expected the address of an OpenAI-")],
)
def test_list_that_is_refused_says_how_to_go_on(moa, status, told):
    with responding(b"{}", status=status) as url:
        done = moa("ask", "q", "--base-url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"with status {status}; {told}" in done.stderr
    assert "did you mean" not in done.stderr


def test_address_without_its_version_suggests_it(moa):
    with responding(b"<html></html>", "text/html") as url:
        done = moa("ask", "q", "--base-url", url.removesuffix("/v1"))
    assert done.stderr.endswith(f"; did you mean {url}?\n")


def test_chat_takes_what_is_served(moa, server):
    server.listed = ["solo"]
    server.model("solo", reply="final")
    assert moa("chat", "--base-url", server.url, stdin="q\n").stdout == "final\n"


@pytest.mark.parametrize("listed", [[], None])
def test_server_that_serves_nothing_is_told_in_a_line(moa, server, listed):
    server.listed = listed
    done = moa("ask", "q", "--base-url", server.url)
    assert (done.returncode, done.stdout, server.calls) == (1, "", [])
    assert done.stderr.startswith(f"moa: --base-url {server.url}: the server ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["http://127.0.0.1:1/v1"],
            "no server answers there: cannot reach http://127.0.0.1:1/v1/mod",
        ),
        (["localhost:8080"], "--base-url: expected a URL, such as"),
        ([""], "--base-url: expected a URL, such as"),
        (["http://me:secret@127.0.0.1:1/v1"], "--base-url: expected a URL without a password"),
        (["http://127.0.0.1:1/v1", "-p", "offline"], "not both"),
    ],
)
def test_address_that_cannot_be_asked_is_told_in_a_line(moa, words, message):
    done = moa("ask", "q", "--base-url", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1
