"""`moa mcp`: mixtures as tools, asked by the official client over real transports."""

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from forked import Forked, run_forked
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from waiting import PATIENCE, wait_for, wait_until

from moa_graph import MoAConfig
from moa_graph.server.mcp_tools import create_mcp_server
from moa_graph.server.service import MixtureService

pytestmark = pytest.mark.process

MOA = Path(sys.executable).parent / "moa"
ROOT = Path(__file__).parents[2]
KEY = "MARKED-9f3b77c1d2-KEY"
SECRET = "sk-MARKED-4c1f0a93be-PROVIDER"
QUESTION = "Where is the key? The key is under the tree. The cook has a spoon. Roses grow."
ANSWER = "The key is under the tree."
ERAS = ["auto", "legacy"]  # of the protocol: a request alone, and a session that is opened first


def stdio(*words, **env):
    return StdioServerParameters(
        command=str(MOA), args=["mcp", *map(str, words)], env=dict(os.environ) | env
    )


class Listening:
    """A `moa mcp --http` and what it said so far."""

    def __init__(self, *words, env=None):
        command = [MOA, "mcp", "--http", "--port", "0", *words]
        self.process = Forked(command, env=os.environ | (env or {}))
        self.said = ""
        while " offers " not in self.said:  # its last line
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
        self.url = re.search(r"(http://\S+/mcp) offers", self.said)[1]

    def end(self, sign=signal.SIGINT):
        self.process.send_signal(sign)
        out, rest = self.process.communicate(timeout=PATIENCE)
        assert out == ""
        return self.process.returncode, self.said + rest

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@asynccontextmanager
async def over_http(listening, mode="auto", key=KEY):
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as http:
        transport = streamable_http_client(listening.url, http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


@asynccontextmanager
async def in_memory(mixture):
    """A client of the same server, without a transport."""
    service = MixtureService({"mine": MoAConfig.load(mixture)})
    async with Client(create_mcp_server(service, timeout=PATIENCE)) as client:
        yield client


@asynccontextmanager
async def asking(transport, *words, mode="auto"):
    """A client of the server, over either transport."""
    if transport == "stdio":
        async with Client(stdio(*words), mode=mode) as client:
            yield client
        return
    with Listening(*words, env={"MOA_API_KEY": KEY}) as listening:
        async with over_http(listening, mode) as client:
            yield client


@pytest.fixture
def config(tmp_path, server, monkeypatch):
    monkeypatch.setenv("PANEL_KEY", SECRET)

    def write(name="panel", **options):
        path = tmp_path / f"{name}.toml"
        agent = (
            '{{ model = "openai:{}", base_url = "{}", max_retries = 0, api_key_env = "PANEL_KEY" }}'
        )
        a, b, w = (agent.format(each, server.url) for each in "abw")
        lines = [f'name = "{name}"', f"layers = [{{ a = {a}, b = {b} }}]", f"aggregator = {w}"]
        lines += [f"{key} = {value}" for key, value in options.items()]
        path.write_text("\n".join(lines))
        return path

    return write


transports = pytest.mark.parametrize("transport", ["stdio", "http"])
eras = pytest.mark.parametrize("mode", ERAS)
ways = pytest.mark.parametrize(("transport", "mode"), [("stdio", "legacy"), ("http", "auto")])


@transports
@eras
async def test_tool_gives_the_answer_alone_and_structured_what_it_came_of(transport, mode):
    async with asking(transport, "--preset", "offline", mode=mode) as client:
        (tool,) = (await client.list_tools()).tools
        assert tool.name == "ask_offline"
        assert list(tool.input_schema["properties"]) == ["question", "context"]
        assert tool.input_schema["required"] == ["question"]
        assert list(tool.output_schema["properties"]) == ["answer", "summary", "report"]
        result = await client.call_tool("ask_offline", {"question": QUESTION})
        assert [block.text for block in result.content] == [ANSWER]
        assert result.structured_content["answer"] == ANSWER
        assert result.structured_content["summary"]["answered"] == 12
        (page,) = (await client.read_resource(result.structured_content["report"])).contents
        assert page.mime_type == "text/html"
        assert page.text.startswith("<!doctype html>")
        assert ANSWER in page.text


@ways
async def test_client_hears_of_each_layer(transport, mode):
    heard = []

    async def hear(*note):
        heard.append(note)

    async with asking(transport, "--preset", "offline", mode=mode) as client:
        await client.call_tool("ask_offline", {"question": QUESTION}, progress_callback=hear)
        await wait_until(lambda: heard[-1][2] == "answered")
    done = [note[0] for note in heard]
    assert done == sorted(done)
    assert {note[1] for note in heard} == {13}
    messages = [note[2] for note in heard]
    for part in (
        "layer 1 of 2: 0 of 6 proposers are done",
        "layer 2 of 2: 6 of 6 proposers are done",
    ):
        assert part in messages
    assert messages[-2:] == ["the aggregator writes the answer", "answered"]


@ways
async def test_cancelling_the_call_cancels_the_calls_of_models(transport, mode, config, server):
    server.model("a", always="hang")
    server.model("b", always="hang")
    async with asking(transport, "--config", config(), mode=mode) as client:
        call = asyncio.create_task(client.call_tool("ask_panel", {"question": "q"}))
        await wait_until(lambda: len(server.calls) == 2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await wait_until(lambda: all(each.ended and not each.answered for each in server.calls))


@transports
async def test_mixture_without_an_answer_is_an_error_that_says_why(transport, config, server):
    server.model("a", always="echo key")
    server.model("b", always=500)
    async with asking(transport, "--config", config()) as client:
        result = await client.call_tool("ask_panel", {"question": "q"})
    assert result.is_error
    (block,) = result.content
    assert block.text.startswith("layer 1")
    assert "500" in block.text
    assert SECRET not in block.text


async def test_each_named_mixture_is_a_tool_and_nobody_chooses_models(config, server):
    words = ["--config", config("one"), "--config", config("two words"), "--preset", "offline"]
    async with asking("http", *words) as client:
        tools = {each.name: each for each in (await client.list_tools()).tools}
        assert list(tools) == ["ask_offline", "ask_one", "ask_two_words"]
        assert tools["ask_one"].description.endswith(
            "The panel: openai:a, openai:b; openai:w writes."
        )
        arguments = {"question": "q", "model": "openai:x", "aggregator": "openai:x"}
        result = await client.call_tool("ask_one", arguments)
        assert result.structured_content["summary"]["aggregator"] == "openai:w"
        assert (await client.call_tool("ask_other", {"question": "q"})).is_error
    assert {call.model for call in server.calls} == {"a", "b", "w"}


async def test_context_is_told_from_the_question():
    context = "The key is under the tree. The cook has a spoon. Roses grow."
    async with in_memory("offline") as client:
        arguments = {"question": "Where is the key?", "context": context}
        assert (await client.call_tool("ask_offline", arguments)).content[0].text == ANSWER


@pytest.mark.parametrize("question", ['["a", "b"]', "7", "null"])
async def test_question_that_looks_like_json_stays_text(question, config, server):
    async with in_memory(config()) as client:
        await client.call_tool("ask_panel", {"question": question})
    assert server.calls_of("a")[0].messages[-1]["content"] == question


async def test_empty_question_is_refused_before_anybody_is_asked(config, server):
    async with in_memory(config()) as client:
        assert (await client.call_tool("ask_panel", {"question": ""})).is_error
    assert not server.calls


async def test_context_may_be_null(config, server):
    async with in_memory(config()) as client:
        asked = await client.call_tool("ask_panel", {"question": "Where?", "context": None})
    assert not asked.is_error
    assert server.calls_of("a")[0].messages[-1]["content"] == "Where?"


async def test_run_that_takes_too_long_is_given_up(config, server):
    server.model("b", always="hang")
    async with asking("http", "--config", config(), "--timeout", "0.5") as client:
        result = await client.call_tool("ask_panel", {"question": "q"})
        assert result.is_error
        assert result.content[0].text == "no answer within the limit of 0.5 s"
        await wait_until(lambda: server.calls_of("b")[0].ended)


async def test_report_of_an_unknown_run_is_refused():
    async with in_memory("offline") as client:
        (template,) = (await client.list_resource_templates()).resource_templates
        assert template.uri_template == "moa://runs/{run}/report"
        assert not (await client.list_resources()).resources
        with pytest.raises(MCPError, match="no run 'x'"):
            await client.read_resource("moa://runs/x/report")


def read_host_settings():
    """The servers in the JSON of the documentation, as hosts read them."""
    page = (ROOT / "docs" / "mcp.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```json\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        settings = json.loads(block)
        yield (settings.get("servers") or settings["mcpServers"])["moa"]


async def test_settings_of_hosts_in_the_documentation_start_it():
    desktop, editor, remote = read_host_settings()
    assert remote == {
        "type": "http",
        "url": "http://127.0.0.1:8001/mcp",
        "headers": {"Authorization": "Bearer my-key"},
    }
    for settings in (desktop, editor):
        assert settings["command"] == "moa"
        keys = dict.fromkeys(settings["env"], KEY)
        async with Client(stdio(*settings["args"][1:], **keys)) as client:
            assert [each.name for each in (await client.list_tools()).tools] == ["ask_together"]


class Piped:
    """A `moa mcp` whose standard streams a test reads and writes itself."""

    def __init__(self, *words):
        self.process = Forked([MOA, "mcp", *words], stdin=True)
        client = {"name": "test", "version": "1"}
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        self.send("initialize", hello, id=1)
        self.hello = json.loads(self.process.stdout.readline())
        self.send("notifications/initialized")

    def send(self, method, params=None, **fields):
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}, **fields}
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def call(self, tool, question):
        self.send("tools/call", {"name": tool, "arguments": {"question": question}}, id=2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def test_standard_output_is_the_protocol_alone(config, server):
    server.model("a", always=500)
    with Piped("--config", config()) as piped:
        assert piped.hello["result"]["serverInfo"]["name"] == "moa_graph"
        piped.call("ask_panel", "q")
        answers = [json.loads(piped.process.stdout.readline())]
        out, said = piped.process.communicate(timeout=PATIENCE)
        answers += map(json.loads, out.splitlines())
    assert [each["id"] for each in answers] == [2]
    assert "Traceback" not in said
    assert piped.process.returncode == 0


def test_host_that_goes_cancels_the_run(config, server):
    server.model("b", always="hang")
    with Piped("--config", config()) as piped:
        piped.call("ask_panel", "q")
        wait_for(lambda: server.calls_of("b"))
        _, said = piped.process.communicate(timeout=PATIENCE)
    assert (piped.process.returncode, "Traceback" in said) == (0, False)
    server.settle()
    assert not server.calls_of("b")[0].answered


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_while_it_waits_for_a_line(sign):
    with Piped("--preset", "offline") as piped:
        piped.process.send_signal(sign)
        assert piped.process.wait(PATIENCE) in {130, -signal.SIGTERM}
        _, said = piped.process.communicate()
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-p", "nope"], "no preset 'nope'; expected one of: economical, moa, "),
        (["-p", "openai"], "'openai' needs a key: set OPENAI_API_KEY"),
        (
            ["-p", "offline", "--http", "--host", "192.0.2.1", "--port", "0"],
            "cannot listen on 192.0.2.1:0: ",
        ),
        (["-p", "offline", "--http", "--api-key", " "], "--api-key: empty"),
        (["-p", "offline", "--http", "--api-key", KEY, "--no-auth"], "choose one"),
    ],
)
def test_mistakes_are_one_line(words, says):
    done = run_forked([MOA, "mcp", *words])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert says in done.stderr


def test_two_mixtures_that_would_be_one_tool_are_refused(config):
    words = ["--config", config("a b"), "--config", config("a.b")]
    done = run_forked([MOA, "mcp", *words])
    assert done.stderr.startswith(
        "moa: the mixtures 'a b' and 'a.b' would both be the tool 'ask_a_b'"
    )


def post(url, body=b"{}", **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.post(url, content=body, headers=names, timeout=PATIENCE)


def test_only_who_has_the_token_is_let_in():
    with Listening("--preset", "offline") as listening:
        (token,) = re.findall(
            r"API key of clients until the server stops: (\S+)$", listening.said, re.MULTILINE
        )
        key = f"Bearer {token}"
        assert post(listening.url).status_code == 401
        assert post(listening.url, authorization="Bearer x").status_code == 401
        health = listening.url.replace("/mcp", "/health")
        page = post(listening.url, authorization=key, origin="http://evil.example")
        assert (page.status_code, "foreign_origin" in page.text) == (403, True)
        assert post(listening.url, authorization=key).status_code != 401
        assert httpx2.get(health, timeout=PATIENCE).status_code == 200
        code, said = listening.end()
    assert (code, said.count(token)) == (0, 1)
    assert said.splitlines()[-1] == "moa: stopped"


def test_server_that_lets_everybody_in_warns_and_knows_its_names():
    with Listening("--preset", "offline", "--no-auth") as listening:
        assert "--no-auth: anyone who can reach" in listening.said
        other = post(listening.url, host="evil.example")
        assert (other.status_code, "unknown_host" in other.text) == (403, True)
        assert post(listening.url).status_code not in {401, 403}


def test_body_that_is_too_long_is_refused():
    with Listening("--preset", "offline", "--max-body", "1", "--api-key", KEY) as listening:
        body = b"x" * 1_000_001
        assert post(listening.url, body, authorization=f"Bearer {KEY}").status_code == 413


async def test_more_runs_than_the_limit_are_refused_in_words(config, server):
    server.model("b", always="hang")
    words = ["--config", config(), "--max-runs", "1", "--queue", "0"]
    async with asking("http", *words) as client:
        first = asyncio.create_task(client.call_tool("ask_panel", {"question": "one"}))
        await wait_until(lambda: server.calls_of("b"))
        second = await client.call_tool("ask_panel", {"question": "two"})
        assert second.is_error
        assert second.content[0].text.startswith("1 runs are going on, which is the most")
        first.cancel()


async def test_server_that_stops_tells_its_callers(config, server):
    server.model("b", always="hang")
    with Listening("--config", config(), env={"MOA_API_KEY": KEY}) as listening:
        async with over_http(listening) as client:
            call = asyncio.create_task(client.call_tool("ask_panel", {"question": "q"}))
            await wait_until(lambda: server.calls_of("b"))
            code, said = await asyncio.to_thread(listening.end, signal.SIGTERM)
            result = await call
    assert result.is_error
    assert result.content[0].text == "the server is stopping"
    assert (code, said.splitlines()[-1]) == (0, "moa: stopped")
    assert "POST /mcp panel 200" in said
    server.settle()
    assert not server.calls_of("b")[0].answered
