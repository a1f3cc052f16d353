"""A mixture as a proposer of another mixture: its layers run inside one branch.

Real models: use a mixture of small models as one proposer beside a large model, such as
"openai:gpt-6.1-terra".
"""

from moa_graph import create_moa

TEXT = """Who has the key to the mill?

The miller owns the mill. The key to the mill hangs in the church. The priest has the key to the
church. The mill stands still on Sundays."""

team = create_moa([["offline:bm25", "offline:mmr", "offline:ngram"]], "offline:consensus")
moa = create_moa(
    [{"team": team.compile(name="team"), "alone": "offline:lead"}], aggregator="offline:consensus"
).compile()

if __name__ == "__main__":
    for path, update in moa.stream({"messages": TEXT}, stream_mode="updates", subgraphs=True):
        inside = "".join(f"{name.partition(':')[0]} > " for name in path)
        for node, values in update.items():
            for proposal in (values or {}).get("proposals", {}).values():
                print(f"{inside}{node}: {proposal['content']}")
            for message in (values or {}).get("messages", []):
                print(f"{inside}{node}: {message.text}")
