/*
 * `bun bench/evidence/forgetting.ts --model MODEL --data train.json`: what a configuration forgets for what it gains. Each is trained
 * at several learning rates by `randlora finetune` and measured by `randlora eval forgetting`: its divergence from the base on texts
 * that the base wrote. Rates trace a curve in the plane of the two, so that configurations are compared at equal held-out loss. Writes
 * docs/evidence/forgetting-NAME.json and the section `forgetting` of docs/evidence.md. What is done stays in --work DIR: a script
 * that was stopped goes on. Without --data the section is written anew from the records. train.json has LLM-Adapters' form.
 */
import { mkdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { cacheFolder } from "../../src/files/cache-folder.ts";
import { replaceSynced } from "../../src/files/whole-file.ts";
import { begun } from "./begun.ts";
import { writeForgetting } from "./forgetting-page.ts";
import { CONFIGURATIONS, type ForgettingRecord } from "./forgetting-record.ts";
import { EVIDENCE_FOLDER } from "./section.ts";
import { Stages } from "./stages.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "embedded" },
    data: { type: "string" },
    /** Of the record. */
    name: { type: "string", default: "small" },
    /** What the page calls the model. */
    title: { type: "string", default: "the embedded model" },
    work: { type: "string" },
    configurations: { type: "string", default: Object.keys(CONFIGURATIONS).join(",") },
    /** Their trained parameters should be about as many. */
    "randlora-rank": { type: "string", default: "4" },
    "lora-rank": { type: "string", default: "6" },
    /** Each configuration begins at its own place in them (`from`), and takes so many. */
    rates: { type: "string", default: "3e-4,1e-3,3e-3,1e-2,3e-2,1e-1" },
    "rates-each": { type: "string", default: "3" },
    seeds: { type: "string", default: "5" },
    /** Of one configuration at one rate, to see the noise. */
    "noise-seeds": { type: "string", default: "10" },
    steps: { type: "string", default: "60" },
    batch: { type: "string", default: "8" },
    "max-length": { type: "string", default: "256" },
    texts: { type: "string", default: "32" },
    /** Held-out losses at which configurations are compared. */
    at: { type: "string", default: "2,1.6" },
    threads: { type: "string" },
  },
});

const TRAINED = v.object({
  valid_loss: v.number(),
  valid_loss_before: v.number(),
  relative_change: v.number(),
  trainable_parameters: v.number(),
});
const FORGOTTEN = v.object({ forgetting: v.number(), error: v.number() });

const SPLIT = ["--prompt", "commonsense", "--valid-split", "0.05", "--valid-batches", "8"];

async function measure(data: string, signal: AbortSignal): Promise<ForgettingRecord> {
  const work = resolve(values.work ?? join(cacheFolder(), "evidence", `forgetting-${values.name}`));
  await mkdir(work, { recursive: true });
  const on = await begun(work);
  const stages = new Stages(work, values.threads === undefined ? [] : ["--threads", values.threads], signal);
  const ranks = { randlora: values["randlora-rank"], lora: values["lora-rank"] };
  const rates = values.rates.split(",");
  const runs: ForgettingRecord["runs"] = [];
  let before = NaN;

  const one = async (configuration: string, rate: string, seed: number) => {
    const { method, alphaPerRank, flags = [] } = CONFIGURATIONS[configuration] ?? {};
    if (method === undefined || alphaPerRank === undefined) throw new RangeError(`no configuration ${configuration}`);
    const name = `${configuration}-${rate}-${seed}`;
    const out = join(work, "runs", name);
    const size = ["--rank", ranks[method], "--alpha", String(Number(ranks[method]) * alphaPerRank)];
    const run = ["--steps", values.steps, "--batch-size", values.batch, "--max-length", values["max-length"]];
    const how = ["--method", method, ...size, ...flags, "--learning-rate", rate, "--seed", String(seed)];
    const all = ["finetune", values.model, "--data", data, ...SPLIT, ...run, ...how, "--out", out];
    // What a run that was stopped has left; `forgetting` needs the folder of one that is done.
    if (!stages.has(name)) await rm(out, { recursive: true, force: true });
    const trained = await stages.answer(name, TRAINED, all, work);
    const ask = ["eval", "forgetting", out, "--texts", values.texts];
    const { forgetting, error } = await stages.answer(`${name}-forgetting`, FORGOTTEN, ask, work);
    await rm(out, { recursive: true, force: true });
    before = trained.valid_loss_before;
    const { valid_loss: loss, relative_change: change, trainable_parameters: parameters } = trained;
    return { configuration, rate: Number(rate), seed, loss, forgetting, error, change, parameters };
  };

  const chosen = values.configurations.split(",");
  for (let seed = 0; seed < Number(values.seeds); seed++) {
    for (const configuration of chosen) {
      const from = CONFIGURATIONS[configuration]?.from ?? 0;
      for (const rate of rates.slice(from, from + Number(values["rates-each"]))) {
        runs.push(await one(configuration, rate, seed));
      }
    }
  }
  const [noisy = ""] = chosen;
  const middle = rates[(CONFIGURATIONS[noisy]?.from ?? 0) + 1] ?? "";
  const noise: ForgettingRecord["noise"] = [];
  for (let seed = 0; seed < Number(values["noise-seeds"]); seed++) noise.push(await one(noisy, middle, seed));

  const places = new Map([
    [values.data, "DIR/train.json"],
    [values.work, "WORK"],
    [values.model, "MODEL"],
  ]);
  const typed = process.argv.slice(2).map((word) => places.get(word) ?? word);
  const costs = [...stages.costs.values()];
  return {
    date: new Date().toISOString().slice(0, 10),
    ...on,
    command: ["bun", "bench/evidence/forgetting.ts", ...typed].join(" "),
    title: values.title,
    steps: Number(values.steps),
    batch: Number(values.batch),
    texts: Number(values.texts),
    at: values.at.split(",").map(Number),
    before,
    runs,
    noise,
    processor: costs.reduce((sum, { processor }) => sum + processor, 0),
  };
}

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
if (values.data !== undefined) {
  const record = await measure(resolve(values.data), stop.signal);
  await mkdir(EVIDENCE_FOLDER, { recursive: true });
  await replaceSynced(
    join(EVIDENCE_FOLDER, `forgetting-${values.name}.json`),
    `${JSON.stringify(record, undefined, 1)}\n`,
  );
}
await writeForgetting();
