"""Ten times as much text takes about ten times as long, whoever wrote it.

A pattern that takes a hundred times as long stops the process: `re` holds the interpreter's lock.
"""

import gc
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import pairwise
from subprocess import PIPE, Popen
from time import thread_time

import beside
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from proportion import MOST, growth
from pydantic import ValidationError
from waiting import wait_for

from moa_graph.batch.input import parse_record
from moa_graph.chat_model.structured_output import build_parser
from moa_graph.cli.terminal.diff import WordDiff
from moa_graph.cli.terminal.plain_text import strip_control_characters, to_single_line
from moa_graph.cli.terminal.wrapping import LineWrapper
from moa_graph.config.model import format_validation_error
from moa_graph.evals.benchmarks.alpaca_eval.judge import AlpacaEvalMethod
from moa_graph.evals.benchmarks.flask.score import parse_review
from moa_graph.evals.benchmarks.mt_bench.score import extract_score
from moa_graph.evals.correlation import MEASURES
from moa_graph.evals.judging.cases import fill_template
from moa_graph.graph.node_names import check_agent_name, slugify_label
from moa_graph.markdown import StreamedMarkdown, render_blocks
from moa_graph.models.legacy_request_keys import legacy_call_store_key, legacy_node_cache_key
from moa_graph.models.offline import OfflineModel
from moa_graph.models.offline_material import find_candidate_responses, parse_conversation
from moa_graph.models.request_key import request_key
from moa_graph.models.response_ranking import rank_by_similarity
from moa_graph.models.sentence_ranking import STYLES
from moa_graph.models.sentences import split_sentences, stem_words
from moa_graph.prompting.ballots import InvalidBallotError, parse_ballot
from moa_graph.prompting.exact_answers import read_exact_answers
from moa_graph.prompting.layout import (
    NAME_THE_BEST,
    PromptLayout,
    enclose_references,
    template_references,
)
from moa_graph.prompting.markers import drop_hidden_characters, escape_markers
from moa_graph.prompting.parsing import (
    InvalidSelectionError,
    content_without_reasoning,
    parse_selected_number,
)
from moa_graph.prompting.thoughts import ThoughtFilter, strip_thoughts
from moa_graph.prompting.tokens import truncate_text
from moa_graph.prompting.tool_text import describe_tools_in_text, truncate_tool_results
from moa_graph.prompting.wording import measure_likeness
from moa_graph.redaction import redacted_message
from moa_graph.run_report.influence import measure_influence
from moa_graph.runs.formatting import strip_hidden_characters
from moa_graph.runs.live import AgentProgress
from moa_graph.runs.store import redact_password
from moa_graph.runs.stored_errors import parse_stored_error
from moa_graph.server.errors import ApiError
from moa_graph.server.openai_requests import parse_chat_request as parse_request
from moa_graph.server.openai_responses_requests import parse_responses_request
from moa_graph.server.openai_responses_tools import read_text_arguments
from moa_graph.server.page_requests import ContinueRequest
from moa_graph.server.prefill import RepetitionFilter

SIZES = (100, 1_000, 10_000)  # characters; from the small ones, to fail soon
LONG_SIZES = (*SIZES, 100_000)
if os.environ.get("MOA_LONG_TEXTS"):  # ten times as long a run
    SIZES, LONG_SIZES = LONG_SIZES, (*LONG_SIZES, 1_000_000)
NOISE = 0.001  # seconds: what takes less is taken to take as long
LONG = 0.05  # seconds of a text, behind which no longer one is tried: more than `MOST * NOISE`

Text = Callable[[int], str]


def repeated(unit: str) -> Text:
    return lambda size: (unit * (size // len(unit) + 1))[:size]


def between(begin: str, unit: str, end: str = "") -> Text:
    return lambda size: begin + repeated(unit)(max(0, size - len(begin + end))) + end


def numbered(form: str) -> Text:
    def make(size: int) -> str:
        units = (form.format(number) for number in range(2, 2 + size // (len(form) - 2)))
        return "".join(units)[:size]

    return make


FAMILIES = {
    "opened": repeated("<"),
    "opened, blank": repeated("< "),
    "opened, blanks": between("<", " "),
    "opened, lines": between("<", "\n"),
    "opened, joiners": between("<", "\u200d \u200c"),
    "closed": repeated("</"),
    "closed, blanks": between("</", " ", "x"),
    "opened twice, blanks": between("<<", " "),
    "thoughts begun": repeated("<think>"),
    "thoughts ended": repeated("</think>"),
    "thoughts": repeated("<think></think>"),
    "responses begun": repeated("<response-a 1>\n"),
    "other responses begun": numbered("<response-a {}>\n"),
    "files begun": repeated('<file name="a">\n'),
    "contexts begun": repeated("<context>\n"),
    "attachments begun": between("", '<file name="a">\n<context>\n', "\n</file>"),
    "attachments": repeated("<context>\n\n</context>"),
    "chat begun": repeated("<|im_start|>user\n"),
    "comments begun": repeated("<!--"),
    "brackets": repeated("["),
    "brackets closed": between("", "[", "]"),
    "links begun": repeated("[a]("),
    "pictures begun": repeated("![]("),
    "pictures": repeated("!["),
    "numbers in brackets": repeated("[[1"),
    "braces": between("", "{", "}"),
    "parentheses": repeated("("),
    "back quotes": repeated("`"),
    "code begun": repeated("```\n"),
    "stars": repeated("*"),
    "bold begun": repeated("**a "),
    "headings": repeated("#\n"),
    "cells": repeated("|"),
    "one letter": repeated("a"),
    "one word": repeated("ab "),
    "words": numbered("w{} "),
    "sentences": numbered("It is {}. "),
    "questions": numbered("Is it {}? "),
    "lines": repeated("a\n"),
    "list": numbered("\n{}. "),
    "empty lines": between("", "\n", "x"),
    "blanks": between("", " ", "x"),
    "tabs": between("# ", "\t", "\u2028x"),
    "dashes": between("-", "-", " x"),
    "full stop, blanks": between("a.", " ", "b"),
    "digits": repeated("1"),
    "comparisons": between("1\n", "response 2 is a better than 1 and 2, ", "go with 1"),
    "minuses": between("", "-", "1"),
    "quotes": repeated("'"),
    "back slashes": repeated("\\"),
    "addresses": repeated("://"),
    "passwords": repeated("&password="),
    "keys": repeated("sk-"),
    "branches of a union": between("", ".list[", "\nx"),
    "combining": between("a", "\u0301"),
    "joined": repeated("\U0001f469\u200d"),
    "Chinese": repeated("\u4e2d"),
    "Chinese sentences": repeated("\u4e2d\u3002"),
    "invisible": repeated("\u200b\u202e"),
    "variants": repeated("\u2764\ufe0f\U000e0100"),
    "opened, wide": repeated("\uff1c"),
    "names begun": between("<", "a_"),
    "names": repeated("<a_b_c_d_e_f"),
    "names in brackets": between("[", "TOOL_"),
    "wide letters": repeated("\uff21\ufb01"),
}


def pieces(text: str) -> list[str]:
    return [text[start : start + 4] for start in range(0, len(text), 4)]


def read_picked(text: str) -> None:
    with suppress(InvalidSelectionError):
        parse_selected_number(AIMessage(text), 3)


def read_ranked(text: str) -> None:
    with suppress(InvalidBallotError):
        parse_ballot(AIMessage(text), 3)


def read_name(text: str) -> None:
    with suppress(ValueError):
        check_agent_name(text)


def read_pick_offline(text: str) -> None:
    system = template_references([text, "b"])
    rank_by_similarity(
        find_candidate_responses([SystemMessage(system), HumanMessage(f"q\n\n{NAME_THE_BEST}")])
    )


def read_enclosed_offline(text: str) -> None:
    block = enclose_references([text, "b"])
    asked = HumanMessage(f"{text}\n\n{block}\n\n{NAME_THE_BEST}")
    assert len(find_candidate_responses([asked])) == 2


def read_conversation_offline(text: str) -> None:
    parse_conversation([SystemMessage(template_references([text])), HumanMessage(text)])


def wrap(text: str) -> None:
    wrapper = LineWrapper(lambda _: None, lambda: 80)
    for piece in pieces(text):
        wrapper.write(piece)
    wrapper.flush()


def hear(text: str) -> None:
    spoken = ThoughtFilter()
    for piece in pieces(text):
        spoken.feed(piece)


def watch(text: str) -> None:
    agent = AgentProgress("layer_1_a", 1, "a", "openai:a")
    for piece in pieces(text):
        agent.add_chunk(AIMessageChunk(piece, id="1"))
        agent.recent_text(400)
    assert agent.text == text


def stream_markdown(text: str) -> None:
    streamed = StreamedMarkdown()
    step = max(1, len(text) // 200)
    for end in range(0, len(text), step):
        streamed.update(text[:end])
    streamed.update(text, is_over=True)


def read_request(text: str) -> None:
    message = {"role": "user", "content": text}
    parse_request({"model": "m", "messages": [message]}, 10)
    for wrong in ({"tools": [text]}, {text: 1}, {"messages": [message | {"role": text}]}):
        with pytest.raises(ApiError):
            parse_request({"model": "m", "messages": [message], **wrong}, 10, strict=True)


def read_response_request(text: str) -> None:
    call = {"type": "function_call", "call_id": text, "name": text, "arguments": text}
    output = {"type": "function_call_output", "call_id": text, "output": text}
    asked = {"model": "m", "input": [{"role": "user", "content": text}, call, output]}
    parse_responses_request({**asked, "instructions": text}, 10)
    read_text_arguments(text)
    with pytest.raises(ApiError):
        parse_responses_request({**asked, "tools": [{"type": text}]}, 10, strict=True)


def filter_repetition(text: str) -> None:
    repetition = RepetitionFilter(text)
    for start in range(0, len(text), 1000):
        repetition.filter_chunk(AIMessageChunk(content=text[start : start + 1000]))


def read_edit(text: str) -> None:
    with pytest.raises(ValidationError) as wrong:
        ContinueRequest.model_validate({"thread": "t", "checkpoint": "c", "edits": {text: 1}})
    format_validation_error(wrong.value)


def read_prompt(text: str) -> None:
    with suppress(ValueError):
        AlpacaEvalMethod(text)


def read_record(text: str) -> None:
    parse_record(1, text.encode())
    parse_record(1, json.dumps({"messages": [{"role": text, "content": text}]}).encode())


def read_form(text: str) -> None:
    with suppress(OutputParserException):
        build_parser({"title": "form"}, "json_mode").invoke(AIMessage(f'{{"a": {text}'))


def cut_result(text: str) -> None:
    blocks = [{"type": "text", "text": text}, text]
    for content in (text, blocks):
        truncate_tool_results([ToolMessage(content, tool_call_id="1")], 100)


def put_into_words(text: str) -> None:
    call = AIMessage("", tool_calls=[{"name": "f", "args": {"a": text}, "id": "1"}])
    tool = {"type": "function", "function": {"name": "f", "description": text}}
    describe_tools_in_text(
        [HumanMessage("q"), call, ToolMessage(text, tool_call_id="1", name=text)], [tool]
    )


READERS = {
    each.__name__: each
    for each in (
        escape_markers,
        strip_thoughts,
        slugify_label,
        split_sentences,
        stem_words.__wrapped__,
        to_single_line,
        strip_control_characters,
        strip_hidden_characters,
        extract_score,
        parse_review,
        redact_password,
        read_picked,
        read_ranked,
        read_name,
        read_pick_offline,
        read_enclosed_offline,
        read_conversation_offline,
        wrap,
        hear,
        watch,
        render_blocks,
        stream_markdown,
        read_request,
        read_response_request,
        filter_repetition,
        read_edit,
        read_prompt,
        read_record,
        read_form,
        put_into_words,
        cut_result,
    )
} | {
    "key of a request": lambda text: request_key("m", [HumanMessage(text)]),
    "key of a cache before": lambda text: legacy_node_cache_key(
        PromptLayout(references_in="user"), "m", 0, [HumanMessage(text)]
    ),
    "key of a call before": lambda text: legacy_call_store_key(
        "m", {}, {}, [HumanMessage(text)], 1
    ),
    "final answer": lambda text: content_without_reasoning(AIMessage(text)),
    "thought, piece by piece": lambda text: hear(f"<think>{text}"),
    "error": lambda text: redacted_message(ValueError(text)),
    "cut": lambda text: truncate_text(text, 100),
    "exact answer": lambda text: read_exact_answers([text, text[:80]]),
    "named answer": lambda text: read_exact_answers([f"The answer is {text}", f"Answer: {text}"]),
    "likeness": lambda text: measure_likeness([text, text[::-1]]),
    "influence": lambda text: measure_influence(text, {"a": text, "b": text[::-1]}),
    "stored error": lambda text: parse_stored_error(f"Error({text})"),
    "stored text of an error": lambda text: parse_stored_error(f"Error({text!r})"),
    "scores of a review": lambda text: parse_review(f"{{'robustness': {text}}}"),
    "prompt of a judge": lambda text: fill_template(text, {"question": "q", "answer": "a"}),
    "address": lambda text: redact_password(f"postgresql://{text}"),
}


SLOW = (
    *("wrap", "hear", "thought, piece by piece", "watch", "influence", "put_into_words"),
    "stream_markdown",
)
"""They go through a text character by character, or word by word: what these are matters little."""
FEW = ("opened", "one letter", "one word", "words", "sentences", "lines", "blanks", "joined")


MARKED_UP = (
    *("opened", "comments begun", "brackets", "brackets closed", "links begun", "pictures begun"),
    *("back quotes", "code begun", "stars", "bold begun", "headings", "cells", "list", "dashes"),
    *("blanks", "tabs", "back slashes", "addresses", "digits", "one word"),
)
"""What means something in Markdown."""


QUICK = ("opened", "blanks", "wide letters")
"""What has caught most; these are tried in all sizes, and the others where there is time."""


def families_of(reader: str) -> Iterable[str]:
    if reader == "render_blocks":
        return MARKED_UP
    return FEW if reader in SLOW else FAMILIES


@contextmanager
def no_garbage():
    """Leave what others made out of what is measured."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def seconds_of(read: Callable[[str], object], make: Text) -> Callable[[int], float]:
    texts = cache(make)

    def seconds(size: int) -> float:
        text = texts(size)
        with no_garbage():
            began = thread_time()
            read(text)
            return thread_time() - began

    return seconds


def disproportions(reader: str, family: str, sizes: Iterable[int]) -> Iterator[str]:
    """Tell which texts of a family take longer than in proportion."""
    seconds = seconds_of(READERS[reader], FAMILIES[family])
    for small, large in pairwise(sizes):
        times, took = growth(seconds, small, large, NOISE)
        if times >= MOST:
            yield f"{family}: {large:,} characters take {times:.0f} times as long as {small:,}"
        if took > LONG:
            return


@pytest.mark.parametrize("reader", READERS)
def test_time_is_in_proportion_to_the_text(reader):
    families = [family for family in families_of(reader) if family in QUICK]
    found = [line for family in families for line in disproportions(reader, family, LONG_SIZES)]
    assert not found


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_time_is_in_proportion_to_texts_of_every_family(reader):
    families = [family for family in families_of(reader) if family not in QUICK]
    found = [line for family in families for line in disproportions(reader, family, SIZES)]
    assert not found


BOUNDED = {
    "diff": lambda text: WordDiff(text, text[::-1] + text),
    "correlation": lambda text: [measure(text, [text[::-1]]) for measure in MEASURES.values()],
    **{
        style: lambda text, style=style: OfflineModel(style=style).invoke(
            [
                SystemMessage(template_references([text[: len(text) // 2], text[::-1]])),
                HumanMessage(f"Is it 7?\n\n{text}"),
            ]
        )
        for style in STYLES
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("reader", BOUNDED)
def test_what_takes_time_by_the_square_looks_at_a_bounded_part(reader):
    for family in ("one word", "sentences"):
        times, _ = growth(seconds_of(BOUNDED[reader], FAMILIES[family]), 30_000, 300_000, NOISE)
        assert times < MOST, family


BLANKS = st.text(" \t\n\u00a0\u3000\u200c\u200d", max_size=3)
MARKERS = [
    "system>",
    "|im_start|>",
    "response-0 1>",
    "s>",
    "/s>",
    "tool_call>",
    "\uff5cUser\uff5c>",
]


@pytest.mark.parametrize("times", [0, 1, 10_000])
@given(BLANKS.filter(bool), BLANKS, st.sampled_from(["", "/"]), st.sampled_from(MARKERS))
def test_marker_is_escaped_however_many_blanks_are_in_it(times, before, behind, slash, name):
    text = f"{before * times}{slash}{behind * times}{name}"
    seen = drop_hidden_characters(text)
    assert escape_markers(f"a <{text}") == f"a &lt;{seen}"
    plain = drop_hidden_characters(f"a <{before * times}x")
    assert escape_markers(f"a <{before * times}x{text}") == f"{plain}{seen}"


@pytest.mark.parametrize("times", [1, 10_000])
def test_llamas_marker_is_escaped_however_many_blanks_are_in_it(times):
    assert escape_markers(f"<<{' ' * times}SYS>>") == f"&lt;<{' ' * times}SYS>>"


@pytest.mark.process
@pytest.mark.parametrize("reader", ["hardened", "tool"])
def test_blanks_of_a_stranger_hold_up_nobody(reader, server):
    for name in ("waiting", "stuck"):
        server.model(name, always="hang")
    server.model("w", reply="an answer")
    server.model("stranger", reply=beside.TEXT, until=lambda: server.calls_of("waiting"))
    with Popen([sys.executable, beside.__file__, server.url, reader], stdout=PIPE) as process:
        try:
            wait_for(lambda: process.poll() is not None)
        finally:
            process.kill()
        came = json.loads(process.stdout.read())
    for way in ("sync", "async"):
        seconds = f"{beside.DEADLINE:g} s"
        assert came[way]["waited"] == f"cut off by the layer's deadline of {seconds}"
        client = f"no answer of {server.url} in time"  # on a busy machine its own timeout is first
        told = (f"no answer within its timeout of {seconds}", client)
        assert all(timeout.startswith(told) for timeout in came[way]["timeouts"])
        assert came[way]["answers"] == ["an answer"] * 2
    assert len(came["sync"]["timeouts"]) == (2 if reader == "hardened" else 0)
    reads = server.calls_of("w" if reader == "hardened" else "stranger")
    assert any(beside.TEXT in call.messages[-1]["content"] for call in reads)
