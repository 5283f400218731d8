/*
 * llama.cpp on the processor, through node-llama-cpp: greedy tokens, as lines of standard input ask.
 *
 * usage: node llama.mjs PACKAGES      PACKAGES: the folder where node-llama-cpp is installed
 *
 * Answers each line `{"model": FILE, "adapter": FILE or null, "prompt": TEXT, "count": N}` with `{"ids", "tokens"}`: the
 * prompt's ids, which llama.cpp's own tokenizer makes, and N tokens; or with `{"error"}`.
 */
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const main = join(process.argv[2], "node_modules", "node-llama-cpp", "dist", "index.js");
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(main).href);
// The least that llama.cpp has. By it, not by the text's length, llama.cpp chooses between the factors of LongRoPE.
const CONTEXT = 256;
// One thread: those of ggml spin while they wait for each other, and on a busy machine a token takes a second.
const quiet = { progressLogs: false, logLevel: LlamaLogLevel.error };
const llama = await getLlama({ gpu: false, build: "never", maxThreads: 1, ...quiet });

async function greedy({ model: modelPath, adapter, prompt, count }) {
  const model = await llama.loadModel({ modelPath });
  const lora = adapter === null ? {} : { lora: { adapters: [{ filePath: adapter, scale: 1 }] } };
  const context = await model.createContext({ contextSize: CONTEXT, threads: 1, ...lora });
  const { bos, eos, shouldPrependBosToken, shouldAppendEosToken } = model.tokens;
  const [before, after] = [shouldPrependBosToken ? [bos] : [], shouldAppendEosToken ? [eos] : []];
  const ids = [...before, ...model.tokenize(prompt, false), ...after];
  const tokens = [];
  for await (const token of context.getSequence().evaluate(ids, { temperature: 0, yieldEogToken: true })) {
    tokens.push(token);
    if (tokens.length === count) break;
  }
  await context.dispose();
  await model.dispose();
  return { ids, tokens };
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await greedy(JSON.parse(line)).catch((error) => ({ error: String(error) }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await llama.dispose();
