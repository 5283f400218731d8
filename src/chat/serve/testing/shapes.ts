import { ServedForTests } from "./for-tests.ts";
import { loadToolsModel } from "./server.ts";

const CONTEXT = 1500;
export const MESSAGES = [{ role: "user" as const, content: "Tell me a story." }];
/** Of a function. */
export const PARAMETERS = {
  type: "object",
  properties: { a: { enum: [1, 2] } },
  required: ["a"],
  additionalProperties: false,
};

/** A model that knows tools, with a context of 1500 tokens. */
export const serveTools = (): ServedForTests =>
  new ServedForTests(loadToolsModel, { prompts: { system: undefined, templateVariables: {}, context: CONTEXT } });

/** What the chat endpoint says to MESSAGES, which other shapes have to say, too. */
export async function chatAnswer({ client }: ServedForTests, extra: object = {}): Promise<string> {
  const body = { model: "storyteller", messages: MESSAGES, max_tokens: 12, temperature: 0, ...extra };
  return (await client.chat.completions.create(body)).choices[0]?.message.content ?? "";
}
