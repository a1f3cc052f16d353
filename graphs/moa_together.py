"""The preset `together` as a deployable graph; `langgraph.json` names it."""

from moa_graph import MoAConfig

graph = MoAConfig.load("together").graph().compile(name="together")
