import { expect, setDefaultTimeout, test } from "bun:test";
import { AdaptersForTests } from "./testing/adapters.ts";
import { failure } from "./testing/server.ts";

setDefaultTimeout(60_000);

const made = new AdaptersForTests({ list: { pooling: "mean" } });

const TEXTS = ["Once upon a time", "a little dog"];
const ask = (body: object) =>
  made.serving.client.embeddings.create({ model: "storyteller", input: TEXTS, encoding_format: "float", ...body });
/** What is sent, word for word: the client decodes. */
const post = async (body: object): Promise<{ data?: { embedding: unknown }[]; error?: { message: string } }> => {
  const answer = await fetch(`${made.serving.address}/v1/embeddings`, { method: "POST", body: JSON.stringify(body) });
  return (await answer.json()) as Awaited<ReturnType<typeof post>>;
};

test("texts, token ids and lists of either, in their order, of norm 1", async () => {
  const { data, usage, model: named } = await ask({});
  const ids = TEXTS.map((text) => made.model.tokenizer.encode(text));
  expect(data.map(({ index }) => index)).toEqual([0, 1]);
  for (const { embedding } of data) expect(Math.hypot(...embedding)).toBeCloseTo(1, 6);
  expect(data[0]?.embedding).not.toEqual(data[1]?.embedding);
  expect((await ask({ input: ids })).data).toEqual(data);
  expect((await ask({ input: TEXTS[0] })).data).toEqual(data.slice(0, 1));
  expect((await ask({ input: ids[0] })).data).toEqual(data.slice(0, 1));
  const tokens = ids.flat().length;
  expect(usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens });
  expect(named).toBe("storyteller");
  expect((await ask({ model: "pirate" })).data).not.toEqual(data);
});

test("base64 is the bytes of the same numbers in f32, which the client decodes", async () => {
  const input = TEXTS[0];
  const [{ embedding: numbers } = { embedding: [] }] = (await ask({ input })).data;
  const [{ embedding: sent } = { embedding: undefined }] =
    (await post({ input, encoding_format: "base64" })).data ?? [];
  const bytes = Buffer.from(String(sent), "base64");
  const read = Array.from({ length: bytes.length / 4 }, (_, at) => bytes.readFloatLE(4 * at));
  expect(read).toEqual(numbers);
  expect((await ask({ input, encoding_format: undefined })).data[0]?.embedding).toEqual(numbers);
});

test("what cannot be done is refused by name; the model's own size is no wish", async () => {
  const size = made.model.decoder.config.hiddenSize;
  expect((await ask({ dimensions: size })).data).toHaveLength(2);
  const refused = [
    [{ dimensions: size - 1 }, "dimensions", `must be ${size}`],
    [{ input: "" }, "input", "an empty text"],
    [{ input: [] }, "input", "an empty text"],
    [{ input: "Once ".repeat(2000) }, "input", "the context of this model ends at"],
    [{ input: [1e6] }, "input", "beyond the model's vocabulary"],
    [{ input: Array.from({ length: 2049 }, () => "a") }, "input", "2048 are allowed"],
    [{ encoding_format: "int8" }, "encoding_format", 'must be "float" or "base64"'],
    [{ stream: true }, "stream", "not supported"],
  ] as const;
  for (const [body, param, words] of refused) {
    const error = await failure(ask(body));
    expect(error).toMatchObject({ status: 400, param, message: expect.stringContaining(words) });
  }
  const listed = await made.serving.client.models.retrieve("storyteller");
  expect(listed).toMatchObject({ pooling: "mean" });
});
