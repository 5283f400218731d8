/*
 * `bun bench/evidence/language.ts --data DIR`: what of the paper's claims on language models is seen on a model that a processor can
 * train. RandLoRA, its sparse form, LoRA with as many parameters and all weights are fine-tuned on commonsense tasks by
 * `randlora compare` (each run is `randlora finetune`'s), answer the tasks, and are analysed beside each other. Writes the section
 * `language` of docs/evidence.md. DIR has train.json and TASK/test.json in LLM-Adapters' form. What is done stays in --work DIR:
 * a script that was stopped goes on. Without --data the section is written anew from docs/evidence/language.json.
 * The defaults are the field's protocol.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { smollm2 } from "../../interop/models.ts";
import { RandloraError } from "../../src/files/errors.ts";
import { cacheFolder } from "../../src/files/cache-folder.ts";
import { replaceSynced } from "../../src/files/whole-file.ts";
import { trainingPrompt } from "../../src/data/text/commonsense-prompt.ts";
import { ALIKE, PLANE } from "./analyses.ts";
import { begun } from "./begun.ts";
import { TARGETS } from "../training/trainee.ts";
import { languagePage } from "./language-page.ts";
import { ANSWERED, COMPARED, LANGUAGE_RECORD, type LanguageRecord } from "./language-record.ts";
import { EVIDENCE_FOLDER, writeSection } from "./section.ts";
import { Stages } from "./stages.ts";

const METHODS = ["randlora", "randlora+sparse", "lora", "full"] as const;
const RECORD = join(EVIDENCE_FOLDER, "language.json");
const MAX_LENGTH = "256";

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    work: { type: "string", default: join(cacheFolder(), "evidence", "language") },
    model: { type: "string" },
    /** Whose number of trained parameters all methods get. */
    like: { type: "string", default: "lora:16" },
    seed: { type: "string", default: "0" },
    seeds: { type: "string", default: "3" },
    /** Learning rates that are tried, rising, with a seed that no result has; the best one of each method is taken. */
    rates: { type: "string", default: "1e-4,3e-4,1e-3" },
    "rate-steps": { type: "string", default: "500" },
    /** Of a run; by default an epoch. */
    steps: { type: "string" },
    batch: { type: "string", default: "16" },
    warmup: { type: "string", default: "100" },
    /** Samples that are not trained on, taken out of train.json at equal distances. */
    valid: { type: "string", default: "120" },
    limit: { type: "string" },
    beams: { type: "string", default: "4" },
    /** Of the held-out samples, so many are looked at by the analyses. */
    samples: { type: "string", default: "120" },
    grid: { type: "string", default: "25" },
    threads: { type: "string" },
    device: { type: "string" },
  },
});

const Samples = v.array(
  v.looseObject({ instruction: v.string(), input: v.optional(v.string(), ""), output: v.string() }),
);

/** Cuts the data in two, and writes both, the held-out part also as the texts that are trained on: analyses know no prompts. */
async function splitData(data: string, work: string) {
  const all = v.parse(Samples, JSON.parse(await readFile(join(data, "train.json"), "utf8")));
  const count = Number(values.valid);
  if (!(count >= 4 && count < all.length))
    throw new RandloraError("usage", `--valid ${values.valid}: of ${all.length}`);
  const chosen = new Set(Array.from({ length: count }, (_, at) => Math.floor((at * all.length) / count)));
  const [training, heldOut] = [all.filter((_, at) => !chosen.has(at)), all.filter((_, at) => chosen.has(at))];
  const texts = heldOut.map((sample) => `${JSON.stringify({ text: trainingPrompt(sample) })}\n`).join("");
  const files = {
    train: join(work, "train.json"),
    valid: join(work, "valid.json"),
    texts: join(work, "held-out.jsonl"),
  };
  await replaceSynced(files.train, JSON.stringify(training));
  await replaceSynced(files.valid, JSON.stringify(heldOut));
  await replaceSynced(files.texts, texts);
  return { ...files, training: training.length, heldOut: heldOut.length };
}

async function measure(data: string, signal: AbortSignal): Promise<LanguageRecord> {
  const work = resolve(values.work);
  await mkdir(work, { recursive: true });
  const on = await begun(work);
  const model = values.model ?? (await smollm2());
  const { threads, device, seed, steps, limit } = values;
  const given = (name: string, value: string | undefined) => (value === undefined ? [] : [`--${name}`, value]);
  const stages = new Stages(work, [...given("threads", threads), ...given("device", device)], signal);
  const { training, heldOut, ...files } = await splitData(data, work);

  const runs = ["--prompt", "commonsense", "--data", files.train, "--valid", files.valid, "--max-length", MAX_LENGTH];
  const common = ["--like", values.like, "--targets", TARGETS.join(","), ...runs];
  const shared = ["compare", model, ...common, "--batch-size", values.batch, "--warmup", values.warmup];
  const compared = async (
    name: string,
    methods: readonly string[],
    seeds: string,
    first: string,
    args: readonly string[],
  ) => {
    const out = join(work, name);
    const again = existsSync(join(out, "compare.json")) ? ["--resume"] : [];
    const all = [...shared, "--methods", methods.join(","), "--seed", first, "--seeds", seeds, ...args, "--out", out];
    return await stages.answer(name, COMPARED, all, work, again);
  };

  // Rates are chosen with a seed of their own: what a rate was chosen by is no result.
  const other = String(Number(seed) + Number(values.seeds));
  const tried = values.rates.split(",").map(Number);
  const rates: { method: string; rate: number; loss: number | null }[] = [];
  let rising: readonly string[] = METHODS;
  for (const rate of tried) {
    // A method that a higher rate made worse is not tried with a still higher one.
    if (rising.length === 0) break;
    const args = ["--steps", values["rate-steps"], "--learning-rate", String(rate)];
    const { results } = await compared(`rate-${rate}`, rising, "1", other, args);
    await rm(join(work, `rate-${rate}`, "runs"), { recursive: true, force: true });
    const found = results.map(({ method, valid_loss: loss }) => ({ method, rate, loss }));
    rising = found.flatMap(({ method, loss }) => {
      const before = rates.filter((one) => one.method === method).map((one) => one.loss ?? Infinity);
      return loss !== null && loss < Math.min(Infinity, ...before) ? [method] : [];
    });
    rates.push(...found);
  }
  const chosen = METHODS.flatMap((method) => {
    const own = rates.filter((one) => one.method === method && one.loss !== null);
    const [best] = own.toSorted((a, b) => (a.loss ?? 0) - (b.loss ?? 0));
    if (best === undefined) throw new RandloraError("usage", `${method}: no rate of --rates came to its end`);
    return ["--learning-rate", `${method}=${best.rate}`];
  });
  const result = await compared("runs", METHODS, values.seeds, seed, [...given("steps", steps), ...chosen]);

  const folder = join(work, "runs");
  const runOf = (method: string) => join("runs", `${method}-seed-${seed}`);
  const answered: Record<string, v.InferOutput<typeof ANSWERED>> = {};
  for (const who of ["base", ...METHODS]) {
    const of = who === "base" ? model : join(folder, runOf(who));
    const file = join(work, `answers-${who}.json`);
    const ask = ["eval", "commonsense", of, "--data", data, "--beams", values.beams, ...given("limit", limit)];
    const again = existsSync(file) ? ["--resume"] : [];
    answered[who] = await stages.answer(`answers-${who}`, ANSWERED, [...ask, "--out", file], work, again);
  }

  const cka = join(EVIDENCE_FOLDER, "language-cka.svg");
  const plane = join(EVIDENCE_FOLDER, "language-plane.svg");
  await mkdir(EVIDENCE_FOLDER, { recursive: true });
  const seen = ["--data", files.texts, "--max-length", MAX_LENGTH, "--samples", values.samples];
  const adapters = METHODS.filter((method) => method !== "full").flatMap((method) => ["--adapter", runOf(method)]);
  const alike = await stages.answer(
    "cka",
    ALIKE,
    ["analyze", "cka", model, "--reference", runOf("full"), ...adapters, ...seen, "--svg", cka, "--force"],
    folder,
  );
  const corners = ["randlora", "full", "lora"].flatMap((method) => ["--at", runOf(method)]);
  const losses = await stages.answer(
    "plane",
    PLANE,
    ["analyze", "plane", model, ...corners, ...seen, "--grid", values.grid, "--svg", plane, "--force"],
    folder,
  );

  const [first = ""] = METHODS;
  const metrics = await readFile(join(folder, runOf(first), "metrics.jsonl"), "utf8");
  const [begin = ""] = metrics.split("\n").filter((line) => line.includes("valid_loss"));
  const { step, valid_loss: before } = v.parse(
    v.object({ step: v.number(), valid_loss: v.number() }),
    JSON.parse(begin),
  );
  if (step !== 0) throw new RangeError("no evaluation before the first step");
  const name = values.model === undefined ? "SmolLM2-135M-Instruct" : basename(values.model);
  const curves = await readFile(join(folder, "loss.svg"), "utf8");
  await replaceSynced(join(EVIDENCE_FOLDER, "language-loss.svg"), curves.replaceAll(model, name));
  const places = new Map([
    [values.data, "DIR"],
    [values.work, "WORK"],
    [values.model, "MODEL"],
  ]);
  const typed = process.argv.slice(2).map((word) => places.get(word) ?? word);
  return {
    date: new Date().toISOString().slice(0, 10),
    ...on,
    command: ["bun", "bench/evidence/language.ts", ...typed].join(" "),
    model: name,
    protocol: {
      batch: Number(values.batch),
      training,
      heldOut,
      limit: limit === undefined ? null : Number(limit),
      beams: Number(values.beams),
      rates: tried,
      rateSteps: Number(values["rate-steps"]),
    },
    before,
    rates,
    compared: result,
    answered,
    alike,
    plane: losses,
    costs: Object.fromEntries(stages.costs),
  };
}

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
if (values.data !== undefined) {
  const record = await measure(resolve(values.data), stop.signal);
  await replaceSynced(RECORD, `${JSON.stringify(record, undefined, 1)}\n`);
}
const record = v.parse(LANGUAGE_RECORD, JSON.parse(await readFile(RECORD, "utf8")));
await writeSection("language", languagePage(record));
