"""The preset `offline` as a deployable graph; `langgraph.json` names it."""

from moa_graph import MoAConfig

graph = MoAConfig.load("offline").graph().compile(name="offline")
