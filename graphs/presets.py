"""The presets as deployable graphs, listed in `langgraph.json`.

Each is a factory that takes the config of the server. `moa()` is the plain compiled graph.
"""

from moa_graph import deployable

moa = deployable("moa")
moa_lite = deployable("moa-lite")
moa_gpt_4o = deployable("moa-gpt-4o")
together = deployable("together")
openai = deployable("openai")
economical = deployable("economical")
self_moa = deployable("self-moa")
ollama = deployable("ollama")
offline = deployable("offline")
