"""A mixture as TOML."""

import pytest
from langgraph.types import CachePolicy

from moa_graph import Agent, MoAConfig
from moa_graph.batch.input import batch_name
from moa_graph.config.model import preset_names

PAPER = [
    "together:microsoft/WizardLM-2-8x22B",
    "together:Qwen/Qwen1.5-110B-Chat",
    "together:Qwen/Qwen1.5-72B-Chat",
    "together:meta-llama/Llama-3-70b-chat-hf",
    "together:mistralai/Mixtral-8x22B-Instruct-v0.1",
    "together:databricks/dbrx-instruct",
]


@pytest.fixture
def load(tmp_path):
    """Load a configuration from its text."""

    def read(text):
        path = tmp_path / "mixture.toml"
        path.write_text(text, encoding="utf-8")
        return MoAConfig.load(path)

    return read


def nodes(config):
    return [name for name in config.graph().nodes if "aggregator" not in name]


def test_agents_are_named_or_given_in_place(load):
    config = load("""
        layers = [["a", "a", "offline:lead"], {x = "offline:bm25", y = {model="p:q", samples=2}}]
        aggregator = "a"
        [agents]
        a = "offline:mmr"
    """)
    assert config.aggregator == Agent(model="offline:mmr")
    assert list(config.layers[0]) == ["a", "a_2", "lead"]
    assert nodes(config) == [
        *("layer_1_a", "layer_1_a_2", "layer_1_lead"),
        *("layer_2_x", "layer_2_y", "layer_2_y_2"),
    ]


def test_defaults_apply_to_agents_that_set_none(load, server, monkeypatch, invoke):
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    config = load(f"""
        layers = [["own", "plain", "offline:lead"]]
        aggregator = "plain"
        temperature = 0.7
        max_tokens = 20
        [agents]
        own = {{model = "openai:own", base_url = "{server.url}", temperature = 0.0}}
        plain = {{model = "openai:plain", base_url = "{server.url}"}}
    """)
    invoke(config.graph().compile(), {"messages": "q"})
    sent = {
        (call.model, call.body["temperature"], call.body["max_tokens"]) for call in server.calls
    }
    assert sent == {("own", 0.0, 20), ("plain", 0.7, 20)}


def test_configuration_survives_being_written_down(load):
    config = load("""
        layers = [{x = {model = "offline:lead", max_tokens = 3}}]
        aggregator = "offline:consensus"
        name = "mine"
    """)
    assert MoAConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("name", preset_names())
def test_presets_say_where_they_come_from(name):
    config = MoAConfig.load(name)
    assert config.name == name
    assert config.graph().compile(name=config.name)
    text = (MoAConfig.load.__globals__["PRESETS"] / f"{name}.toml").read_text()
    assert text.startswith("# ")


@pytest.mark.parametrize(
    ("preset", "layers", "aggregator"),
    [
        ("moa", 2, "together:Qwen/Qwen1.5-110B-Chat"),
        ("moa-lite", 1, "together:Qwen/Qwen1.5-72B-Chat"),
        ("moa-gpt-4o", 2, "openai:gpt-4o-2024-05-13"),
    ],
)
def test_presets_of_the_paper_are_the_papers(preset, layers, aggregator):
    config = MoAConfig.load(preset)
    assert [[agent.model for agent in layer.values()] for layer in config.layers] == [
        PAPER
    ] * layers
    assert config.aggregator.model == aggregator
    assert (config.temperature, config.max_tokens) == (0.7, 2048)


def test_other_presets_have_their_shape():
    shapes = {
        name: [len(layer) for layer in MoAConfig.load(name).layers] for name in preset_names()
    }
    assert shapes["together"] == [4]
    assert shapes["offline"] == [6, 6]
    assert len(nodes(MoAConfig.load("self-moa"))) == 6
    assert MoAConfig.load("ollama").required_keys() == []


def test_options_of_a_run_reach_the_graph(load, monkeypatch):
    given = {}
    monkeypatch.setattr(
        "moa_graph.graph.builder.create_moa", lambda **options: given.update(options)
    )
    load("""
        layers = [["offline:lead", "offline:bm25"]]
        aggregator = "p:q"
        fallbacks = ["p:r"]
        aggregation = "select"
        quorum = 2
        grace = 3
        deadline = [4.5]
        references_in = "user"
        max_reference_tokens = 50
        trim_history = true
        temperature = 0.5
    """).graph()
    assert given.pop("fallbacks") == [Agent(model="p:r", temperature=0.5)]
    assert given.pop("aggregator") == Agent(model="p:q", temperature=0.5)
    assert [[*layer] for layer in given.pop("layers")] == [["lead", "bm25"]]
    assert given == {
        "lazy": True,
        "trim_history": True,
        "mark_truncated": False,
        "early_stop": None,
        "router": None,
        "max_cost": None,
        "prices": {},
        "shadow": False,
        "aggregation": "select",
        "quorum": 2,
        "grace": 3,
        "deadline": [4.5],
        "prompt": None,
        "references_in": "user",
        "max_reference_tokens": 50,
        "max_tool_result_tokens": 65_536,
        "references_per_reader": None,
        "order": "configured",
        "include_reasoning": False,
        "references_per_window": 3,
        "voters": None,
        "analysis": False,
        "analysis_only": False,
        "finalists": 1,
        "stream_proposals": False,
        "cache_policy": None,
    }


SHORT = 'layers = [["offline:lead"], ["offline:lead"]]\naggregator = "offline:lead"\n'


def test_cache_policy_and_streaming_are_options_of_the_graph_alone(load):
    config = load(f"{SHORT}cache_policy = {{ttl = 60}}\nstream_proposals = true")
    spec = config.graph().spec
    assert spec.cache_policy.ttl == 60
    assert not any(node.hide_tokens for layer in spec.layers for node in layer.agent_nodes)
    assert config.graph(cache_policy=None).spec.cache_policy is None
    assert load(f"{SHORT}cache_policy = {{}}").graph().spec.cache_policy == CachePolicy()
    assert config.chat_model().invoke("Why? It is here.").text == "It is here."


def test_infinity_stands_for_none_which_toml_cannot_write(load):
    config = load(f"{SHORT}grace = [2, inf]\ndeadline = inf\nmax_reference_tokens = inf")
    assert (config.grace, config.deadline, config.max_reference_tokens) == ([2, None], None, None)
    assert load(f"{SHORT}max_tool_result_tokens = inf").max_tool_result_tokens is None
    assert [policy.grace for policy in config.layer_policies()] == [2, None]
    assert config == MoAConfig.model_validate_json(config.model_dump_json())


def test_layers_count_each_sample_and_have_their_policy(load):
    layers = 'layers = [[{model = "offline:lead", samples = 3}, "offline:bm25"], ["offline:lead"]]'
    config = load(f'{layers}\naggregator = "offline:lead"\nquorum = [3, 1.0]\ngrace = 5')
    assert config.layer_widths() == [4, 1]
    policies = config.layer_policies()
    assert policies == [layer.policy for layer in config.graph().spec.layers]
    assert [(policy.quorum, policy.grace) for policy in policies] == [(3, 5), (1.0, 5)]


def test_keys_of_fallbacks_are_required_too(load):
    config = load(
        'layers = [["offline:lead"]]\naggregator = "offline:lead"\nfallbacks = ["openai:x"]'
    )
    assert config.required_keys() == ["OPENAI_API_KEY"]


class TestOverride:
    """`MoAConfig.override`."""

    @pytest.fixture
    def mixture(self, load):
        return load("""
            layers = [["a", "b"], {c = "p:c"}]
            aggregator = "b"
            fallbacks = [{model = "p:f", temperature = 0.1}]
            temperature = 0.7
            [agents]
            a = {model = "openai:a", base_url = "http://localhost:1/v1", temperature = 0.2}
            b = "p:b"
        """)

    def test_nothing_given_changes_nothing(self, mixture):
        assert mixture.override() == mixture

    def test_models_take_the_place_of_all_proposers(self, mixture):
        layers = mixture.override(models=["p:x", "a", "c", "p:x"]).layers
        assert layers[0] == layers[1]
        assert {name: agent.model for name, agent in layers[0].items()} == {
            "x": "p:x",
            "a": "openai:a",
            "c": "p:c",
            "x_2": "p:x",
        }
        assert layers[0]["a"].base_url == "http://localhost:1/v1"

    def test_models_by_name_take_the_place_of_those(self, mixture):
        layers = mixture.override(models={"b": "p:new", "c": "a"}).layers
        assert [[agent.model for agent in row.values()] for row in layers] == [
            ["openai:a", "p:new"],
            ["openai:a"],
        ]

    def test_temperature_is_that_of_all_agents(self, mixture):
        changed = mixture.override(temperature=1)
        agents = [*changed.layers[0].values(), changed.aggregator, *changed.fallbacks]
        assert {agent.temperature for agent in agents} == {None}
        assert changed.temperature == 1

    def test_mixture_whose_labels_were_read_is_changed_alike(self, mixture):
        assert mixture.labels() == ["openai:a", "p:b", "p:c", "p:f"]
        assert mixture.override(models=["p:x"]).labels() == ["p:b", "p:f", "p:x"]

    def test_samples_are_those_of_each_proposer(self, mixture):
        changed = mixture.override(samples=2)
        assert nodes(changed) == [
            *("layer_1_a", "layer_1_a_2", "layer_1_b", "layer_1_b_2", "layer_2_c", "layer_2_c_2")
        ]

    def test_proposer_with_samples_aggregates_once(self):
        self_moa = MoAConfig.load("self-moa")
        changed = self_moa.override(aggregator="gpt-6.1-sol", samples=3)
        assert changed.aggregator == Agent(model="openai:gpt-6.1-sol")
        assert len(nodes(changed)) == 3
        agent = {"model": "openai:m", "samples": 2, "joint_samples": True}
        joint = MoAConfig(layers=[{"m": agent}], aggregator="openai:w")
        assert joint.override(aggregator="m").aggregator == Agent(model="openai:m")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"models": []}, "models: expected a list of at least one 'provider:model', got"),
            ({"models": "p:x"}, "models: expected a list of at least one .* got 'p:x'"),
            (
                {"models": ["p:x", "z"]},
                r"models\[1\]: expected 'provider:model' or one of a, b, c,",
            ),
            ({"models": ["offline:z"]}, r"models\[0\]: expected 'offline:' and one of lead"),
            ({"models": {"z": "p:x"}}, "models: no proposer 'z'; expected one of: a, b, c"),
            ({"models": {"a": "p:"}}, "models.a: expected 'provider:model', such as"),
            ({"aggregator": "z"}, "aggregator: expected 'provider:model' or one of a, b, c, got"),
            ({"temperature": 9}, "temperature: expected a number less than or equal to 2, got 9"),
            ({"samples": 0}, "samples: expected a number greater than or equal to 1, got 0"),
        ],
    )
    def test_mistakes_are_errors_that_name_the_argument(self, changes, message, mixture):
        with pytest.raises(ValueError, match=f"^{message}"):
            mixture.override(**changes)


LAYERS = 'layers = [["offline:lead"]]\n'
AGGREGATOR = 'aggregator = "offline:consensus"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAYERS, "aggregator: required, but missing"),
        (AGGREGATOR, "layers: required, but missing"),
        (f"layers = []\n{AGGREGATOR}", "layers: empty; expected at least one"),
        (f"layers = [[]]\n{AGGREGATOR}", r"layers\[0\]: empty; expected at least one"),
        (f"layers = 2\n{AGGREGATOR}", "layers: expected a list, got 2"),
        (f"layers = [3]\n{AGGREGATOR}", r"layers\[0\]: expected a table, got 3"),
        (f"layers = [[3]]\n{AGGREGATOR}", r"layers\[0\]\[0\]: expected 'provider:model', .* got 3"),
        (
            f'layers = [["offline:gpt"]]\n{AGGREGATOR}',
            r"layers\[0\].gpt.model: expected 'offline:'",
        ),
        (f"{LAYERS}{AGGREGATOR}max_tokens = true", "max_tokens: expected an integer"),
        (f'{LAYERS}{AGGREGATOR}temperature = "1"', "temperature: expected a number"),
        (
            f"{LAYERS}{AGGREGATOR}quorum = 2",
            "`quorum`=2: expected a number of proposers from 1",
        ),
        (f"{LAYERS}{AGGREGATOR}quorum = true", "quorum: expected a number of proposers, or"),
        (f"{LAYERS}{AGGREGATOR}grace = true", "grace: expected seconds, such as 10, got True"),
        (f"{LAYERS}{AGGREGATOR}max_reference_tokens = true", "max_reference_tokens: expected"),
        (
            f"{LAYERS}{AGGREGATOR}lazy = false",
            r"lazy: `graph\(\)` and .* with `lazy=False`; expected",
        ),
        (
            f"{LAYERS}{AGGREGATOR}stream_proposals = 1",
            "stream_proposals: expected a b",
        ),
        (f"{LAYERS}{AGGREGATOR}cache_policy = 60", "cache_policy: expected a .*table, got"),
        (
            f"{LAYERS}{AGGREGATOR}cache_policy.ttl = 0",
            "cache_policy.ttl: expected a number greater",
        ),
        (
            f"{LAYERS}{AGGREGATOR}cache_policy.key_func = 'f'",
            "cache_policy.key_func: unknown key; expected one of: ttl",
        ),
        (
            f"{LAYERS}{AGGREGATOR}quorum = 'x'",
            "quorum: expected a number of proposers, or a share of them such as",
        ),
        (f"{LAYERS}{AGGREGATOR}grace = [1, 2]", "`grace`=.*: expected one value, or one for each"),
        (
            f"{LAYERS}{AGGREGATOR}references_in = 'tool'",
            "references_in: expected 'system' or",
        ),
        (f'{LAYERS}aggregator = {{model = "p:q", samples = 2}}', "samples = 2: an aggregator is"),
        (
            f'{LAYERS}aggregator = {{model = "offline:lead", temperature = 1}}',
            "aggregator: `temperature`=1.0 has no effect on 'offline:lead'",
        ),
        (
            f'layers = [["a"]]\n{AGGREGATOR}',
            r"layers\[0\]\[0\]: expected 'provider:model' or a name",
        ),
        (f"{LAYERS}{AGGREGATOR}[agents]\na = 'x'", "agents.a.model: expected 'provider:model'"),
        (f'{LAYERS}{AGGREGATOR}surprise = "sk-1"', "surprise: unknown key; expected one of: name,"),
        (
            f'{LAYERS}{AGGREGATOR}[agents]\na = {{model = "p:q", api_key = "sk-1"}}',
            r"agents.a.api_key: unknown key \(did you mean 'api_key_env'\?\); expected one of",
        ),
        (
            f'{LAYERS}aggregator = {{model = "p:q", temperature = "hot"}}',
            "aggregator.temperature: expected a number, got 'hot'",
        ),
        (
            f'{LAYERS}aggregator = {{model = "p:q", temperature = 7}}',
            "aggregator.temperature: expected a number less than or equal to 2, got 7",
        ),
        (
            f"layers = [{{'a|b' = 'offline:lead'}}]\n{AGGREGATOR}",
            r"layers\[0\].a\|b: expected a name without .*, got 'a\|b'",
        ),
        (f"{LAYERS}{AGGREGATOR}name = 'a:b'", "name: expected a name without"),
        (f"{LAYERS}{AGGREGATOR}agents = 3", "agents: expected a table, got 3"),
        ("layers = [", "not valid TOML: "),
    ],
)
def test_mistakes_are_errors_that_name_the_place(text, message, load):
    with pytest.raises(ValueError, match=f"mixture.toml: {message}") as error:
        load(text)
    assert "sk-1" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match=r"no preset or file 'nope'; expected .* one of: .*moa, "):
        MoAConfig.load("nope")


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8 text"):
        MoAConfig.load(path)


def test_a_preset_cannot_name_a_file_elsewhere():
    with pytest.raises(ValueError, match="no preset or file"):
        MoAConfig.load("../presets/moa")


def test_prompt_of_a_file_is_what_readers_of_references_are_told(tmp_path):
    path = tmp_path / "mixture.toml"
    path.write_text(f"{LAYERS}{AGGREGATOR}prompt = 'Merge these answers.'\n")
    assert MoAConfig.load(path).graph().spec.layout.prompt == "Merge these answers."


def test_prompt_gives_a_batch_another_name_only_where_it_is_set(tmp_path):
    plain = MoAConfig(layers=[["offline:lead"]], aggregator="offline:consensus")
    told = plain.model_copy(update={"prompt": "Merge these answers."})
    names = [batch_name(tmp_path / "out.jsonl", each) for each in (plain, told)]
    assert names[0] != names[1]


ROUTED = """
    layers = [["offline:lead", "offline:bm25"]]
    aggregator = "offline:consensus"
    temperature = 0.5
    [agents]
    small = "openai:small"
    [router]
    model = "openai:chooser"
"""


def test_a_router_is_a_table_and_its_agents_may_be_named(load):
    config = load(f'{ROUTED}easy = "small"')
    router = config.graph(lazy=True).spec.router
    assert router.decider == Agent(model="openai:chooser")
    assert router.routes == {"easy": Agent(model="openai:small", temperature=0.5)}
    assert {"openai:small", "openai:chooser"} <= set(config.labels())
    assert config.required_keys() == ["OPENAI_API_KEY"]
    assert MoAConfig.model_validate_json(config.model_dump_json()).router == config.router


def test_a_named_agent_with_options_may_choose(load):
    config = load(ROUTED.replace("openai:chooser", "small") + 'easy = "small"')
    assert config.router.model == Agent(model="openai:small")
    text = """
        layers = [["offline:lead"]]
        aggregator = "offline:consensus"
        [router]
        model = { model = "openai:local", base_url = "http://localhost:1/v1" }
        easy = "offline:lead"
    """
    assert load(text).router.model.base_url == "http://localhost:1/v1"
    assert load(text).required_keys() == []
    assert load(text).graph(lazy=False)


def test_a_router_may_have_several_routes(load):
    config = load(f'{ROUTED}easy = {{ quick = "small", long = {{ model = "openai:long" }} }}')
    assert list(config.router.to_router().routes) == ["quick", "long"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'{ROUTED}easy = "nobody"', "router.easy: expected 'provider:model' or one of small"),
        (f"{ROUTED}", "router.easy: required, but missing"),
        (f'{ROUTED}easy = {{ full = "small" }}', "router.easy.full: the name of the layers"),
        (f'{ROUTED}easy = "small"\nesay = "small"', "router.esay: "),
        (
            f'{ROUTED}easy = "small"\nmodell = "small"',
            r"router.modell: unknown key \(did you mean 'model'\?\); expected one of: model",
        ),
        (
            ROUTED.replace("openai:chooser", "nobody") + 'easy = "small"',
            "router.model: expected 'provider:model' or one of small, got 'nobody'",
        ),
        (f'router = "openai:chooser"{ROUTED.partition("[agents]")[0]}', "router: expected a table"),
    ],
)
def test_mistakes_in_a_router_name_the_place(text, message, load):
    with pytest.raises(ValueError, match=message):
        load(text)
