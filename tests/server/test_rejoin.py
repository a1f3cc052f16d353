"""A client that asks again gets the answer of the run that its first try began."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import openai
import pytest
from openai import DefaultHttpxClient, OpenAI
from raw_client import post_raw
from serving import Serving, http
from waiting import wait_for

from moa_graph.server.auth import ApiKey
from moa_graph.server.service import ServerLimits

CHAT = "/v1/chat/completions"
BODY = {"model": "mine", "messages": [{"role": "user", "content": "q"}]}
LONG = 600.0  # seconds: longer than any test


@contextmanager
def serve(mixture, rejoin=LONG, **options):
    with Serving(mixture, limits=ServerLimits(rejoin=rejoin, runs=4), **options) as serving:
        yield serving


def hang_up(serving, server, body=BODY, calls=1, **headers):
    """Ask, and hang up once the proposer is asked."""
    with post_raw(serving, CHAT, body, **headers):
        wait_for(lambda: len(server.calls_of("a")) == calls)


def ask(serving, body=BODY, **headers):
    return http.post(serving.url + CHAT, json=body, headers=headers)


def answer_of(response):
    """Give the text of an answer, streamed or not, and whether it was joined."""
    assert response.status_code == 200, response.text
    is_joined = response.headers.get("x-moa-rejoined") == "true"
    if response.headers["content-type"] == "application/json":
        return response.json()["choices"][0]["message"]["content"], is_joined
    chunks = [
        line.removeprefix("data: ") for line in response.text.split("\n") if "choices" in line
    ]
    deltas = [json.loads(chunk)["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant"
    assert response.text.endswith("data: [DONE]\n\n")
    return "".join(delta.get("content") or "" for delta in deltas), is_joined


@pytest.mark.parametrize("stream", [True, False])
def test_same_request_gets_the_answer_of_the_run_that_goes_on(stream, mixture, server, gate):
    body = BODY | {"stream": stream}
    with serve(mixture) as serving, ThreadPoolExecutor() as pool, gate:
        hang_up(serving, server, body)
        again = pool.submit(ask, serving, {"stream": stream} | BODY)  # its keys in another order
        gate.set()
        assert answer_of(again.result()) == ("w on q", True)
        assert answer_of(ask(serving, body)) == ("w on q", False)
    assert len(server.calls_of("a")) == 2


@pytest.mark.parametrize("stream", [True, False])
def test_answer_that_came_while_nobody_listened_is_kept(stream, mixture, server, gate):
    body = BODY | {"stream": stream}
    with serve(mixture) as serving:
        hang_up(serving, server, body)
        gate.set()
        wait_for(lambda: not serving.service.runs)
        assert answer_of(ask(serving, body)) == ("w on q", True)
        assert answer_of(ask(serving, body)) == ("w on q", False)
    assert len(server.calls_of("a")) == 2


def test_three_tries_of_a_client_that_times_out_are_one_run(mixture, server, gate):
    with serve(mixture) as serving:
        plain = DefaultHttpxClient(verify=False)
        url = f"{serving.url}/v1"
        with OpenAI(base_url=url, api_key="any", http_client=plain, max_retries=2) as client:
            with pytest.raises(openai.APITimeoutError):
                client.chat.completions.create(**BODY, timeout=0.3)
            gate.set()
            answer = client.chat.completions.create(**BODY)
    assert answer.choices[0].message.content == "w on q"
    assert len(server.calls) == 2


def test_run_is_cancelled_when_nobody_comes_back(mixture, server, gate):
    with serve(mixture, rejoin=0.1) as serving:
        hang_up(serving, server)
        wait_for(lambda: server.calls_of("a")[0].ended)
        assert not server.calls_of("a")[0].answered
        wait_for(lambda: not serving.service.runs)
        gate.set()
        assert answer_of(ask(serving)) == ("w on q", False)


def test_without_the_option_a_run_ends_with_its_client(mixture, server, gate):
    with serve(mixture, rejoin=0.0) as serving:
        hang_up(serving, server)
        wait_for(lambda: server.calls_of("a")[0].ended)
        assert not server.calls_of("a")[0].answered


def test_two_who_ask_the_same_at_once_have_a_run_each(mixture, server, gate):
    with serve(mixture) as serving, ThreadPoolExecutor() as pool, gate:
        answers = [pool.submit(ask, serving) for _ in range(3)]
        wait_for(lambda: len(server.calls_of("a")) == 3)
        gate.set()
        assert [answer_of(each.result()) for each in answers] == [("w on q", False)] * 3


def test_two_tries_that_were_given_up_are_joined_one_by_one(mixture, server, gate):
    with serve(mixture) as serving, ThreadPoolExecutor() as pool, gate:
        hang_up(serving, server, calls=1)
        with post_raw(serving, CHAT, BODY), post_raw(serving, CHAT, BODY):
            wait_for(lambda: len(server.calls_of("a")) == 2)  # one of them joined
        again = [pool.submit(ask, serving) for _ in range(2)]
        gate.set()
        assert [answer_of(each.result())[1] for each in again] == [True, True]
    assert len(server.calls_of("a")) == 2


def test_idempotency_key_joins_also_while_the_first_client_listens(mixture, server, gate):
    name = {"Idempotency-Key": "one"}
    with serve(mixture) as serving, ThreadPoolExecutor() as pool, gate:
        first = pool.submit(ask, serving, **name)
        wait_for(lambda: server.calls_of("a"))
        second = pool.submit(ask, serving, **name)
        gate.set()
        wait_for(lambda: not serving.service.runs)
        third = ask(serving, **name)
        other = ask(serving, **{"Idempotency-Key": "two"})
        texts = [answer_of(each) for each in (first.result(), second.result(), third, other)]
    assert [text for text, _ in texts] == ["w on q"] * 4
    assert [is_joined for _, is_joined in texts] == [False, True, True, False]
    assert len(server.calls_of("a")) == 2


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY | {"temperature": 0.5}, {}),
        (BODY | {"stream": True}, {}),
        (BODY, {"authorization": "Bearer two"}),
    ],
)
def test_other_requests_and_other_keys_get_nothing_of_it(body, headers, mixture, server, gate):
    keys = [ApiKey("one"), ApiKey("two")]
    shown = {"authorization": "Bearer one"}
    with serve(mixture, api_keys=keys) as serving, ThreadPoolExecutor() as pool, gate:
        hang_up(serving, server, **shown)
        asked = pool.submit(ask, serving, body, **shown | headers)
        wait_for(lambda: len(server.calls_of("a")) == 2)
        gate.set()
        assert answer_of(asked.result())[1] is False


def test_failure_that_nobody_heard_is_not_repeated(mixture, server, gate):
    server.model("w", faults=[500])
    with serve(mixture) as serving:
        hang_up(serving, server)
        gate.set()
        wait_for(lambda: not serving.service.runs)
        assert answer_of(ask(serving)) == ("w on q", False)


def test_failure_is_told_to_who_came_back(mixture, server, gate):
    server.model("w", always=500)
    with serve(mixture) as serving, ThreadPoolExecutor() as pool, gate:
        hang_up(serving, server)
        again = pool.submit(ask, serving)
        gate.set()
        response = again.result()
    assert (response.status_code, response.headers["x-moa-rejoined"]) == (502, "true")
    assert response.json()["error"]["code"] == "no_final_answer"


def test_request_ids_are_those_of_each_request(mixture, server, gate):
    with serve(mixture) as serving, ThreadPoolExecutor() as pool, gate:
        hang_up(serving, server, **{"X-Request-Id": "first"})
        again = pool.submit(ask, serving, **{"x-request-id": "second"})
        gate.set()
        assert again.result().headers.get_list("x-request-id") == ["second"]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [(b"{", "application/json", 400), (b"{}", "text/plain", 415), (b"[" * 99_999, "a/b", 415)],
)
def test_what_is_refused_is_refused_as_ever(content, kind, status, mixture):
    with serve(mixture) as serving:
        for _ in range(2):
            response = http.post(
                serving.url + CHAT, content=content, headers={"content-type": kind}
            )
            assert response.status_code == status


def test_server_stops_while_a_run_has_no_client(mixture, server, gate):
    with serve(mixture) as serving:
        hang_up(serving, server)
    wait_for(lambda: server.calls_of("a")[0].ended)
    assert not server.calls_of("a")[0].answered
