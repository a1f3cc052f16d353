"""What the server logs of requests and runs, one line each."""

import http.client
import json
import logging

import pytest
from openai import APIStatusError, DefaultHttpxClient, OpenAI
from serving import Serving, memory_store
from waiting import wait_for

from moa_graph import MoAConfig
from moa_graph.server.log_format import create_formatter
from moa_graph.server.service import ServerLimits

ASKED = [{"role": "user", "content": "QUESTION"}]
BODY = {"model": "mine", "messages": ASKED}
CHAT = "/v1/chat/completions"
KEY = "MARKED-9f3b77c1d2-KEY"


@pytest.fixture
def log(caplog):
    """The lines of requests and runs: their text, and their fields."""
    caplog.set_level(logging.INFO, "moa_graph.server")

    def read(count=1):
        wait_for(lambda: len(lines()) >= count)
        return lines()

    def lines():
        told = [record for record in caplog.records if hasattr(record, "moa_fields")]
        return [(record.getMessage(), record.moa_fields) for record in told]

    return read


@pytest.fixture
def mixture(server):
    def make(**options):
        def agent(name):
            return {"model": f"openai:{name}", "base_url": server.url, "max_retries": 0}

        return MoAConfig(
            name="mine",
            layers=[{"a": agent("a"), "b": agent("b")}],
            aggregator=agent("w"),
            **options,
        )

    return make


def ask(serving, *, key="any", **options):
    plain = DefaultHttpxClient(verify=False)
    with OpenAI(
        base_url=f"{serving.url}/v1", api_key=key, max_retries=0, http_client=plain
    ) as client:
        answer = client.chat.completions.create(**BODY | options)
        return [*answer] if options.get("stream") else answer


@pytest.mark.parametrize("stream", [False, True])
def test_line_says_who_asked_what_it_took_and_what_it_cost(stream, log, mixture, server):
    prices = {f"openai:{name}": (100, 100) for name in "abw"}
    with Serving(mixture(prices=prices), api_key=KEY) as serving:
        ask(serving, key=KEY, stream=stream, extra_headers={"x-request-id": "mine-1"})
        ((text, fields),) = log()
    assert (fields["event"], fields["request_id"], fields["key"]) == ("request", "mine-1", None)
    assert (fields["method"], fields["path"], fields["model"]) == ("POST", CHAT, "mine")
    assert (fields["status"], fields["ending"], fields["run"]) == (200, "complete", "answered")
    assert (fields["error"], fields["causes"]) == (None, {})
    assert fields["prompt_tokens"] > fields["completion_tokens"] > 0
    total = fields["prompt_tokens"] + fields["completion_tokens"]
    assert fields["cost_dollars"] == pytest.approx(total * 100 / 1e6)
    assert fields["cost_is_complete"]
    assert 0 <= fields["first_byte_seconds"] <= fields["seconds"]
    assert (fields["first_token_seconds"] is not None) is stream
    assert text.startswith(f"mine-1 - 127.0.0.1 POST {CHAT} mine 200 ")
    assert f"{fields['prompt_tokens']:,} + {fields['completion_tokens']:,} tokens, ~$" in text
    assert "QUESTION" not in text


@pytest.mark.parametrize("route", ["easy", "full"])
def test_line_counts_what_a_router_took(route, log, mixture, server):
    server.model("chooser", reply=json.dumps({"route": route}))
    agent = {"base_url": server.url, "max_retries": 0}
    router = {
        "model": {"model": "openai:chooser", **agent},
        "easy": {"model": "openai:easy", **agent},
    }
    prices = {f"openai:{name}": (100, 100) for name in ("a", "b", "w", "chooser", "easy")}
    with Serving(mixture(prices=prices, router=router), api_key=KEY) as serving:
        answer = ask(serving, key=KEY)
        ((_, fields),) = log()
    assert fields["prompt_tokens"] == answer.usage.prompt_tokens
    assert fields["cost_dollars"] == pytest.approx(answer.usage.total_tokens * 100 / 1e6)
    assert fields["cost_is_complete"]


def test_line_counts_all_answers_of_a_request(log, mixture, server):
    with Serving(mixture(), api_key=KEY) as serving:
        answer = ask(serving, key=KEY, n=3)
        ((_, fields),) = log()
    assert fields["prompt_tokens"] == answer.usage.prompt_tokens
    assert fields["completion_tokens"] == answer.usage.completion_tokens
    assert (fields["run"], len(server.calls_of("w"))) == ("answered", 3)


def test_failed_proposer_is_named_with_its_cause_and_no_words_of_its_provider(log, mixture, server):
    server.model("b", always=429)
    with Serving(mixture()) as serving:
        ask(serving)
        ((text, fields),) = log()
    assert (fields["status"], fields["run"]) == (200, "degraded")
    assert fields["causes"] == {"layer_1_b": "429 Too Many Requests"}
    assert text.endswith("failed: layer_1_b (429 Too Many Requests)")


def test_run_without_an_answer_has_its_status_and_code(log, mixture, server):
    server.model("*", always=400)
    with Serving(mixture()) as serving:
        with pytest.raises(APIStatusError):
            ask(serving)
        ((text, fields),) = log()
    assert (fields["status"], fields["error"], fields["run"]) == (502, "quorum_lost", "failed")
    assert "502 quorum_lost" in text


@pytest.mark.parametrize("fault", [400, "truncate"])
def test_stream_that_failed_is_no_200(fault, log, mixture, server):
    server.model("w", always=fault)
    with Serving(mixture()) as serving:
        with pytest.raises(Exception, match=r".+"):
            ask(serving, stream=True)
        ((text, fields),) = log()
    assert (fields["status"], fields["ending"], fields["run"]) == (200, "failed", "failed")
    assert " 200, failed " in text


@pytest.mark.parametrize("stream", [False, True])
def test_client_that_hangs_up_is_told_of_and_its_run_is_cancelled(stream, log, mixture, server):
    server.model("b", always="hang")
    with Serving(mixture()) as serving:
        connection = http.client.HTTPConnection(*serving.url.removeprefix("http://").split(":"))
        headers = {"content-type": "application/json"}
        connection.request("POST", CHAT, json.dumps(BODY | {"stream": stream}), headers)
        wait_for(lambda: server.calls_of("b"))
        connection.close()
        ((text, fields),) = log()
    assert (fields["status"], fields["ending"]) == (200 if stream else 499, "hung up")
    assert ", hung up " in text


def test_stream_that_the_server_ends_is_stopped(log, mixture, server):
    server.model("b", always="hang")
    with Serving(mixture()) as serving:
        connection = http.client.HTTPConnection(*serving.url.removeprefix("http://").split(":"))
        headers = {"content-type": "application/json"}
        connection.request("POST", CHAT, json.dumps(BODY | {"stream": True}), headers)
        wait_for(lambda: server.calls_of("b"))
        serving.stop()
        connection.getresponse().read()
        ((_, fields),) = log()
        connection.close()
    assert (fields["status"], fields["ending"], fields["run"]) == (200, "stopped", "cancelled")


def test_refused_request_has_its_code_and_no_model_of_the_clients_making(log, mixture):
    with Serving(mixture()) as serving:
        with pytest.raises(APIStatusError):
            ask(serving, model="SECRET")
        ((text, fields),) = log()
    assert (fields["status"], fields["error"]) == (404, "model_not_found")
    assert fields["model"] is None
    assert "SECRET" not in text


def test_request_with_a_wrong_parameter_names_its_mixture(log, mixture):
    with Serving(mixture()) as serving:
        with pytest.raises(APIStatusError):
            ask(serving, logit_bias={"1": 5})
        ((_, fields),) = log()
    assert (fields["status"], fields["error"]) == (400, "unsupported_parameter")
    assert fields["model"] == "mine"


def test_run_that_goes_on_without_its_request_has_a_line_of_its_own(log, mixture, server):
    with Serving(mixture(), store=memory_store()) as serving:
        connection = http.client.HTTPConnection(*serving.url.removeprefix("http://").split(":"))
        body = json.dumps({"question": "QUESTION"})
        connection.request(
            "POST", "/api/ask", body, {"content-type": "application/json", "x-request-id": "it"}
        )
        connection.getresponse().read()
        asked, (text, fields) = log(2)
        connection.close()
    assert (asked[1]["event"], asked[1]["path"]) == ("request", "/api/ask")
    assert (fields["event"], fields["request_id"], fields["model"]) == ("run", "it", "mine")
    assert fields["run"] == "answered"
    assert fields["prompt_tokens"] > 0
    assert text.startswith("it run of mine answered ")
    assert "QUESTION" not in text


def test_request_that_joins_a_run_says_whose_and_the_run_is_told_once(log, mixture, server):
    go_on = []
    server.model("w", until=lambda: go_on)
    with Serving(mixture(), limits=ServerLimits(rejoin=60.0)) as serving:
        first = http.client.HTTPConnection(*serving.url.removeprefix("http://").split(":"))
        second = http.client.HTTPConnection(*serving.url.removeprefix("http://").split(":"))
        headers = {"content-type": "application/json"}
        first.request("POST", CHAT, json.dumps(BODY), headers | {"x-request-id": "one"})
        wait_for(lambda: server.calls_of("w"))
        first.close()
        log(1)
        second.request("POST", CHAT, json.dumps(BODY), headers | {"x-request-id": "two"})
        go_on.append(True)
        assert second.getresponse().status == 200
        ((_, hung_up), (text, joined)) = log(2)
        second.close()
    assert (hung_up["ending"], hung_up["status"], "run" in hung_up) == ("hung up", 499, False)
    assert (joined["joined"], joined["ending"], joined["run"]) == ("one", "complete", "answered")
    assert joined["prompt_tokens"] > 0
    assert ", joined one, " in text


def test_several_answers_are_one_run(log, mixture, server):
    with Serving(mixture()) as serving:
        ask(serving, n=2)
        ((_, fields),) = log()
    assert (fields["ending"], fields["run"]) == ("complete", "answered")
    usages = [sum(len(str(m["content"]).split()) for m in call.messages) for call in server.calls]
    assert fields["prompt_tokens"] == sum(usages)


def test_lines_are_text_with_the_time_or_json(log, mixture, server, caplog):
    with Serving(mixture()) as serving:
        ask(serving)
        log()
    record = next(record for record in caplog.records if hasattr(record, "moa_fields"))
    text = create_formatter("text").format(record)
    told = json.loads(create_formatter("json").format(record))
    assert text == f"moa: {told['time']} {record.getMessage()}"
    assert told["time"].endswith("Z")
    assert told["level"] == "info"
    assert record.moa_fields.items() <= told.items()
    warning = logging.makeLogRecord({"msg": "of %s", "args": ("note",), "levelname": "WARNING"})
    told = json.loads(create_formatter("json").format(warning))
    assert (told["event"], told["level"], told["message"]) == ("message", "warning", "of note")
