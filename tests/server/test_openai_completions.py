"""OpenAI's older Completions, as its client asks for them over real HTTP."""

import openai
import pytest
from serving import http
from waiting import wait_for

from moa_graph.server.service import ApiOptions

HEADER = "x-moa-ignored-parameters"


def create(client, **options):
    return client.completions.create(**{"model": "mine", "prompt": "q"} | options)


def read_stream(chunks):
    """Give the texts, and why they ended, by index."""
    texts, reasons = {}, {}
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] = texts.get(choice.index, "") + choice.text
        reasons[choice.index] = choice.finish_reason or reasons.get(choice.index)
    return texts, reasons


def test_prompt_is_the_message_of_a_user(client_of_mine, server):
    server.model("w", reply="the answer")
    completion = create(client_of_mine(), max_tokens=7, stop=["END"])
    (choice,) = completion.choices
    assert (choice.text, choice.finish_reason, choice.index) == ("the answer", "stop", 0)
    assert (completion.object, completion.model) == ("text_completion", "mine")
    assert completion.usage.completion_tokens == 8
    assert completion.moa["answered"] == 2
    assert server.calls_of("a")[0].messages == [{"role": "user", "content": "q"}]
    sent = server.calls_of("w")[0].body
    assert (sent["max_tokens"], sent["stop"]) == (7, ["END"])


def test_answer_is_streamed(client_of_mine, server):
    server.model("w", reply="two words", finish_reason="length")
    options = {"stream": True, "stream_options": {"include_usage": True}}
    *chunks, usage = create(client_of_mine(), **options)
    assert [chunk.choices[0].text for chunk in chunks] == ["two ", "words", ""]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, "length"]
    assert (usage.choices, usage.usage.completion_tokens) == ([], 8)
    assert chunks[-1].moa["answered"] == 2
    assert len({chunk.id for chunk in chunks}) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_each_prompt_has_its_answers_and_its_panel(stream, client_of_mine, server):
    server.model("w", reply=lambda body: f"on {body['messages'][-1]['content']}")
    answer = create(client_of_mine(), prompt=["p", "q"], n=2, stream=stream, echo=True)
    texts = read_stream([answer] if not stream else answer)[0]
    assert texts == {0: "pon p", 1: "pon p", 2: "qon q", 3: "qon q"}
    assert len(server.calls_of("a")) == 2
    assert len(server.calls_of("w")) == 4


def test_parameters_without_effect_are_named(client_of_mine):
    create = client_of_mine().completions.with_raw_response.create
    response = create(model="mine", prompt="q", user="ada", best_of=1, logprobs=None, suffix="")
    assert response.headers[HEADER] == "user"


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"prompt": []}, "prompt", "empty"),
        ({"prompt": 5}, "prompt", "got 5"),
        ({"prompt": [1, 2]}, "prompt", "expected texts, got tokens"),
        ({"prompt": [[1, 2]]}, "prompt", "expected texts, got tokens"),
        ({"prompt": [""]}, "prompt[0]", "at least 1 character"),
        ({"prompt": ["q"] * 17}, "prompt", "at most 16"),
        ({"prompt": ["q"] * 9, "n": 2}, "n", "at most 16 answers"),
        ({"best_of": 3}, "best_of", "others are not supported"),
        ({"suffix": "end"}, "suffix", "not supported by this server"),
        ({"echo": True, "logprobs": 1}, "logprobs", "not supported with `echo`"),
        ({"logprobs": -1}, "logprobs", "got -1"),
        ({"max_tokens": 0}, "max_tokens", "got 0"),
        ({"stream": "yes"}, "stream", 'got "yes"'),
        ({"model": "nope"}, "model", "no model 'nope'"),
    ],
)
def test_mistake_names_its_place(body, param, says, client_of_mine, server):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        create(client_of_mine(), extra_body=body)
    assert caught.value.param == param
    assert says in caught.value.message
    assert not server.calls


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_are_those_of_the_answer(stream, client_of_mine, server):
    top = [{"token": "no", "logprob": -2.0}]
    tokens = [{"token": "yes", "logprob": -0.1, "top_logprobs": top}, {"token": "!", "logprob": 0}]
    deltas = [({"content": token["token"]}, {"content": [token]}) for token in tokens]
    choices = [{"index": 0, "delta": delta, "logprobs": each} for delta, each in deltas]
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events = [*({"choices": [choice]} for choice in (*choices, end)), "data: [DONE]"]
    server.model("w", reply="yes!", logprobs=lambda _: {"content": tokens}, events=events)
    answer = create(client_of_mine(), logprobs=1, stream=stream)
    choices = [chunk.choices[0] for chunk in answer] if stream else answer.choices
    told = [choice.logprobs for choice in choices if choice.logprobs]
    assert len(told) == 1 + stream
    assert [token for each in told for token in each.tokens] == ["yes", "!"]
    assert [logprob for each in told for logprob in each.token_logprobs] == [-0.1, 0]
    assert [top for each in told for top in each.top_logprobs] == [{"no": -2.0}, {}]
    assert [offset for each in told for offset in each.text_offset] == [0, 3]
    sent = server.calls_of("w")[0].body
    assert (sent["logprobs"], sent["top_logprobs"]) == (True, 1)


def test_run_without_an_answer_tells_the_cause(client_of_mine, server):
    server.model("w", always=500)
    client = client_of_mine(api=ApiOptions(strict=True))
    with pytest.raises(openai.InternalServerError, match="scripted failure 500") as caught:
        create(client)
    with pytest.raises(openai.APIError, match="scripted failure 500") as streamed:
        list(create(client, stream=True))
    assert caught.value.code == streamed.value.code == "no_final_answer"


def test_client_that_hangs_up_cancels_its_run(serve_mine, server):
    server.model("w", reply="one two", until_token=lambda position: position < 1)
    body = {"model": "mine", "prompt": "q", "stream": True}
    with http.stream("POST", f"{serve_mine().url}/v1/completions", json=body) as response:
        assert next(line for line in response.iter_lines() if "one" in line)
    wait_for(lambda: server.calls_of("w")[0].ended)
    assert not server.calls_of("w")[0].answered
