# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "smolagents[openai]>=1.20",
# ]
# ///
"""smolagents: CodeAgent is asked plainly; ToolCallingAgent calls a tool."""

import probe
from smolagents import OpenAIServerModel, Tool, ToolCallingAgent

model = OpenAIServerModel(probe.MODEL, api_base=probe.BASE_URL, api_key=probe.KEY)


class Temperature(Tool):
    name = "get_temperature"
    description = "Tell how warm it is in a city."
    inputs = {"city": {"type": "string", "description": "The name of the city."}}  # noqa: RUF012
    output_type = "string"

    def forward(self, city: str) -> str:
        return probe.get_temperature(city)


def message() -> list:
    return [{"role": "user", "content": [{"type": "text", "text": probe.QUESTION}]}]


def plain() -> None:
    probe.expect_answer(model.generate(message()).content)


def stream() -> None:
    probe.expect_pieces([delta.content or "" for delta in model.generate_stream(message())])


def tool() -> None:
    agent = ToolCallingAgent([Temperature()], model, max_steps=4, verbosity_level=0)
    probe.expect_tool_answer(agent.run(probe.TOOL_QUESTION))


probe.run(plain, stream, tool)
