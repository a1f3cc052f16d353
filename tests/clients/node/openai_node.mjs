// npm: openai@6 zod@4
// OpenAI's package for Node, chat completions.

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import * as probe from "./probe.mjs";

const client = new OpenAI({ baseURL: probe.BASE_URL, apiKey: probe.KEY });
const ask = (content) => [{ role: "user", content }];

async function plain() {
  const completion = await client.chat.completions.create({
    model: probe.MODEL,
    messages: ask(probe.QUESTION),
  });
  probe.expectAnswer(completion.choices[0].message.content);
}

async function stream() {
  const pieces = [];
  const chunks = await client.chat.completions.create({
    model: probe.MODEL,
    messages: ask(probe.QUESTION),
    stream: true,
  });
  for await (const chunk of chunks) pieces.push(chunk.choices[0]?.delta?.content ?? "");
  probe.expectPieces(pieces);
}

async function tool() {
  const runner = client.chat.completions.runTools({
    model: probe.MODEL,
    messages: ask(probe.TOOL_QUESTION),
    tools: [
      {
        type: "function",
        function: {
          name: "get_temperature",
          function: probe.getTemperature,
          parse: JSON.parse,
          parameters: probe.TOOL_SCHEMA,
        },
      },
    ],
  });
  probe.expectToolAnswer(await runner.finalContent());
}

async function structured() {
  const City = z.object({ name: z.string(), population: z.number() });
  const completion = await client.chat.completions.parse({
    model: probe.MODEL,
    messages: ask(probe.CITY_QUESTION),
    response_format: zodResponseFormat(City, "city"),
  });
  probe.expectCity(completion.choices[0].message.parsed);
}

await probe.run(plain, stream, tool, structured);
