import warnings
from pathlib import Path

import pytest
from langgraph.cache.memory import InMemoryCache
from langgraph.types import CachePolicy

import moa_graph
from moa_graph import RETRY, ChatMoA, MoAConfig, RunSummary, create_moa
from moa_graph.batch.input import batch_name
from moa_graph.config.model import STORED
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.runs.record import read_run
from moa_graph.server.openai_answers import moa_extension

LAYERS = [["offline:lead", "offline:bm25"]]
SHORT = 'layers = [["offline:lead"]]\naggregator = "offline:lead"\n'


@pytest.mark.parametrize(("old", "new"), [("write", "synthesize"), ("select", "select")])
@pytest.mark.parametrize("build", [create_moa, ChatMoA])
def test_final_still_means_aggregation_and_the_warning_is_at_the_line_of_the_caller(
    build, old, new
):
    expected = f"`final`='{old}' is deprecated; write `aggregation`='{new}'"
    with pytest.warns(DeprecationWarning, match=expected) as caught:
        built = build(LAYERS, "offline:consensus", final=old)
    assert [warning.filename for warning in caught] == [__file__]
    assert (built.spec if build is create_moa else built).aggregation == new


def test_the_old_value_under_the_new_name_is_accepted():
    with pytest.warns(DeprecationWarning, match="`aggregation`='write' is deprecated"):
        assert create_moa(LAYERS, "offline:lead", aggregation="write").spec.aggregation == (
            "synthesize"
        )


def test_both_names_at_once_are_refused(tmp_path):
    expected = "`final`='select' and `aggregation`='select': the same option"
    for build in (create_moa, ChatMoA):
        with pytest.raises(ValueError, match=expected):
            build(LAYERS, "offline:lead", final="select", aggregation="select")
    path = tmp_path / "both.toml"
    path.write_text(f'{SHORT}final = "select"\naggregation = "select"\n')
    with pytest.raises(ValueError, match=rf"both\.toml: {expected}"):
        MoAConfig.load(path)


def test_a_file_with_the_old_key_is_read_and_the_warning_names_file_and_key(tmp_path):
    path = tmp_path / "old.toml"
    path.write_text(f'{SHORT}final = "select"\n')
    with pytest.warns(DeprecationWarning, match=r"old\.toml: `final`='select'") as caught:
        config = MoAConfig.load(path)
    assert [warning.filename for warning in caught] == [__file__]
    assert config.aggregation == "select"


def test_a_configuration_takes_the_old_option_everywhere():
    with pytest.warns(DeprecationWarning, match="`final`") as caught:
        config = MoAConfig(layers=LAYERS, aggregator="offline:lead", final="select")
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(DeprecationWarning, match="`final`"):
        assert config.graph(final="write").spec.aggregation == "synthesize"
    with pytest.warns(DeprecationWarning, match="`final`"):
        assert config.chat_model(final="write").aggregation == "synthesize"
    with pytest.warns(DeprecationWarning, match="read `aggregation`"):
        assert config.final == "select"


@pytest.mark.parametrize("stored", ["", ', "final": "select"', ', "final": "write"'])
def test_what_a_thread_stored_is_read_without_a_warning(stored):
    text = f'{{"layers": [["offline:lead"]], "aggregator": "offline:lead"{stored}}}'
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = MoAConfig.model_validate_json(text, context=STORED)
    assert config.aggregation == ("select" if "select" in stored else "synthesize")


@pytest.mark.parametrize(
    ("aggregation", "name"), [("synthesize", "out-d039126a"), ("select", "out-047b39c9")]
)
def test_a_batch_keeps_the_name_that_the_version_before_gave_it(aggregation, name):
    config = MoAConfig(layers=LAYERS, aggregator="offline:lead", aggregation=aggregation)
    assert batch_name(Path("out.jsonl"), config) == name


OLD_KEYS = {
    "received": "answered",
    "causes": "errors",
    "unread": "dropped_reference_chars",
    "saved": "saved_usage",
}


def test_a_summary_has_old_and_new_keys_with_the_same_values():
    graph = create_moa(LAYERS, "offline:lead", cache_policy=CachePolicy())
    compiled = graph.compile(cache=InMemoryCache())
    for _ in range(2):
        answer = compiled.invoke({"messages": "Why? It is here."})["messages"][-1]
    summary = answer.response_metadata["moa"]
    absent = {
        "reused_proposals",
        "selected",
        "refused_prompt",
        "dropped",
        "dropped_messages",
        "failed_calls",
        "hedged",
        "references_read",
        "references_seed",
        "vote",
        "depth",
        "decisions",
        "analysis",
    }  # others
    assert OLD_KEYS.keys() | RunSummary.__annotations__.keys() - absent == summary.keys()
    assert {old: summary[old] for old in OLD_KEYS} == {
        old: summary[new] for old, new in OLD_KEYS.items()
    }


def test_an_answer_that_an_earlier_version_stored_is_read_under_the_new_keys():
    graph = create_moa(LAYERS, "offline:lead").compile()
    state = graph.invoke({"messages": "Why? It is here."})
    answer = state["messages"][-1]
    now = read_run_summary(answer)
    new = set(OLD_KEYS.values())
    summary = {k: v for k, v in answer.response_metadata["moa"].items() if k not in new}
    answer.response_metadata["moa"] = summary
    assert read_run_summary(answer) == now
    assert read_run(state).calls[-1].dropped_reference_chars == 0
    assert moa_extension(answer)["answered"] == moa_extension(answer)["received"] == 2


def test_ask_again_is_retry_and_the_warning_is_at_the_line_of_the_import():
    with pytest.warns(
        DeprecationWarning, match="ASK_AGAIN` is deprecated; import `RETRY`"
    ) as caught:
        from moa_graph import ASK_AGAIN
    assert ASK_AGAIN is RETRY
    assert {warning.filename for warning in caught} == {__file__}
    assert "ASK_AGAIN" not in moa_graph.__all__
