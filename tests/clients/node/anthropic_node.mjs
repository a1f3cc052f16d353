// npm: @anthropic-ai/sdk
// Anthropic's package for Node, Messages.

import Anthropic from "@anthropic-ai/sdk";
import * as probe from "./probe.mjs";

const client = new Anthropic({ baseURL: probe.ROOT_URL, apiKey: probe.KEY });
const ask = (content) => ({
  model: probe.MODEL,
  max_tokens: 1000,
  messages: [{ role: "user", content }],
});
const tools = [{ name: "get_temperature", input_schema: probe.TOOL_SCHEMA }];

async function plain() {
  const message = await client.messages.create(ask(probe.QUESTION));
  probe.expectAnswer(message.content[0].text);
}

async function stream() {
  const pieces = [];
  const events = client.messages.stream(ask(probe.QUESTION));
  events.on("text", (text) => pieces.push(text));
  probe.expectAnswer(await events.finalText());
  probe.expectPieces(pieces);
}

async function tool() {
  const request = { ...ask(probe.TOOL_QUESTION), tools };
  const first = await client.messages.create(request);
  const call = first.content.find((block) => block.type === "tool_use");
  request.messages.push(
    { role: "assistant", content: first.content },
    {
      role: "user",
      content: [
        {
          type: "tool_result",
          tool_use_id: call.id,
          content: probe.getTemperature(call.input),
        },
      ],
    },
  );
  const second = await client.messages.create(request);
  probe.expectToolAnswer(second.content[0].text);
}

async function structured() {
  const message = await client.messages.create({
    ...ask(probe.CITY_QUESTION),
    tools: [{ name: "city", input_schema: probe.CITY_SCHEMA }],
    tool_choice: { type: "tool", name: "city" },
  });
  probe.expectCity(message.content[0].input);
}

await probe.run(plain, stream, tool, structured);
