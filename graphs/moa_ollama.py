"""The preset `ollama` as a deployable graph; `langgraph.json` names it."""

from moa_graph import MoAConfig

graph = MoAConfig.load("ollama").graph().compile(name="ollama")
