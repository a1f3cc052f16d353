"""Two layers of three proposers and an aggregator.

Real models: replace any name by another `"provider:model"`, such as `"openai:gpt-6.1-sol"`, or by a
chat model.
"""

from moa_graph import create_moa

TEXT = """What does the river carry?

The river rises in the hills above the town. In spring it carries snow melt and timber.
In summer it carries boats. Nobody remembers who built the old bridge."""

layer = {"lead": "offline:lead", "words": "offline:bm25", "letters": "offline:ngram"}
moa = create_moa([layer] * 2, aggregator="offline:consensus").compile(name="moa")

if __name__ == "__main__":
    result = moa.invoke({"messages": TEXT})
    for node, proposal in result["proposals"].items():
        print(f"{node}: {proposal['content']}")
    print(f"answer: {result['messages'][-1].text}")
