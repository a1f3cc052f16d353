"""The preset `moa-lite` as a deployable graph; `langgraph.json` names it."""

from moa_graph import MoAConfig

graph = MoAConfig.load("moa-lite").graph().compile(name="moa-lite")
