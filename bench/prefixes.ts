/*
 * `bun bench/prefixes.ts [MODEL] [--trials 200] [--tokens 192] [--seed 1]`: can a client tell with a stopwatch what another one asked? In
 * each trial a client asks one of two texts; another one, with a key of its own, asks both, in any order, and takes the one whose first
 * token comes sooner for what was asked. Prints how often that is right, beside how often it is with the same key, which shows that the
 * stopwatch could tell. MODEL is the 135M chat model by default. Exit status 1 where guesses are better than chance.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { smollm2 } from "../interop/models.ts";
import { loadTokenizer } from "../src/data/text/load-tokenizer.ts";
import { machine, renderMachine } from "./harness.ts";
import { ask } from "./serving/client.ts";
import { tokensOfText, uniform } from "./serving/load.ts";
import { ServerProcess } from "./serving/servers.ts";

/** Guesses by chance are right more often than this many standard deviations above half in one of 700 runs. */
const SIGMAS = 3;
const KEYS = ["of-the-victim", "of-the-guesser"] as const;

const { values, positionals } = parseArgs({
  options: {
    trials: { type: "string", default: "200" },
    tokens: { type: "string", default: "192" },
    seed: { type: "string", default: "1" },
  },
  allowPositionals: true,
});
const [trials, tokens] = [Number(values.trials), Number(values.tokens)];
const draw = uniform(Number(values.seed));
const model = positionals[0] ?? (await smollm2());
process.stdout.write(renderMachine(await machine()));
const folder = await mkdtemp(join(tmpdir(), "randlora-prefixes-"));
try {
  const tokenizer = await loadTokenizer(model);
  const file = join(folder, "keys.json");
  await writeFile(file, JSON.stringify(KEYS.map((key) => ({ key, name: key }))));
  await using server = await ServerProcess.randlora([model, "--api-keys", file]);
  const first = async (prompt: readonly number[], key: string): Promise<number> => {
    const request = { model: 0, prompt, maxTokens: 1, temperature: 0, seed: 0, leavesAfter: undefined };
    const { first, failure } = await ask(server.address, "", request, key);
    if (failure !== undefined) throw new Error(failure);
    return first;
  };
  /** @returns whether the guess is right */
  const guess = async (key: string): Promise<boolean> => {
    const texts = [0, 1].map(() => tokensOfText(tokenizer, tokens, draw));
    const asked = Math.floor(2 * draw());
    await first(texts[asked] ?? [], KEYS[0]);
    const order = draw() < 0.5 ? [0, 1] : [1, 0];
    const seconds = [NaN, NaN];
    for (const at of order) seconds[at] = await first(texts[at] ?? [], key);
    return (seconds[asked] ?? NaN) < (seconds[1 - asked] ?? NaN);
  };
  for (const [name, key, mustNotTell] of [
    ["another key", KEYS[1], true],
    ["the same key", KEYS[0], false],
  ] as const) {
    let right = 0;
    for (let trial = 0; trial < trials; trial++) if (await guess(key)) right += 1;
    const sigmas = (right - trials / 2) / Math.sqrt(trials / 4);
    const verdict = mustNotTell ? `, at most ${SIGMAS}: ${sigmas <= SIGMAS ? "met" : "missed"}` : "";
    const words = `${sigmas.toFixed(1)} standard deviations above chance${verdict}`;
    process.stdout.write(`${name}: ${right} of ${trials} guesses are right (${words})\n`);
    if (mustNotTell && sigmas > SIGMAS) process.exitCode = 1;
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
