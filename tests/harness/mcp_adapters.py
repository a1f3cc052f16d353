"""Call the tools of `moa mcp` by langchain-mcp-adapters, in an environment of its own.

`.ci/mcp-adapters` makes it: the adapters need a version of `mcp` before the one that `moa mcp` has.
"""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.resources import load_mcp_resources
from langchain_mcp_adapters.tools import load_mcp_tools

MOA = sys.argv[1]
WORDS = ["mcp", "--preset", "offline"]
KEY = "sk-moa-of-this-check"
QUESTION = "Where is the key? The key is under the tree. The cook has a spoon. Roses grow."
ANSWER = "The key is under the tree."


class Caller(GenericFakeChatModel):
    """The model of an agent: it calls the tool, and then says what it read."""

    def bind_tools(self, *_: object, **__: object) -> "Caller":
        """Take any tools."""
        return self


@contextmanager
def listening() -> Iterator[str]:
    """Listen for HTTP, and give the address."""
    command = [MOA, *WORDS, "--http", "--port", "0"]
    environment = os.environ | {"MOA_API_KEY": KEY}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stderr
            yield next(
                found[1] for line in server.stderr if (found := re.search(r"(\S+) offers", line))
            )
        finally:
            server.terminate()


async def use_tools(connection: dict[str, object]) -> None:
    """Call the tool by itself, and in an agent."""
    heard = list[str | None]()

    async def hear(_done: float, _total: float | None, message: str | None, _: object) -> None:
        heard.append(message)

    client = MultiServerMCPClient({"moa": connection})
    async with client.session("moa") as session:  # without it, each call would start a process
        (tool,) = await load_mcp_tools(session, callbacks=Callbacks(on_progress=hear))
        call = {"type": "tool_call", "id": "1", "name": tool.name, "args": {"question": QUESTION}}
        message = await tool.ainvoke(call)
        assert message.content[0]["text"] == ANSWER, message
        result = message.artifact["structured_content"]
        assert (result["answer"], result["summary"]["answered"]) == (ANSWER, 12), result
        assert "the aggregator writes the answer" in heard, heard
        (report,) = await load_mcp_resources(session, uris=[result["report"]])
        assert ANSWER in report.as_string()
        refused = await tool.ainvoke({**call, "args": {"question": ""}})
        assert refused.status == "error", refused
        model = Caller(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("done")]))
        state = await create_agent(model, [tool]).ainvoke({"messages": "q"})
    assert [each.type for each in state["messages"]] == ["human", "ai", "tool", "ai"], state


async def main() -> None:
    """Check both transports."""
    await use_tools({"transport": "stdio", "command": MOA, "args": WORDS})
    with listening() as url:
        headers = {"Authorization": f"Bearer {KEY}"}
        await use_tools({"transport": "streamable_http", "url": url, "headers": headers})
    print("langchain-mcp-adapters: both transports answer")


if __name__ == "__main__":
    asyncio.run(main())
