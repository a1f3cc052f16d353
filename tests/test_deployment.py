"""What `langgraph.json` names can be deployed."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from langgraph.graph.state import CompiledStateGraph

from moa_graph.config import preset_names

ROOT = Path(__file__).parent.parent
GRAPHS = json.loads((ROOT / "langgraph.json").read_text())["graphs"]


def test_langgraph_accepts_it():
    command = [Path(sys.executable).parent / "langgraph", "validate"]
    environment = os.environ | {"LANGGRAPH_CLI_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_preset_has_a_graph():
    assert sorted(GRAPHS) == preset_names()


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_needs_no_key_to_be_loaded(name):
    path, _, variable = GRAPHS[name]["path"].partition(":")
    graph = runpy.run_path(str(ROOT / path))[variable]
    assert isinstance(graph, CompiledStateGraph)
    assert graph.name == name
    assert graph.checkpointer is None  # the server brings its own
