"""The preset `moa` as a deployable graph; `langgraph.json` names it."""

from moa_graph import MoAConfig

graph = MoAConfig.load("moa").graph().compile(name="moa")
