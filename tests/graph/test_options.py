"""The options of `create_moa`, `ChatMoA`, configurations and the docs are the same."""

import inspect
import pydoc
import re
from pathlib import Path

import pytest
from langgraph.graph.state import StateGraph

from moa_graph import AGGREGATE_AND_SYNTHESIZE, ChatMoA, MoAConfig, create_moa
from moa_graph.config.model import PYTHON_OPTIONS
from moa_graph.graph.options import ConsultOptions

LAYERS = [["offline:lead", "offline:bm25"]]
PARAMETERS = inspect.signature(create_moa).parameters
CHAT_MODEL_LACKS = {
    "stream_proposals": "proposers are never shown",
    "cache_policy": "`cache=`, as of any chat model",
}
DOCS = Path(__file__).parents[2] / "docs"


def documented_arguments(function=create_moa):
    """What the docstring says of each argument."""
    section = inspect.getdoc(function).partition("\nArgs:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", section, re.DOTALL | re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def options_table():
    """The table of `docs/configuration.md`, as it ought to be."""
    rows = [
        "| option | default | `ChatMoA` | TOML | what it is |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, text in documented_arguments().items():
        default = PARAMETERS[name].default
        shown = "" if default is inspect.Parameter.empty else f"`{default!r}`"
        in_chat_model = CHAT_MODEL_LACKS.get(name, "yes")
        in_toml = PYTHON_OPTIONS.get(name, "yes")
        meaning = re.split(r"(?<=\.) ", text)[0]
        rows.append(f"| `{name}` | {shown} | {in_chat_model} | {in_toml} | {meaning} |")
    return "\n".join(rows)


def chat_model_table():
    """The table of the options of `ChatMoA` alone, as it ought to be."""
    rows = ["| option | default | what it is |", "| --- | --- | --- |"]
    for name, text in documented_arguments(ChatMoA).items():
        rows.append(f"| `{name}` | `{ChatMoA.model_fields[name].get_default()!r}` | {text} |")
    return "\n".join(rows)


def test_docstring_says_what_each_option_is():
    assert list(documented_arguments()) == list(PARAMETERS)
    assert list(documented_arguments(ChatMoA)) == list(ConsultOptions.model_fields)


def test_table_in_the_docs_is_that_of_the_declaration():
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert options_table() in page
    assert chat_model_table() in page


def test_chat_model_has_the_options_or_the_docs_say_why_not():
    assert PARAMETERS.keys() - ChatMoA.model_fields.keys() == CHAT_MODEL_LACKS.keys()


def test_configuration_has_the_options_or_says_why_not():
    assert PARAMETERS.keys() - MoAConfig.model_fields.keys() == PYTHON_OPTIONS.keys()


def test_docs_name_all_keys_of_a_file():
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    assert [name for name in MoAConfig.model_fields if f"`{name}`" not in page] == []


@pytest.mark.parametrize("derived", [ChatMoA, MoAConfig])
def test_defaults_are_the_same_everywhere(derived):
    shared = PARAMETERS.keys() & derived.model_fields.keys() - {"layers", "aggregator"}
    given = {name: derived.model_fields[name].get_default() for name in shared}
    wanted = {name: PARAMETERS[name].default for name in shared}
    assert given | {"fallbacks": ()} == wanted  # a configuration has a list


def test_help_shows_names_types_and_defaults():
    words = pydoc.plain(pydoc.render_doc(create_moa)).split()
    text = " ".join(words).replace("( ", "(")  # from Python 3.13 on, a parameter a line
    assert "create_moa(layers: " in text
    assert "*, fallbacks: " in text
    assert "aggregation: Literal['synthesize', 'select', 'sequential', 'vote'] =" in text
    assert "max_reference_tokens: int | None = 16384" in text
    assert "-> moa_graph.graph.builder.MoAGraph" in text
    assert "quorum: How many proposers" in text
    assert inspect.get_annotations(create_moa).keys() == {*PARAMETERS, "return"}


def test_compile_has_the_parameters_of_langgraphs():
    ours = inspect.signature(create_moa(LAYERS, "offline:lead").compile).parameters
    assert list(ours) == list(inspect.signature(StateGraph.compile).parameters)[1:]


@pytest.mark.parametrize("build", [create_moa, ChatMoA])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("qourum", r"'qourum' \(did you mean 'quorum'\?\); expected one of: layers, aggregator"),
        ("zzz", r"'zzz'; expected one of: layers, aggregator, fallbacks"),
    ],
)
def test_unknown_options_are_refused_with_the_name_that_is_meant(build, name, hint):
    with pytest.raises((TypeError, ValueError), match=hint):
        build(LAYERS, "offline:lead", **{name: 3})


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((LAYERS,), {}, r"create_moa\(\): missing a required argument: 'aggregator'"),
        ((), {"aggregator": "offline:lead"}, "missing a required argument: 'layers'"),
        ((LAYERS, "offline:lead", ()), {}, "too many positional arguments"),
        ((LAYERS, "offline:lead"), {"layers": LAYERS}, "multiple values for argument 'layers'"),
    ],
)
def test_other_arguments_are_refused_as_python_does(args, kwargs, message):
    with pytest.raises(TypeError, match=message):
        create_moa(*args, **kwargs)


def test_no_prompt_is_the_papers():
    assert create_moa(LAYERS, "offline:lead").spec.layout.prompt == AGGREGATE_AND_SYNTHESIZE
    assert ChatMoA(LAYERS, "offline:lead").prompt is None
