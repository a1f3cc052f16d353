"""Names of spans and attributes, from OpenTelemetry's conventions for generative AI.

The conventions are unstable. The names are those of version 0.1.0
(`open-telemetry/semantic-conventions-genai`), in which a workflow is a local agent.
"""

GENAI_CONVENTIONS_VERSION = "0.1.0"

CHAT = "chat"
INVOKE_AGENT = "invoke_agent"
INVOKE_WORKFLOW = "invoke_workflow"

OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
AGENT_NAME = "gen_ai.agent.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_CREATION_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
ERROR_TYPE = "error.type"

MOA_NODE = "moa.node"
"""Node of an agent: `layer_1_a`, `aggregator`."""
MOA_LAYER = "moa.layer"
"""Number of an agent's layer, from 1; absent for the aggregator."""
MOA_MODEL = "moa.model"
"""Model of an agent: `provider:model`, or the name of a runnable."""
MOA_STATUS = "moa.status"
"""Status of a mixture or an agent."""
MOA_FAILED = "moa.failed"
"""Nodes of a mixture's failed agents."""
MOA_REUSED_PROPOSALS = "moa.reused_proposals"
"""Whether a mixture reused all proposals of an earlier call of the same turn."""

PROVIDER_NAMES = {
    "amazon_bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "ibm": "ibm.watsonx.ai",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "moonshot": "moonshot_ai",
    "xai": "x_ai",
}
"""Provider names of the conventions by LangChain's names, if they differ."""

CAPTURE_CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""Environment variable that enables message contents in spans."""
CAPTURING_VALUES = frozenset({"true", "span_only", "span_and_event"})
