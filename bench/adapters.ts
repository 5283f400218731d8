/*
 * `bun bench/adapters.ts [MODEL] [--rounds 3] [--tokens 64] [--clients 4]`: what four requests under four adapters take beside four under the base,
 * in one batch of a real `randlora serve`. The adapters are a LoRA and a RandLoRA with their defaults, trained for one step and served four times each. MODEL is the
 * 135M chat model by default; RANDLORA_DEVICE says what computes, by default the CPU device. Prints times of a token by the clock and by processor time.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { smollm2 } from "../interop/models.ts";
import { RandloraError } from "../src/files/errors.ts";
import { formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import { machine, renderMachine } from "./harness.ts";
import { DEVICE, ServerProcess } from "./serving/servers.ts";
import { inRounds, ratios, type StepTime } from "./training/rounds.ts";

/** Most time of four adapters, as a multiple of the base's. */
const MOST = 1.6;
const METHODS = ["lora", "randlora"] as const;
const MAIN = join(import.meta.dir, "../cmd/main.ts");

const { values, positionals } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    tokens: { type: "string", default: "64" },
    clients: { type: "string", default: "4" },
  },
  allowPositionals: true,
});
const [rounds, tokens, clients] = [Number(values.rounds), Number(values.tokens), Number(values.clients)];
const common = ["--quiet", "--json", "--device", DEVICE];

async function train(model: string, method: string, folder: string): Promise<string> {
  const data = join(folder, "data.jsonl");
  await writeFile(data, JSON.stringify({ text: "Ahoy, my hearty, said the pirate to the sea, and went below." }));
  const out = join(folder, method);
  const args = ["finetune", model, "--data", data, "--method", method, "--steps", "1", "--out", out, ...common];
  const child = Bun.spawn([process.execPath, MAIN, ...args], { stdout: "ignore", stderr: "inherit" });
  if ((await child.exited) !== 0) throw new RandloraError("file", `randlora ${args.join(" ")} failed`);
  return join(out, "adapter");
}

/** Times of passes of a server of the base and four times the same adapter, in one batch. */
async function measure(model: string, adapter: string) {
  const names = Array.from({ length: clients }, (_, at) => `adapter-${at}`);
  const adapters = names.flatMap((name) => ["--adapter", `${name}=${adapter}`]);
  await using server = await ServerProcess.randlora([
    model,
    ...adapters,
    "--parallel",
    `${clients}`,
    "--max-adapters",
    `${clients}`,
  ]);
  const [base = ""] = await server.models();
  let asked = 100;
  const together = async (models: readonly string[]): Promise<StepTime> => {
    const [start, core] = [performance.now(), await server.processorTime()];
    const counts = await Promise.all(
      models.map((model) => {
        const prompt = `${asked++} stories of the sea:`;
        return server.complete({ model, prompt, max_tokens: tokens, temperature: 0 });
      }),
    );
    // The longest text has a pass for each of its tokens.
    const passes = Math.max(...counts);
    const seconds = (performance.now() - start) / 1000;
    return { seconds: seconds / passes, coreSeconds: ((await server.processorTime()) - core) / passes };
  };
  const contenders = new Map([
    ["base", () => together(names.map(() => base))],
    ["adapters", () => together(names)],
  ]);
  return await inRounds(contenders, rounds, note);
}

const model = positionals[0] ?? (await smollm2());
process.stdout.write(renderMachine(await machine()));
const note = (line: string): void => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${line}`));
const folder = await mkdtemp(join(tmpdir(), "randlora-adapters-"));
try {
  const rows: string[][] = [];
  for (const method of METHODS) {
    const times = await measure(model, await train(model, method, folder));
    const [base, adapters] = [times.get("base"), times.get("adapters")];
    if (base === undefined || adapters === undefined) throw new RangeError("no times");
    const { seconds, coreSeconds } = ratios(adapters, base);
    const ms = (value: number): string => formatNumber(1000 * value, 1);
    const ofClock = [ms(base.median.seconds), ms(adapters.median.seconds), formatNumber(seconds, 2)];
    const ofCore = [ms(base.median.coreSeconds), ms(adapters.median.coreSeconds), formatNumber(coreSeconds, 2)];
    rows.push([method, ...ofClock, ...ofCore, `≤ ${MOST}: ${coreSeconds <= MOST ? "met" : "missed"}`]);
  }
  const words = "base: ms a pass,adapters,ratio,base: core ms,adapters,ratio,target";
  const head = [`median of ${rounds}`, ...words.split(",")];
  process.stdout.write(`\n${formatTable(rows, { head, align: "lrrrrrrl" })}`);
} finally {
  await rm(folder, { recursive: true });
}
