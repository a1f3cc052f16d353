// npm: ai@6 @ai-sdk/openai@3
// AI SDK, the provider of OpenAI (Responses).

import { createOpenAI } from "@ai-sdk/openai";
import { run } from "./ai_sdk_columns.mjs";
import * as probe from "./probe.mjs";

const model = createOpenAI({ baseURL: probe.BASE_URL, apiKey: probe.KEY })(probe.MODEL);

await run(model);
