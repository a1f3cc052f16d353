"""Runs that wait for others: in order, without the clients that have gone, and heard of."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import page_client
import pytest
from openai import AsyncOpenAI
from raw_client import post_raw
from serving import Serving, http, memory_store
from waiting import PATIENCE, wait_for

from moa_graph.server.service import ServerLimits

CHAT = "/v1/chat/completions"


@contextmanager
def serve(mixture, **limits):
    limits = ServerLimits(**{"runs": 1, "queue": 3, "keep_alive": 0.05} | limits)
    with Serving(mixture, limits=limits, store=memory_store()) as serving:
        yield serving


def question(text, **fields):
    return {"model": "mine", "messages": [{"role": "user", "content": text}]} | fields


def ask(serving, text, **fields):
    return httpx.post(serving.url + CHAT, json=question(text, **fields), timeout=PATIENCE)


def asked(server):
    """Give the questions that the proposer was asked, in order."""
    return [call.messages[-1]["content"] for call in server.calls_of("a")]


def test_more_runs_than_the_limit_wait_in_order_and_those_beyond_are_refused(mixture, server, gate):
    with serve(mixture) as serving, ThreadPoolExecutor() as pool, gate:
        answers = []
        for number in range(4):
            answers.append(pool.submit(ask, serving, str(number), stream=number % 2 == 1))
            wait_for(lambda number=number: len(serving.service.runs) > number)
        refused = ask(serving, "5")
        gate.set()
        texts = [each.result().text for each in answers]
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("requests", "too_many_runs")
    assert error["message"] == "1 runs are going on and 3 wait, which is the most; try again later"
    assert int(refused.headers["retry-after"]) > 0
    assert all("w" in text for text in texts)
    assert asked(server) == ["0", "1", "2", "3"]


def test_many_clients_at_once_are_all_answered(mixture, server):
    async def run(url):
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
            calls = (client.chat.completions.create(**question(str(n))) for n in range(16))
            return await asyncio.gather(*calls)

    with serve(mixture, runs=2, queue=14) as serving:
        assert len(asyncio.run(run(serving.url))) == 16
    assert len(server.calls_of("a")) == 16


@pytest.mark.parametrize("stream", [True, False])
def test_client_that_hangs_up_leaves_the_queue_and_asks_nobody(stream, mixture, server, gate):
    with serve(mixture, queue=1) as serving, ThreadPoolExecutor() as pool, gate:
        first = pool.submit(ask, serving, "first")
        wait_for(lambda: server.calls_of("a"))
        with post_raw(serving, CHAT, question("gone", stream=stream)):
            wait_for(lambda: len(serving.service.runs) == 2)
        wait_for(lambda: len(serving.service.runs) == 1)
        last = pool.submit(ask, serving, "last")
        wait_for(lambda: len(serving.service.runs) == 2)
        gate.set()
        assert (first.result().status_code, last.result().status_code) == (200, 200)
    assert asked(server) == ["first", "last"]


def test_stream_that_waits_is_kept_alive_by_comments(mixture, server, gate):
    with serve(mixture) as serving, ThreadPoolExecutor() as pool, gate:
        pool.submit(ask, serving, "first")
        wait_for(lambda: server.calls_of("a"))
        with post_raw(serving, CHAT, question("second", stream=True)) as connection:
            text = b""
            while text.count(b"\n: ping") < 2:
                text += connection.recv(65536)
        assert text.startswith(b"HTTP/1.1 200")
        assert asked(server) == ["first"]
        gate.set()


@pytest.mark.parametrize("stream", [True, False])
def test_server_that_stops_tells_those_in_the_queue(stream, mixture, server, gate):
    with serve(mixture) as serving, ThreadPoolExecutor() as pool, gate:
        pool.submit(ask, serving, "first")
        wait_for(lambda: server.calls_of("a"))
        waiting = pool.submit(ask, serving, "second", stream=stream)
        wait_for(lambda: len(serving.service.runs) == 2)
        serving.stop()
        response = waiting.result()
    text = response.text.strip().rpartition("data: ")[2]
    assert response.status_code == (200 if stream else 503)
    assert json.loads(text)["error"]["code"] == "stopping"
    assert asked(server) == ["first"]


def test_page_waits_in_the_same_queue_and_says_so(mixture, server, gate):
    with serve(mixture) as serving, ThreadPoolExecutor() as pool, gate:
        first = pool.submit(ask, serving, "first")
        wait_for(lambda: server.calls_of("a"))
        api, events = f"{serving.url}/api", []
        thread = http.post(f"{api}/ask", json={"question": "second"}).json()["thread"]
        with httpx.stream("GET", f"{api}/events?id={thread}", timeout=PATIENCE) as response:
            for line in response.iter_lines():
                if line.startswith("data: "):
                    events.append(json.loads(line.removeprefix("data: ")))
                    gate.set()
        assert first.result().status_code == 200
    assert [events[0]["waiting"], events[-1]["waiting"]] == [True, False]
    assert events[-1]["status"] == "answered"
    assert asked(server) == ["first", "second"]


def test_page_stops_a_run_that_waits_and_its_question_stays(mixture, server, gate):
    with (
        serve(mixture) as serving,
        httpx.Client(base_url=serving.url, timeout=PATIENCE) as client,
        ThreadPoolExecutor() as pool,
        gate,
    ):
        first = pool.submit(ask, serving, "first")
        wait_for(lambda: server.calls_of("a"))
        thread = page_client.ask(client, "second")
        assert client.post("/api/stop", json={"thread": thread}).status_code == 200
        shown = page_client.show(client, thread)
        assert (shown["question"], shown["outcome"]) == ("second", "stopped")
        assert client.post("/api/resume", json={"thread": thread}).status_code == 200
        gate.set()
        assert page_client.finished(client, thread)["outcome"] == "answered"
        assert first.result().status_code == 200
    assert asked(server) == ["first", "second"]
