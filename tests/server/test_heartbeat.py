"""White space before an answer that takes long."""

import json

from openai import DefaultHttpxClient, OpenAI
from raw_client import post_raw
from serving import Serving, http
from waiting import PATIENCE, wait_for

from moa_graph.server.service import ServerLimits

CHAT = "/v1/chat/completions"
BODY = {"model": "mine", "messages": [{"role": "user", "content": "q"}]}
SOON = ServerLimits(heartbeat=0.05)


def read_answer(serving, gate, body=BODY):
    """Read an answer that goes on when two beats have been heard; give head and body."""
    with post_raw(serving, CHAT, body, Connection="close") as connection:
        data = b""
        while part := connection.recv(65536):
            data += part
            if data.count(b"1\r\n \r\n") >= 2:  # two pieces of one byte
                gate.set()
    head, _, body = data.decode().partition("\r\n\r\n")
    return head, "".join(body.split("\r\n")[1::2])


def test_answer_that_takes_long_begins_with_white_space(mixture, gate):
    with Serving(mixture, limits=SOON) as serving:
        head, body = read_answer(serving, gate)
    assert head.startswith("HTTP/1.1 200 ")
    assert "content-type: application/json" in head
    assert "x-accel-buffering: no" in head
    assert body.startswith("  ")
    assert json.loads(body)["choices"][0]["message"]["content"] == "w on q"


def test_openai_client_reads_an_answer_with_white_space(mixture, server, gate):
    hooks = {"response": [lambda _: gate.set()]}  # the status comes with the first white space
    with Serving(mixture, limits=SOON) as serving:
        plain = DefaultHttpxClient(verify=False, event_hooks=hooks)
        client = OpenAI(base_url=f"{serving.url}/v1", api_key="any", http_client=plain)
        with client:
            raw = client.chat.completions.with_raw_response.create(**BODY)
    assert raw.text.startswith(" ")
    assert raw.parse().choices[0].message.content == "w on q"


def test_failure_after_white_space_is_an_error_with_status_200(mixture, server, gate):
    server.model("w", always=500)
    with Serving(mixture, limits=SOON) as serving:
        head, body = read_answer(serving, gate)
    assert head.startswith("HTTP/1.1 200 ")
    assert json.loads(body)["error"]["code"] == "no_final_answer"


def test_what_is_said_before_has_its_status(mixture, server):
    server.model("a", always=400)
    with Serving(mixture, limits=ServerLimits(heartbeat=PATIENCE)) as serving:
        for body, status in ((BODY, 502), (BODY | {"model": "x"}, 404)):
            assert http.post(serving.url + CHAT, json=body).status_code == status


def test_stream_gets_its_comments_and_no_white_space(mixture, server, gate):
    limits = ServerLimits(heartbeat=0.02, keep_alive=0.1)
    with (
        Serving(mixture, limits=limits) as serving,
        http.stream("POST", serving.url + CHAT, json=BODY | {"stream": True}) as response,
    ):
        lines = []
        for line in response.iter_lines():
            lines.append(line)
            if sum(each.startswith(": ping") for each in lines) > 1:
                gate.set()
    assert response.headers["content-type"].startswith("text/event-stream")
    assert not [line for line in lines if line.startswith(" ")]


def test_client_that_hangs_up_meanwhile_ends_the_run(mixture, server, gate):
    with Serving(mixture, limits=SOON) as serving:
        with post_raw(serving, CHAT, BODY) as connection:
            while b" \r\n" not in connection.recv(65536):
                pass
            wait_for(lambda: server.calls_of("a"))
        server.settle()
    assert not server.calls_of("a")[0].answered


def test_white_space_goes_before_the_answer_of_an_earlier_try(mixture, server, gate):
    limits = ServerLimits(heartbeat=0.05, rejoin=PATIENCE)
    with Serving(mixture, limits=limits) as serving:
        with post_raw(serving, CHAT, BODY) as connection:
            while b" \r\n" not in connection.recv(65536):
                pass
        head, body = read_answer(serving, gate)
    assert head.startswith("HTTP/1.1 200 ")
    assert json.loads(body)["choices"][0]["message"]["content"] == "w on q"
    assert len(server.calls_of("a")) == 1
