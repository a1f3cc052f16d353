"""The preset `self-moa` as a deployable graph; `langgraph.json` names it."""

from moa_graph import MoAConfig

graph = MoAConfig.load("self-moa").graph().compile(name="self-moa")
