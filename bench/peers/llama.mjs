/*
 * llama.cpp on the processor, through node-llama-cpp: prefills and decodes as lines of standard input ask.
 *
 * usage: node llama.mjs MODEL.gguf THREADS CONTEXT
 *
 * Prints `{"ready": what it is}`, then answers each line `{"ids": a prompt, "decode": tokens}`, from an empty cache, with
 * the greedy tokens, and the seconds and the processor time of the decoding; of the prompt where nothing is decoded. Plain
 * JavaScript, because its dependency is not one of this project: `npm ci` in this folder brings it.
 */
import { createInterface } from "node:readline";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [path, threads, context] = process.argv.slice(2);
const llama = await getLlama({
  gpu: false,
  build: "never",
  progressLogs: false,
  logLevel: LlamaLogLevel.error,
  maxThreads: Number(threads),
});
const model = await llama.loadModel({ modelPath: path });
const opened = await model.createContext({
  contextSize: Number(context),
  batchSize: 512,
  threads: { ideal: Number(threads), min: Number(threads) },
});
const sequence = opened.getSequence();

const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function timed(work) {
  const [wall, cpu] = [performance.now(), process.cpuUsage()];
  const tokens = await work();
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - wall) / 1000, coreSeconds: (user + system) / 1e6, tokens };
}

async function prefill(ids) {
  return await timed(async () => {
    await sequence.evaluateWithoutGeneratingNewTokens(ids);
    return [];
  });
}

async function decode(ids, count) {
  // The first token comes out of the prompt's pass, which is not what is timed.
  const tokens = sequence.evaluate(ids, { temperature: 0 });
  const { value: first } = await tokens.next();
  const result = await timed(async () => {
    const found = [];
    for (let i = 0; i < count; i++) {
      const { value, done } = await tokens.next();
      if (done) throw new Error(`the text ended after ${i + 1} tokens; decode fewer`);
      found.push(value);
    }
    return found;
  });
  await tokens.return();
  return { ...result, tokens: [first, ...result.tokens] };
}

answer({ ready: `node-llama-cpp, llama.cpp ${llama.llamaCppRelease.release}` });
for await (const line of createInterface({ input: process.stdin })) {
  const { ids, decode: count } = JSON.parse(line);
  await sequence.clearHistory();
  answer(count === 0 ? await prefill(ids) : await decode(ids, count));
}
await llama.dispose();
