/*
 * `bun bench/adapters.ts [MODEL] [--rounds 3] [--tokens 64]`: what four requests under four adapters take beside four under the base, in one batch
 * of a real `randlora serve`. The adapters are a LoRA and a RandLoRA with their defaults, trained for one step and served four times each. MODEL is the
 * 135M chat model by default; RANDLORA_DEVICE says what computes. Prints times of a token by the clock and by processor time.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { smollm2 } from "../interop/models.ts";
import { RandloraError } from "../src/files/errors.ts";
import { formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import { machine, renderMachine } from "./harness.ts";
import { inRounds, ratios, type StepTime } from "./training/rounds.ts";

/** Most time of four adapters, as a multiple of the base's. */
const MOST = 1.6;
const CLIENTS = 4;
const METHODS = ["lora", "randlora"] as const;
const MAIN = join(import.meta.dir, "../cmd/main.ts");

const { values, positionals } = parseArgs({
  options: { rounds: { type: "string", default: "3" }, tokens: { type: "string", default: "64" } },
  allowPositionals: true,
});
const [rounds, tokens] = [Number(values.rounds), Number(values.tokens)];
const device = process.env["RANDLORA_DEVICE"];
const common = ["--quiet", "--json", ...(device === undefined ? [] : ["--device", device])];

const Listening = v.object({ address: v.string() });
const Models = v.object({ default: v.string() });
const Written = v.object({ usage: v.object({ completion_tokens: v.number() }) });

/** Seconds of processor time of a process so far, all threads; NaN where /proc does not tell. */
async function processorTime(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11] ?? NaN) + Number(fields[12] ?? NaN)) / 100;
}

async function train(model: string, method: string, folder: string): Promise<string> {
  const data = join(folder, "data.jsonl");
  await writeFile(data, JSON.stringify({ text: "Ahoy, my hearty, said the pirate to the sea, and went below." }));
  const out = join(folder, method);
  const args = ["finetune", model, "--data", data, "--method", method, "--steps", "1", "--out", out, ...common];
  const child = Bun.spawn([process.execPath, MAIN, ...args], { stdout: "ignore", stderr: "inherit" });
  if ((await child.exited) !== 0) throw new RandloraError("file", `randlora ${args.join(" ")} failed`);
  return join(out, "adapter");
}

/** A server of the base and four times the same adapter, in one batch. */
async function openServer(model: string, adapter: string) {
  const names = Array.from({ length: CLIENTS }, (_, at) => `adapter-${at}`);
  const adapters = names.flatMap((name) => ["--adapter", `${name}=${adapter}`]);
  const args = ["serve", model, ...adapters, "--port", "0", "--parallel", `${CLIENTS}`, ...common];
  const child = Bun.spawn([process.execPath, MAIN, ...args], { stdout: "pipe", stderr: "inherit" });
  let text = "";
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.trimEnd().endsWith("}")) break;
  }
  const { address } = v.parse(Listening, JSON.parse(text));
  const { default: base } = v.parse(Models, await (await fetch(`${address}/v1/models`)).json());
  let asked = 100;
  const ask = async (model: string): Promise<number> => {
    const body = JSON.stringify({
      model,
      prompt: `${asked++} stories of the sea:`,
      max_tokens: tokens,
      temperature: 0,
    });
    const answer = await fetch(`${address}/v1/completions`, { method: "POST", body });
    if (!answer.ok) throw new RandloraError("file", `the server answered ${answer.status}: ${await answer.text()}`);
    return v.parse(Written, await answer.json()).usage.completion_tokens;
  };
  return {
    async together(ofAdapters: boolean): Promise<StepTime> {
      const [start, core] = [performance.now(), await processorTime(child.pid)];
      const counts = await Promise.all(names.map((name) => ask(ofAdapters ? name : base)));
      // The longest text has a pass for each of its tokens.
      const passes = Math.max(...counts);
      const seconds = (performance.now() - start) / 1000;
      return { seconds: seconds / passes, coreSeconds: ((await processorTime(child.pid)) - core) / passes };
    },
    async close() {
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}

const model = positionals[0] ?? (await smollm2());
process.stdout.write(renderMachine(await machine()));
const note = (line: string): void => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${line}`));
const folder = await mkdtemp(join(tmpdir(), "randlora-adapters-"));
try {
  const rows: string[][] = [];
  for (const method of METHODS) {
    const server = await openServer(model, await train(model, method, folder));
    const contenders = new Map([
      ["base", () => server.together(false)],
      ["adapters", () => server.together(true)],
    ]);
    const times = await inRounds(contenders, rounds, note);
    await server.close();
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
