"""Single models to serve, from `moa serve --single NAME=MODEL`."""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from moa_graph.cli.errors import CommandError
from moa_graph.config.model import MoAConfig, format_validation_error
from moa_graph.config.single import SingleModel
from moa_graph.models.agent import Agent
from moa_graph.validation_errors import suggest_name


def load_singles(
    options: Sequence[str], mixtures: Mapping[str, MoAConfig]
) -> dict[str, SingleModel]:
    """Parse `NAME=MODEL`, with a `provider:model` or the name of an agent of a mixture.

    Raises:
        CommandError: If one is neither, or its name is already used.
    """
    singles = dict[str, SingleModel]()
    for option in options:
        name, separator, model = (part.strip() for part in option.partition("="))
        if not (separator and name and model):
            raise CommandError(
                f"--single {option}: expected NAME=MODEL, such as titles=openai:gpt-6-luna"
            )
        if name in mixtures or name in singles:
            raise CommandError(f"--single {option}: a model {name!r} exists already")
        agent = Agent(model=model) if ":" in model else _find_agent(option, model, mixtures)
        once = agent.model_copy(update={"samples": 1, "joint_samples": False})
        try:
            singles[name] = SingleModel.model_validate({"name": name, "aggregator": once})
        except ValidationError as error:
            message = format_validation_error(error)
            raise CommandError(f"--single {option}: {message}") from None
    return singles


def _find_agent(option: str, name: str, mixtures: Mapping[str, MoAConfig]) -> Agent:
    """Return the agent of a name in any of the mixtures."""
    known = [_agents_of(mixture) for mixture in mixtures.values()]
    found = [agents[name] for agents in known if name in agents]
    if not found:
        names = sorted({each for agents in known for each in agents})
        raise CommandError(
            f"--single {option}: no agent {name!r} in what is served{suggest_name(name, names)}; "
            f"expected 'provider:model', or one of: {', '.join(names)}"
        )
    if any(agent != found[0] for agent in found):
        raise CommandError(
            f"--single {option}: two mixtures have different agents {name!r}; give one of them "
            "another name"
        )
    return found[0]


def _agents_of(mixture: MoAConfig) -> dict[str, Agent]:
    """Return the agents of a mixture by name, including unused ones of its table `agents`."""
    named = {name: agent for layer in mixture.layers for name, agent in layer.items()}
    return {"aggregator": mixture.aggregator, **mixture.agents, **named}
