// Run what a client can do, and print what became of each, as lines of JSON.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { argv, env } from "node:process";

export const BASE_URL = env.MOA_BASE_URL;
export const ROOT_URL = BASE_URL.replace(/\/v1$/, "");
export const KEY = env.MOA_KEY;
export const MODEL = env.MOA_MODEL;

export const QUESTION = "What is the capital of France?";
export const TOOL_QUESTION =
  'How warm is it in Oslo? [[call: get_temperature {"city": "Oslo"}]]';
export const CITY_QUESTION =
  "Which city is the capital of France, and how many people live there?";
export const CITY_SCHEMA = {
  type: "object",
  properties: { name: { type: "string" }, population: { type: "integer" } },
  required: ["name", "population"],
  additionalProperties: false,
};
export const TOOL_SCHEMA = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

export const getTemperature = ({ city }) => `21 degrees in ${city}`;

function expect(isRight, what) {
  if (!isRight) throw new Error(`unexpected: ${JSON.stringify(what)}`);
}

export const expectAnswer = (text) => expect(String(text).includes("Paris"), text);
export const expectToolAnswer = (text) => expect(String(text).includes("21 degrees in Oslo"), text);
export const expectCity = (city) =>
  expect(
    env.MOA_SCRIPTED
      ? city?.name === "Paris" && city?.population === 2_100_000
      : typeof city?.name === "string" && Number.isInteger(city?.population),
    city,
  );

export function expectPieces(pieces) {
  expect(pieces.filter(Boolean).length > 1, pieces);
  expectAnswer(pieces.join(""));
}

export async function run(...columns) {
  console.log(JSON.stringify({ versions: readVersions() }));
  for (const column of columns) {
    const result = await column().then(
      () => "ok",
      (error) => `${error?.name}: ${error?.message}`.slice(0, 500),
    );
    console.log(JSON.stringify({ column: column.name, result }));
  }
  process.exit(0);
}

function readVersions() {
  const folder = dirname(argv[1]);
  const { dependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const versions = {};
  for (const name of Object.keys(dependencies)) {
    const file = join(folder, "node_modules", name, "package.json");
    versions[name] = JSON.parse(readFileSync(file, "utf8")).version;
  }
  return versions;
}
