"""What is said of a mistake in a mixture: what to write instead."""

import pytest

from moa_graph import Agent, MoAConfig, create_moa

END = 'aggregator = "offline:consensus"\n'
RIGHT = 'layers = [["offline:lead"]]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f'{RIGHT}agregator = "offline:lead"',
            "(did you mean 'aggregator'?)",
        ),
        (f'layer = [["offline:lead"]]\n{END}', "(did you mean 'layers'?)"),
        (f"{RIGHT}{END}qourum = 2", "(did you mean 'quorum'?)"),
        (
            f'{RIGHT}{END}[agents]\na = {{ model = "offline:lead", max_token = 3 }}',
            "(did you mean 'max_tokens'?)",
        ),
        (
            f'layers = [["qwem"]]\n{END}[agents]\nqwen = "offline:lead"',
            "got 'qwem' (did you mean 'qwen'?)",
        ),
        (f'layers = ["offline:lead"]\n{END}', 'such as layers = [["openai:gpt-6.1-sol", '),
        (f'layers = "offline:lead"\n{END}', 'such as layers = [["openai:gpt-6.1-sol", '),
        (f'{END}[layers]\na = "offline:lead"', 'such as layers = [["openai:gpt-6.1-sol", '),
        (
            f'{RIGHT}{END}[agents]\ngpt-4.1 = "openai:gpt-4.1"',
            'agents.gpt-4.1: put a name with a dot in quotes in TOML: "gpt-4.1"',
        ),
        (
            f'{RIGHT}{END}[agents.qwen2.5]\nmodel = "offline:lead"',
            'agents.qwen2.5: put a name with a dot in quotes in TOML: "qwen2.5"',
        ),
        (
            f'layers = [{{ qwen2.5 = "offline:lead" }}]\n{END}',
            'layers[0].qwen2.5: put a name with a dot in quotes in TOML: "qwen2.5"',
        ),
        (
            f"{RIGHT}{END}[prices]\nopenai:gpt-4.1 = [1, 2]",
            '; put a name with a colon in quotes: "openai:gpt-4.1"',
        ),
        (
            f"layers = [[offline:lead]]\n{END}",
            'put a name with a colon in quotes: "offline:lead"',
        ),
        (
            f'{RIGHT}{END}[agents]\na = "offline:lead"\nquorum = 2',
            "agents.quorum: put keys of the mixture above the first table, here [agents]",
        ),
        (f'{RIGHT}{END}quorum = "all"', "where 1.0 is all, got 'all'"),
        (f'{RIGHT}{END}quorum = ["all"]', "where 1.0 is all, got ['all']"),
        (f'{RIGHT}{END}deadline = "1 min"', "deadline: expected seconds, such as 60, got '1 min'"),
        (
            f"timeout = 30\n{RIGHT}{END}",
            'belongs to each agent, such as { model = "openai:gpt-6-luna", timeout = ... }',
        ),
        (f'base_url = "http://x"\n{RIGHT}{END}', "base_url: unknown key; it belongs to each agent"),
        ("layers = 3\n" + END, "layers: expected a list, got 3"),
        (
            f'layers = [["a"]]\n{END}[agents.a]\nmodell = "offline:lead"',
            "agents.a.modell: unknown key (did you mean 'model'?)",
        ),
        (
            f'layers = [{{ a = {{ modle = "offline:lead" }} }}]\n{END}',
            "(did you mean 'model'?)",
        ),
        (
            f'layers = [["a"]]\n{END}[agent.a]\nmodel = "offline:lead"',
            "agent: unknown key (did you mean 'agents'?)",
        ),
        (
            f"{RIGHT}aggregator = 3\n",
            "aggregator: expected 'provider:model', a name in `agents` or a table, got 3",
        ),
        (
            f"layers = [{{ a = 3 }}]\n{END}",
            "layers[0].a: expected 'provider:model', a name in `agents` or a table, got 3",
        ),
    ],
)
def test_mistake_in_a_file_says_what_to_write(text, message, tmp_path):
    path = tmp_path / "mixture.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"^.*mixture\.toml: ") as raised:
        MoAConfig.load(path)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        (
            f'{RIGHT}{END}qourum = 2\ndeadline = "x"',
            ["deadline: expected seconds, such as 60, got 'x'", "qourum: unknown key"],
        ),
        (
            f'layers = [["led", "lead"]]\n{END}quorum = "all"\n[agents]\nlead = "offline:lead"',
            ["quorum: expected a number of proposers", "layers[0][0]: expected 'provider:model'"],
        ),
        (f'layer = [["a"]]\n{END}qourum = 2', ["layer: unknown key", "qourum: unknown key"]),
        (
            f'{RIGHT}{END}[router]\nmodel = "a"\neasy = {{ x = "b" }}',
            ["router.model: expected", "router.easy.x: expected"],
        ),
    ],
)
def test_all_mistakes_in_a_file_are_listed(text, mistakes, tmp_path):
    path = tmp_path / "mixture.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"^{path}: 2 mistakes:\n") as raised:
        MoAConfig.load(path)
    lines = str(raised.value).splitlines()[1:]
    assert len(lines) == len(mistakes)
    for number, (line, mistake) in enumerate(zip(lines, mistakes, strict=True), 1):
        assert line.startswith(f"  ({number}) {mistake}")


def test_list_of_mistakes_has_a_bound(tmp_path):
    path = tmp_path / "mixture.toml"
    path.write_text(RIGHT + END + "".join(f"x{number} = 1\n" for number in range(9)))
    with pytest.raises(ValueError, match=r"9 mistakes:(\n  \(\d\) x.*;){5}\n  and 4 more$"):
        MoAConfig.load(path)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Agent(temp=1),
            r"^Agent\(\): 2 mistakes:\n  \(1\) `model`: required, but missing;\n  ",
        ),
        (lambda: Agent(temp=1), r"`temp`: unknown option \(did you mean 'temperature'\?\)$"),
        (lambda: Agent(model="p:m", xyz=1), r"`xyz`: unknown option; expected one of: model, "),
        (lambda: Agent(model="p:m", timeout="x"), r"^Agent\(\): `timeout`='x': expected a number$"),
        (lambda: MoAConfig(layer=1), r"^MoAConfig\(\): 2 mistakes:\n  \(1\) aggregator: required"),
    ],
)
def test_mistake_in_a_constructor_says_what_is_accepted(build, message):
    with pytest.raises(ValueError, match=message) as raised:
        build()
    assert "pydantic" not in str(raised.value)


@pytest.mark.parametrize("kind", [Agent, MoAConfig])
def test_option_without_its_name_shows_a_correct_call(kind):
    with pytest.raises(TypeError, match=rf"as in {kind.__name__}\(.*; got 'offline:lead' without"):
        kind("offline:lead")


def test_near_name_of_an_option_of_agents_is_suggested():
    with pytest.raises(TypeError, match=r"\(did you mean 'temperature', an option of each agent"):
        create_moa([["offline:lead"]], "offline:consensus", temp=1)


def test_names_in_quotes_may_have_dots(tmp_path):
    path = tmp_path / "mixture.toml"
    text = 'layers = [["gpt-4.1"]]\naggregator = "gpt-4.1"\n[agents]\n"gpt-4.1" = "offline:lead"\n'
    path.write_text(text, encoding="utf-8")
    mixture = MoAConfig.load(path)
    assert list(mixture.layers[0]) == ["gpt-4.1"]


def test_missing_key_names_file_and_agents(moa, tmp_path):
    path = tmp_path / "mixture.toml"
    agent = (
        '{ model = "openai:x", base_url = "http://localhost:1/v1", api_key_env = "NO_SUCH_KEY" }'
    )
    path.write_text(f'layers = [["a", "b"]]\n{END}[agents]\na = {agent}\nb = "offline:lead"\n')
    done = moa("ask", "q", "--config", path)
    assert done.returncode == 1
    assert f"set NO_SUCH_KEY (NO_SUCH_KEY is for a in {path})" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ask", "-v is what?"], "moa ask -- '-v ...'"),
        (["ask", "--why?"], "moa ask -- '-v ...'"),
        (["ask", "why", "is", "it"], "in quotes: moa ask 'Why is ...?'"),
        (["ask", "q", "-p", "opnai"], "(did you mean 'openai'?)"),
        (["ask", "q", "-c", "opnai"], "(did you mean 'openai'?)"),
        (["ask", "q", "-p", __file__], f"is a file; write --config {__file__}"),
    ],
)
def test_mistake_on_the_command_line_says_what_to_write(moa, words, message):
    done = moa(*words)
    assert done.returncode in {1, 2}
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["timeout", "max_tokens", "temperature", "base_url"])
def test_option_of_agents_given_to_a_mixture_says_where_it_belongs(option):
    with pytest.raises(TypeError, match=rf"an option of each agent: Agent\(.*, {option}=\.\.\.\)"):
        create_moa([["offline:lead"]], "offline:consensus", **{option: 30})


def test_quorum_in_words_says_which_number_is_all():
    with pytest.raises(ValueError, match=r"`quorum`='all': .* up to 1\.0 \(all\)"):
        create_moa([["offline:lead"]], "offline:consensus", quorum="all")
