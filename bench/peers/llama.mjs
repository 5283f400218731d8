/*
 * llama.cpp on the processor, through node-llama-cpp: prefills and decodes as lines of standard input ask.
 *
 * usage: node llama.mjs MODEL.gguf THREADS CONTEXT
 *
 * Prints `{"ready": what it is}`, then answers `prefill N` and `decode N`, each from an empty cache, with seconds, processor
 * time, and the tokens that were decoded greedily. Plain JavaScript, because its dependency is not one of this project:
 * `npm ci` in this folder brings it.
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
const vocabularySize = model.fileInfo.metadata.llama.vocab_size;
const opened = await model.createContext({
  contextSize: Number(context),
  batchSize: 512,
  threads: { ideal: Number(threads), min: Number(threads) },
});
const sequence = opened.getSequence();

/** The ids that our side is given, too. */
const promptOf = (count) => Array.from({ length: count }, (_, at) => ((at + 1) * 7919) % vocabularySize);

const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

async function timed(work) {
  const [wall, cpu] = [performance.now(), process.cpuUsage()];
  const tokens = await work();
  const { user, system } = process.cpuUsage(cpu);
  return { seconds: (performance.now() - wall) / 1000, coreSeconds: (user + system) / 1e6, tokens };
}

const JOBS = {
  async prefill(count) {
    return await timed(async () => {
      await sequence.evaluateWithoutGeneratingNewTokens(promptOf(count));
      return [];
    });
  },
  async decode(count) {
    // The first token comes out of the prompt's pass, which is not what is timed.
    const tokens = sequence.evaluate(promptOf(16), { temperature: 0 });
    const { value: first } = await tokens.next();
    const result = await timed(async () => {
      const found = [];
      for (let i = 0; i < count; i++) found.push((await tokens.next()).value);
      return found;
    });
    await tokens.return();
    return { ...result, tokens: [first, ...result.tokens] };
  },
};

answer({ ready: `node-llama-cpp, llama.cpp ${llama.llamaCppRelease.release}` });
for await (const line of createInterface({ input: process.stdin })) {
  const [job, count] = line.split(" ");
  await sequence.clearHistory();
  answer(await JOBS[job](Number(count)));
}
await llama.dispose();
