import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { isValid, SCHEMAS, TREE } from "../grammar/testing/schemas.ts";
import { ServedForTests } from "./testing/for-tests.ts";
import { failure, loadToolsModel } from "./testing/server.ts";

const model = "storyteller";

const prompts = { system: undefined, templateVariables: {}, context: 2048 };
const served = new ServedForTests(loadToolsModel, { prompts, parallel: 8, queueLength: 1000 });

test("40 random schemas: every answer is JSON and valid, whatever the temperature", async () => {
  const schemas = [...fc.sample(SCHEMAS, { numRuns: 40 }), TREE];
  const outcomes = await Promise.all(
    schemas.map(async (schema, seed) => {
      const format = { type: "json_schema" as const, json_schema: { name: "answer", schema } };
      const asked = served.client.chat.completions.create({
        model,
        messages: [{ role: "user", content: "Hi" }],
        response_format: format,
        temperature: [0, 1, 2][seed % 3] ?? 0,
        max_tokens: 300,
        seed,
      });
      try {
        const { choices } = await asked;
        const text = choices[0]?.message.content ?? "";
        return isValid(JSON.parse(text), schema) ? "valid" : `${JSON.stringify(schema)}: ${text}`;
      } catch (error) {
        if (error instanceof SyntaxError) throw error;
        return (await failure(asked)) instanceof Error ? `refused: ${String(error)}` : "";
      }
    }),
  );
  const others = outcomes.filter((outcome) => outcome !== "valid");
  // Some allow nothing: a required member that may have no value.
  expect(others.filter((outcome) => !/^refused: .*(?:allows no (?:value|text)|beyond 2\^53)/.test(outcome))).toEqual(
    [],
  );
  // Six with the usual seed.
  expect(others.length).toBeLessThan(14);
});

test("json_object, llama.cpp's names, and a grammar", async () => {
  const ask = async (extra: object): Promise<string> => {
    const body = {
      model,
      messages: [{ role: "user" as const, content: "Hi" }],
      temperature: 2,
      max_tokens: 60,
      seed: 4,
    };
    const { choices } = await served.client.chat.completions.create({ ...body, ...extra });
    return choices[0]?.message.content ?? "";
  };
  expect(isValid(JSON.parse(await ask({ response_format: { type: "json_object" } })), { type: "object" })).toBeTrue();
  expect(JSON.parse(await ask({ json_schema: { const: { a: 1 } } }))).toEqual({ a: 1 });
  expect(await ask({ grammar: 'root ::= ("yes" | "no") " "? [0-9]{3}' })).toMatch(/^(?:yes|no) ?\d{3}$/);
  const body = { model, prompt: "Once", max_tokens: 20, grammar: 'root ::= "é"+ "🙂"' };
  const { choices } = await served.client.completions.create(body);
  expect(choices[0]?.text).toMatch(/^é+🙂$/u);
  const bad = await failure(ask({ grammar: "root = 1" }));
  expect(bad).toMatchObject({ status: 400, param: "grammar", message: expect.stringContaining("line 1") });
  expect(await failure(ask({ grammar: 'root ::= "a"', json_schema: {} }))).toMatchObject({ param: "json_schema" });
});

test("one of too many states is refused with the field in which it came", async () => {
  const deep = Array.from({ length: 30 }).reduce<object>((items) => ({ type: "array", items, minItems: 900 }), {});
  const schema = { type: "object", properties: { a: deep } };
  const format = { type: "json_schema" as const, json_schema: { name: "x", schema } };
  const messages = [{ role: "user" as const, content: "Hi" }];
  const [named, long] = [{ json_schema: schema }, { grammar: `root ::= ${'"abc" '.repeat(8000)}` }];
  const { chat, completions, responses } = served.client;
  const tools = [{ type: "function" as const, function: { name: "f", parameters: schema } }];
  for (const [asked, param] of [
    [chat.completions.create({ model, messages, response_format: format }), "response_format"],
    [chat.completions.create({ model, messages, tools, tool_choice: "required" }), "tools"],
    [completions.create({ model, prompt: "Hi", ...named }), "json_schema"],
    [completions.create({ model, prompt: "Hi", ...long }), "grammar"],
    [
      responses.create({ model, input: "Hi", text: { format: { ...format.json_schema, type: format.type } } }),
      "text.format",
    ],
  ] as const) {
    const message = expect.stringContaining(`${param}: the grammar or schema has more than 20000 states`);
    expect(await failure(asked)).toMatchObject({ status: 400, param, message });
  }
  const body = JSON.stringify({ model, messages, format: schema });
  const answer = await fetch(`${served.serving.address}/api/chat`, { method: "POST", body });
  expect(await answer.json()).toEqual({ error: expect.stringMatching(/^format: /) });
});

test("an answer that may only have a few tokens is the beginning of one", async () => {
  const { choices } = await served.client.chat.completions.create({
    model,
    messages: [{ role: "user", content: "Hi" }],
    response_format: { type: "json_schema", json_schema: { name: "x", schema: { const: "a long text" } } },
    max_tokens: 3,
  });
  expect(choices[0]?.finish_reason).toBe("length");
  expect('"a long text"').toStartWith(choices[0]?.message.content ?? "?");
});
