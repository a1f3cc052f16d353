import js from "@eslint/js";
import globals from "globals";

const page = "moa_graph/*/page/*.js";
const tests = "tests/page/*.js";

const markup = "The page builds elements; a model's text must never be parsed as markup.";
const parsers = ["innerHTML", "outerHTML", "insertAdjacentHTML", "setHTMLUnsafe", "createContextualFragment"];

export default [
  { ignores: ["**/*", "!**/*/", "!*.js", `!${page}`, `!${tests}`, "node_modules/", ".venv/"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error",
      "complexity": ["error", 12],
      "consistent-return": "error",
      "default-param-last": "error",
      "eqeqeq": "error",
      "max-len": ["error", { code: 120 }],
      "max-lines-per-function": ["error", 40],
      "no-console": "error",
      "no-else-return": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-param-reassign": "error",
      "no-promise-executor-return": "error",
      "no-return-assign": "error",
      "no-self-compare": "error",
      "no-shadow": "error",
      "no-template-curly-in-string": "error",
      "no-throw-literal": "error",
      "no-unused-expressions": "error",
      "no-unused-vars": ["error", { caughtErrors: "all" }],
      "no-useless-return": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-object-spread": "error",
      "prefer-template": "error",
      "require-atomic-updates": "error",
      "require-await": "error",
    },
  },
  {
    files: [page],
    languageOptions: { globals: globals.browser },
    rules: {
      "no-restricted-properties": ["error", ...parsers.map((property) => ({ property, message: markup }))],
    },
  },
  { files: [tests, "*.js"], languageOptions: { globals: { ...globals.browser, ...globals.node } } },
];
