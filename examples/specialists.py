"""Specialists by system prompt: a coder and a mathematician propose, and a critic reads both.

Real models: use `Agent(model="openai:gpt-6.1-sol", system=…)`. One model can play all roles.
"""

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableLambda

from moa_graph import Agent, create_moa

CODER = "You write code. Answer with a program."
MATHEMATICIAN = "You are a mathematician. Answer with a proof."
CRITIC = "You are a critic. Say whether the answers agree, and which is better founded."


def play(messages: list[BaseMessage]) -> str:
    """Replace a model that follows its system prompt."""
    system = messages[0].text
    if system.startswith(CODER):
        return "any(91 % n == 0 for n in range(2, 91)) is True, so 91 is not prime."
    if system.startswith(MATHEMATICIAN):
        return "91 = 7 * 13, so 91 is not prime."
    agreed = system.count("so 91 is not prime")
    return f"{agreed} of 2 say that 91 is not prime; 91 = 7 * 13 can be checked by hand."


model = RunnableLambda(play)
coder, mathematician = Agent(model=model, system=CODER), Agent(model=model, system=MATHEMATICIAN)
critic = Agent(model=model, system=CRITIC)
layers = [{"coder": coder, "mathematician": mathematician}, {"critic": critic}]
moa = create_moa(layers, aggregator="offline:consensus").compile()

if __name__ == "__main__":
    result = moa.invoke({"messages": "Is 91 prime?"})
    for node, proposal in result["proposals"].items():
        print(f"{node}: {proposal['content']}")
    print(f"answer: {result['messages'][-1].text}")
