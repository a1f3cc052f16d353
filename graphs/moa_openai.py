"""The preset `openai` as a deployable graph; `langgraph.json` names it."""

from moa_graph import MoAConfig

graph = MoAConfig.load("openai").graph().compile(name="openai")
