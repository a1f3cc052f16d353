// What models of the AI SDK can do, whichever provider.

import { generateObject, generateText, jsonSchema, stepCountIs, streamText, tool as aiTool } from "ai";
import * as probe from "./probe.mjs";

export async function run(model) {
  async function plain() {
    const { text } = await generateText({ model, prompt: probe.QUESTION });
    probe.expectAnswer(text);
  }

  async function stream() {
    const pieces = [];
    const { textStream } = streamText({ model, prompt: probe.QUESTION });
    for await (const piece of textStream) pieces.push(piece);
    probe.expectPieces(pieces);
  }

  async function tool() {
    const { text } = await generateText({
      model,
      prompt: probe.TOOL_QUESTION,
      stopWhen: stepCountIs(3),
      tools: {
        get_temperature: aiTool({
          description: "Tell how warm it is in a city.",
          inputSchema: jsonSchema(probe.TOOL_SCHEMA),
          execute: probe.getTemperature,
        }),
      },
    });
    probe.expectToolAnswer(text);
  }

  async function structured() {
    const { object } = await generateObject({
      model,
      prompt: probe.CITY_QUESTION,
      schema: jsonSchema(probe.CITY_SCHEMA),
    });
    probe.expectCity(object);
  }

  await probe.run(plain, stream, tool, structured);
}
