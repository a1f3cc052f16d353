// npm: @langchain/openai @langchain/core langchain zod@4
// LangChain for JavaScript, ChatOpenAI.

import { tool as langchainTool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { createAgent } from "langchain";
import { z } from "zod";
import * as probe from "./probe.mjs";

const model = new ChatOpenAI({
  model: probe.MODEL,
  apiKey: probe.KEY,
  configuration: { baseURL: probe.BASE_URL },
});

async function plain() {
  probe.expectAnswer((await model.invoke(probe.QUESTION)).text);
}

async function stream() {
  const pieces = [];
  for await (const chunk of await model.stream(probe.QUESTION)) pieces.push(chunk.text);
  probe.expectPieces(pieces);
}

async function tool() {
  const getTemperature = langchainTool(probe.getTemperature, {
    name: "get_temperature",
    description: "Tell how warm it is in a city.",
    schema: z.object({ city: z.string() }),
  });
  const agent = createAgent({ model, tools: [getTemperature] });
  const { messages } = await agent.invoke({
    messages: [{ role: "user", content: probe.TOOL_QUESTION }],
  });
  probe.expectToolAnswer(messages.at(-1).text);
}

async function structured() {
  const City = z.object({ name: z.string(), population: z.number() });
  const byMethod = ["functionCalling", "jsonSchema", "jsonMode"].map((method) =>
    model.withStructuredOutput(City, { method, name: "city" }).invoke(probe.CITY_QUESTION),
  );
  for (const city of await Promise.all(byMethod)) probe.expectCity(city);
}

await probe.run(plain, stream, tool, structured);
