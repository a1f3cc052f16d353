"""The offline agents: they quote, they use references, they never pass for a language model."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from moa_graph.models.offline import OfflineModel
from moa_graph.models.offline_material import NOTICE, parse_conversation
from moa_graph.models.providers import OFFLINE_STYLES
from moa_graph.models.response_ranking import find_majority
from moa_graph.models.sentence_ranking import MAX_QUOTED_SENTENCES, STYLES
from moa_graph.models.sentences import MIN_CACHED_CHARS, split_sentences
from moa_graph.prompting.layout import template_references

FACTS = [
    "The lighthouse stands on the northern cape.",
    "Ada built the lighthouse in 1910.",
    "Ships pass the cape at night.",
    "The keeper paints the lighthouse every spring.",
    "Gulls nest under the roof.",
    "In winter the road to the cape is closed.",
    "The village sells smoked fish.",
    "A museum shows the old lamp.",
    "The museum closes at five.",
]
MATERIAL = " ".join(FACTS)


def answer(style, *messages):
    return OfflineModel(style=style).invoke(list(messages)).text


@pytest.mark.parametrize("style", STYLES)
def test_answers_are_quotes(style):
    text = answer(style, HumanMessage(f"Who built the lighthouse?\n\n{MATERIAL}"))
    quotes = split_sentences(text)
    assert 1 <= len(quotes) <= MAX_QUOTED_SENTENCES
    assert set(quotes) <= set(FACTS)


@pytest.mark.parametrize("style", sorted(set(STYLES) - {"lead"}))
def test_answers_are_about_the_question(style):
    text = answer(style, HumanMessage(f"Who built the lighthouse?\n\n{MATERIAL}"))
    assert "Ada built the lighthouse in 1910." in text


def test_methods_differ():
    question = HumanMessage(f"What happens at the cape in winter?\n\n{MATERIAL}")
    assert len({answer(style, question) for style in STYLES}) >= 4


@pytest.mark.parametrize("style", STYLES)
def test_answers_are_always_the_same(style):
    question = HumanMessage(f"What is shown in the museum?\n\n{MATERIAL}")
    assert len({answer(style, question) for _ in range(3)}) == 1


@pytest.mark.parametrize("style", STYLES)
def test_without_material_it_says_so(style):
    assert answer(style, HumanMessage("Who built the lighthouse?")).startswith(NOTICE)


@pytest.mark.parametrize("style", STYLES)
def test_streamed_answer_is_the_same_in_words(style):
    question = [HumanMessage(f"Who built the lighthouse?\n\n{MATERIAL}")]
    model = OfflineModel(style=style)
    whole, chunks = model.invoke(question), list(model.stream(question))
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert len(chunks) > 3
    total = sum(chunks[1:], chunks[0])
    assert total.usage_metadata == whole.usage_metadata
    assert whole.usage_metadata["output_tokens"] == len(whole.text.split())
    assert whole.response_metadata["model_name"] == f"offline:{style}"


def test_bound_on_tokens_is_kept():
    message = OfflineModel(style="lead", max_tokens=4).invoke(f"Where?\n\n{MATERIAL}")
    assert message.text.split() == ["The", "lighthouse", "stands", "on"]
    assert message.response_metadata["finish_reason"] == "length"


def test_consensus_favours_what_several_references_quote():
    references = [f"{FACTS[2]} {FACTS[3]}", f"{FACTS[3]} {FACTS[4]}", f"{FACTS[3]} {FACTS[8]}"]
    system = SystemMessage(template_references(references))
    text = answer("consensus", system, HumanMessage(f"What of the lighthouse?\n\n{MATERIAL}"))
    assert FACTS[3] in text
    assert FACTS[1] not in text


def test_consensus_of_notices_is_a_notice():
    notices = [answer(style, HumanMessage("Who?")) for style in STYLES]
    system = SystemMessage(template_references(notices))
    assert answer("consensus", system, HumanMessage("Who?")).startswith(NOTICE)


def test_references_are_the_material_where_there_is_no_other():
    system = SystemMessage(template_references([FACTS[1], FACTS[2]]))
    assert answer("bm25", system, HumanMessage("Who built it?")) == FACTS[1]


def test_attached_files_are_told_from_the_question():
    reading = parse_conversation(
        [HumanMessage('Summarise.\n\n<file name="a.md">\nOne is here. Two is there.\n</file>')]
    )
    assert reading.question == "Summarise."
    assert reading.sentences == ["One is here.", "Two is there."]


def test_material_of_earlier_turns_counts():
    conversation = [
        HumanMessage(f"Who built the lighthouse?\n\n{MATERIAL}"),
        AIMessage("Ada."),
        HumanMessage("When does the museum close?"),
    ]
    assert "The museum closes at five." in answer("bm25", *conversation)


def test_numbered_list_inside_a_reference_is_read_to_its_end():
    references = ["Steps:\n1. open\n2. close", "Second"]
    reading = parse_conversation([SystemMessage(f"Be brief.\n\n{template_references(references)}")])
    said = " ".join(sentence for text in reading.references for sentence in split_sentences(text))
    for part in ("Steps:", "open", "close", "Second"):
        assert part in said


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# Title of it\n\nOne is. Two is!", ["One is.", "Two is!"]),
        ("- item one\n- item two\n", ["item one", "item two"]),
        ("```\ncode is left out\n```\nText stays here.", ["Text stays here."]),
        ("| a | b |\n| --- | --- |\nA real sentence.", ["A real sentence."]),
        ("Wang et al. 2024 wrote, e.g. This.", ["Wang et al. 2024 wrote, e.g. This."]),
        ("See [the page](http://x.y).", ["See the page."]),
        ("![A picture. Of it](x.png)\n\nText stays here.", ["Text stays here."]),
        ("这是第一句。这是第二句！", ["这是第一句。", "这是第二句！"]),
        ("", []),
    ],
)
def test_sentences_of_markdown_and_other_scripts(text, found):
    assert split_sentences(text) == found


def test_other_scripts_are_answered():
    text = answer("bm25", HumanMessage("谁建了灯塔？\n\n灯塔在北角。艾达建了灯塔。海鸥在屋顶。"))
    assert "艾达建了灯塔。" in text


def test_large_material_is_answered_in_reasonable_time():
    """Quadratic methods look at a bounded number of sentences."""
    text = " ".join(f"Fact {n} is about thing {n % 97}." for n in range(20_000))
    for style in STYLES:
        assert (
            "thing 13" in answer(style, HumanMessage(f"What of thing 13?\n\n{text}"))
            or style == "lead"
        )


@pytest.mark.parametrize(
    ("responses", "best"),
    [
        (["It is 41.", "The answer is 42.", "42"], 2),
        (["I do not know what this is about, or why.", "Answer: B", "(A)", "b"], 2),
        (["The answer is 1.", "The answer is 2.", "no"], 1),
    ],
)
def test_the_majority_picks_the_first_response_with_the_most_frequent_answer(responses, best):
    assert find_majority(responses) == best


def test_styles_are_those_that_a_name_may_have():
    assert tuple(STYLES) == OFFLINE_STYLES


def test_sentences_off_the_question_do_not_fill_up_an_answer():
    text = answer("mmr", HumanMessage(f"Where is smoked fish sold?\n\n{MATERIAL}"))
    assert text == "The village sells smoked fish."


def test_long_text_is_split_as_its_parts_are():
    part = "# Head\n\nOne is here. Two\nis there! (Three?) 四は長い。五。\n\n- Item A\n- Item B\n\n"
    count = 2 + MIN_CACHED_CHARS // len(part)
    assert split_sentences(part * count) == split_sentences(part) * count
