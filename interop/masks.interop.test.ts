import { expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { ChatTemplate, loadChatTemplate } from "../src/data/text/chat-template.ts";
import { SampleEncoder } from "../src/data/text/samples/encoder.ts";
import { loadTokenizer } from "../src/data/text/load-tokenizer.ts";
import { pythonWithPeft } from "./environment.ts";
import { smollm2 } from "./models.ts";
import { ROOT } from "./program.ts";

/**
 * transformers' `return_assistant_tokens_mask` for random conversations, under templates with `{% generation %}`: our own,
 * and the model's with the tags put around what the assistant says, from which we get the same masks without the tags.
 */
const JUDGE = `
import json, random, sys
from transformers import AutoTokenizer
folder, own, seed = sys.argv[1], open(sys.argv[2]).read(), int(sys.argv[3])
tokenizer, draw = AutoTokenizer.from_pretrained(folder), random.Random(seed)
said = "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
assert said in tokenizer.chat_template
tagged = tokenizer.chat_template.replace(said, "{{'<|im_start|>' + message['role'] + '\\n'}}{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}")
words = ["the", " sea", "  ", "\\n", "\\n\\n", "Ahoy!", "😀", "é", " x", ".", "<|im_end|>", "assistant\\n", "日本", "\\t", "don't"]
rows = []
for _ in range(150):
    messages = [{"role": "system", "content": "Be brief."}] if draw.random() < 0.3 else []
    for turn in range(draw.randrange(1, 8)):
        messages.append({"role": ["user", "assistant"][turn % 2], "content": "".join(draw.choices(words, k=draw.randrange(1, 9)))})
    row = {"messages": messages}
    for name, template in (("own", own), ("model", tagged)):
        encoded = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        row[name] = {"ids": encoded["input_ids"], "mask": encoded["assistant_masks"]}
    rows.append(row)
json.dump(rows, sys.stdout)
`;

const Encoded = v.object({ ids: v.array(v.number()), mask: v.array(v.number()) });
const Rows = v.array(
  v.object({ messages: v.array(v.object({ role: v.string(), content: v.string() })), own: Encoded, model: Encoded }),
);

test("chats are supervised where transformers' assistant mask is set", async () => {
  const folder = await smollm2();
  const path = join(ROOT, "fixtures", "chat", "generation.jinja");
  const child = Bun.spawn([await pythonWithPeft(), "-c", JUDGE, folder, path, "5"], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect([status, status === 0 ? "" : stderr]).toEqual([0, ""]);
  const tokenizer = await loadTokenizer(folder);
  const own = new ChatTemplate(await Bun.file(path).text(), path);
  const templates = { own, model: await loadChatTemplate(folder) };
  for (const row of v.parse(Rows, JSON.parse(stdout))) {
    for (const name of ["own", "model"] as const) {
      const options = { tokenizer, template: templates[name], endOfSequence: 2, vocabularySize: 49_152 };
      const { ids, supervised } = new SampleEncoder(options).encode({
        kind: "chat",
        messages: row.messages,
        tools: undefined,
      });
      expect([row.messages, Array.from(ids)]).toEqual([row.messages, row[name].ids]);
      expect([row.messages, Array.from(supervised)]).toEqual([row.messages, row[name].mask]);
    }
  }
}, 120_000);
