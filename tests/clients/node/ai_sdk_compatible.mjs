// npm: ai@6 @ai-sdk/openai-compatible@2
// AI SDK, openai-compatible.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { run } from "./ai_sdk_columns.mjs";
import * as probe from "./probe.mjs";

const provider = createOpenAICompatible({
  name: "moa",
  baseURL: probe.BASE_URL,
  apiKey: probe.KEY,
  supportsStructuredOutputs: true,
});
const model = provider(probe.MODEL);

await run(model);
