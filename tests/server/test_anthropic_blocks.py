"""Blocks of a stream come one after another, whatever the order in which a model writes them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moa_graph.server.anthropic_blocks import BlockStream
from moa_graph.server.openai_answers import CallPiece


def stream(parts):
    """Feed texts, and pieces of calls as `(index, arguments)`; give the events."""
    blocks, begun, events = BlockStream(), set(), []
    for part in parts:
        if isinstance(part, str):
            events.append([*blocks.add_text(part)])
            continue
        index, arguments = part
        call_id = None if index in begun else f"c{index}"
        begun.add(index)
        piece = CallPiece(index, call_id, f"tool{index}", arguments)
        events.append([*blocks.add_call(piece)])
    return [*events, [*blocks.finish()]]


def flat(events):
    return [event for each in events for event in each]


def read(events):
    """Put the blocks together, as a client does; each begins when the one before has ended."""
    blocks, is_open = [], False
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == len(blocks)
                is_open = True
                blocks.append([event["content_block"].get("id", "text"), ""])
            case "content_block_delta":
                assert is_open
                assert event["index"] == len(blocks) - 1
                delta = event["delta"]
                blocks[-1][1] += delta.get("text") or delta.get("partial_json")
            case "content_block_stop":
                assert is_open
                assert event["index"] == len(blocks) - 1
                is_open = False
    assert not is_open
    return [tuple(block) for block in blocks]


@pytest.mark.parametrize(
    ("parts", "blocks"),
    [
        (["one ", "two"], [("text", "one two")]),
        (["say ", (0, ""), (0, '{"a":'), (0, "1}")], [("text", "say "), ("c0", '{"a":1}')]),
        ([(0, '{"a":1}'), (1, "{}"), "end"], [("c0", '{"a":1}'), ("c1", "{}"), ("text", "end")]),
        ([(0, ""), (1, "{}")], [("c0", ""), ("c1", "{}")]),
        ([(0, "{"), (1, "{"), (0, "}"), (1, "}")], [("c0", "{}"), ("c1", "{}")]),
        ([], []),
    ],
)
def test_blocks_are_whole_and_in_order(parts, blocks):
    assert read(flat(stream(parts))) == blocks


def test_call_is_sent_as_it_comes_once_the_one_before_is_whole():
    events = stream([(0, '{"a"'), (0, ":1}"), (1, "{"), (1, "}")])
    assert [[event["type"] for event in each] for each in events] == [
        ["content_block_start", "content_block_delta"],
        ["content_block_delta"],
        ["content_block_stop", "content_block_start", "content_block_delta"],
        ["content_block_delta"],
        ["content_block_stop"],
    ]


def test_call_that_begins_before_the_other_is_whole_waits_for_the_end():
    events = stream([(0, "{"), (1, "{"), (0, "}"), (1, "}")])
    assert [len(each) for each in events] == [2, 0, 1, 0, 4]


@settings(max_examples=50)
@given(st.lists(st.integers(0, 3), max_size=40), st.data())
def test_calls_that_are_written_at_once_are_told_apart(order, data):
    count = max(order, default=-1) + 1
    rank = {}
    order = [rank.setdefault(index, len(rank)) for index in order]  # they begin in their order
    texts = [json.dumps({"n": index, "of": count}) for index in range(len(rank))]
    left = {index: texts[index] for index in range(len(rank))}
    parts = []
    for position, index in enumerate(order):
        is_last = index not in order[position + 1 :]
        size = len(left[index]) if is_last else data.draw(st.integers(0, len(left[index])))
        parts.append((index, left[index][:size]))
        left[index] = left[index][size:]
    assert read(flat(stream(parts))) == [(f"c{i}", text) for i, text in enumerate(texts)]
