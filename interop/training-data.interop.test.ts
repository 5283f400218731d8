import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { ChatTemplate, loadChatTemplate } from "../src/data/text/chat-template.ts";
import { loadDataSet } from "../src/data/text/samples/load.ts";
import { loadTokenizer } from "../src/data/text/load-tokenizer.ts";
import type { Tokenizer } from "../src/data/text/tokenizer.ts";
import { learningRateAt, SCHEDULES } from "../src/train/settings/schedule.ts";
import { judge } from "./judge.ts";
import { smollm2 } from "./models.ts";
import { learningRates } from "./training-judge.ts";

const python = await judge();
const Samples = v.array(v.object({ ids: v.array(v.number()), supervised: v.array(v.number()) }));
type Samples = v.InferOutput<typeof Samples>;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "randlora-training-data-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** What training sees of these records. */
async function ours(
  records: readonly unknown[],
  options: { tokenizer: Tokenizer; template: ChatTemplate | undefined; end: number; maxLength?: number },
): Promise<Samples> {
  const { tokenizer, template, end, maxLength = 10_000 } = options;
  const path = join(folder, "data.jsonl");
  await Bun.write(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  const vocabularySize = Infinity;
  const data = await loadDataSet([path], { tokenizer, template, endOfSequence: end, vocabularySize, maxLength });
  return Array.from({ length: data.length }, (_, i) => {
    const { ids, supervised } = data.sample(i);
    return { ids: [...ids], supervised: [...supervised] };
  });
}

/** ChatML, with the assistant's turns marked as docs/interface.md defines them: content and end-of-turn token. */
const CHATML = [
  "{%- for message in messages -%}",
  "{{- '<|im_start|>' + message['role'] + '\n' -}}",
  "{%- if message['role'] == 'assistant' -%}",
  "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}",
  "{%- else -%}{{- message['content'] + '<|im_end|>\n' -}}{%- endif -%}",
  "{%- endfor -%}",
].join("");
/** Headers of text, a turn that begins inside a token (the space belongs to the next word), no end token of its own. */
const PLAIN = [
  "{{ bos_token }}{% for message in messages %}",
  "{% if message['role'] == 'assistant' %}ASSISTANT: {% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}",
  "{% else %}{{ message['role'].upper() }}: {{ message['content'] | trim }}\n{% endif %}{% endfor %}",
].join("");

const turn = (role: string) => (content: string) => ({ role, content });
const [system, user, assistant] = [turn("system"), turn("user"), turn("assistant")];
/** All begin with a system prompt: the 135M model's own template would put one in. */
const CHATS = [
  [system("Be brief."), user("Who are you?"), assistant("A small model.")],
  [system("Be brief."), user("2 + 2?"), assistant("4"), user("and 3 + 3?"), assistant("6, of course.\n")],
  [system("Überraschung 🎉"), user("Sag é\u0301 und 東京"), assistant("  é\u0301, 東京 und 👩‍👩‍👧 \n\n ok")],
  [system("s"), user("same"), assistant("same"), user("assistant"), assistant("user\nassistant")],
  [system("s"), user("code?"), assistant("```ts\nconst a = 1;\n```\n"), assistant("Another turn at once.")],
];

describe("ids and supervised tokens of chats are transformers'", () => {
  let model: string;
  let tokenizer: Tokenizer;
  let end: number;
  beforeAll(async () => {
    model = await smollm2();
    tokenizer = await loadTokenizer(model);
    end = tokenizer.encode("<|im_end|>", { special: false })[0] ?? NaN;
  });
  const tokens = { bos_token: "<|im_start|>", eos_token: "<|im_end|>" };
  const records = CHATS.map((messages) => ({ messages }));
  const theirs = (template: string) =>
    python.request(Samples, "chat_samples", { tokenizer: model, template, chats: CHATS });

  test.each([
    ["ChatML", CHATML],
    ["a template of plain text", PLAIN],
  ])("%s with {%% generation %%}", async (_, source) => {
    const found = await ours(records, { tokenizer, template: new ChatTemplate(source, "marked.jinja", tokens), end });
    expect(found).toEqual(await theirs(source));
  });

  test("the 135M model's own template, which marks nothing, against the same one with marks", async () => {
    const found = await ours(records, { tokenizer, template: await loadChatTemplate(model), end });
    expect(found).toEqual(await theirs(CHATML));
  });

  test("cut on the right", async () => {
    const template = await loadChatTemplate(model);
    const whole = (await theirs(CHATML)).map(({ ids, supervised }) => ({
      ids: ids.slice(0, 30),
      supervised: supervised.slice(0, 30),
    }));
    const found = await ours(records, { tokenizer, template, end, maxLength: 30 });
    expect(found).toEqual(whole.filter(({ supervised }) => supervised.includes(1)));
  });
});

test("learning rates are those of get_scheduler", async () => {
  for (const schedule of SCHEDULES) {
    for (const [steps, warmup] of [
      [50, 0],
      [50, 7],
      [10, 10],
      [3, 5],
      [1, 0],
    ] as const) {
      const wanted = await learningRates({ schedule, warmup, steps, "learning-rate": 3e-4 });
      const found = wanted.map((_, i) => learningRateAt({ schedule, warmup, learningRate: 3e-4 }, i + 1, steps));
      const name = `${schedule}, ${warmup} of ${steps}`;
      wanted.forEach((rate, i) =>
        expect(Math.abs((found[i] ?? NaN) - rate), `${name}: step ${i + 1}`).toBeLessThan(1e-18),
      );
    }
  }
});
