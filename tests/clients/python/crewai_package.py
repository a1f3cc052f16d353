# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "crewai>=1.10",
# ]
# ///
"""CrewAI: a crew of one agent."""

import os

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"}

import probe
from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool as crew_tool

model = LLM(f"openai/{probe.MODEL}", base_url=probe.BASE_URL, api_key=probe.KEY)


def ask_crew(text: str, *tools: object) -> str:
    agent = Agent(role="Guide", goal="Answer", backstory="A guide.", llm=model, tools=list(tools))
    task = Task(description=text, expected_output="An answer.", agent=agent)
    return str(Crew(agents=[agent], tasks=[task]).kickoff())


def plain() -> None:
    probe.expect_answer(model.call(probe.QUESTION))


def tool() -> None:
    probe.expect_tool_answer(
        ask_crew(probe.TOOL_QUESTION, crew_tool("get_temperature")(probe.get_temperature))
    )


probe.run(plain, tool)
