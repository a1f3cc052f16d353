"""The preset `moa-gpt-4o` as a deployable graph; `langgraph.json` names it."""

from moa_graph import MoAConfig

graph = MoAConfig.load("moa-gpt-4o").graph().compile(name="moa-gpt-4o")
