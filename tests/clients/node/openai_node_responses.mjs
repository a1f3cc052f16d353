// npm: openai@6 zod@4
// OpenAI's package for Node, Responses.

import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import * as probe from "./probe.mjs";

const client = new OpenAI({ baseURL: probe.BASE_URL, apiKey: probe.KEY });

async function plain() {
  const response = await client.responses.create({ model: probe.MODEL, input: probe.QUESTION });
  probe.expectAnswer(response.output_text);
}

async function stream() {
  const pieces = [];
  const events = client.responses.stream({ model: probe.MODEL, input: probe.QUESTION });
  for await (const event of events) {
    if (event.type === "response.output_text.delta") pieces.push(event.delta);
  }
  probe.expectAnswer((await events.finalResponse()).output_text);
  probe.expectPieces(pieces);
}

async function tool() {
  const tools = [
    {
      type: "function",
      name: "get_temperature",
      parameters: probe.TOOL_SCHEMA,
      strict: true,
    },
  ];
  const input = [{ role: "user", content: probe.TOOL_QUESTION }];
  const first = await client.responses.create({ model: probe.MODEL, input, tools });
  const call = first.output.find((item) => item.type === "function_call");
  input.push(...first.output, {
    type: "function_call_output",
    call_id: call.call_id,
    output: probe.getTemperature(JSON.parse(call.arguments)),
  });
  const second = await client.responses.create({ model: probe.MODEL, input, tools });
  probe.expectToolAnswer(second.output_text);
}

async function structured() {
  const City = z.object({ name: z.string(), population: z.number() });
  const response = await client.responses.parse({
    model: probe.MODEL,
    input: probe.CITY_QUESTION,
    text: { format: zodTextFormat(City, "city") },
  });
  probe.expectCity(response.output_parsed);
}

await probe.run(plain, stream, tool, structured);
