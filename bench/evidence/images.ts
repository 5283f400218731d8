/*
 * `bun bench/evidence/images.ts`: what of the paper's claims on images is seen on a model that a processor can train. A small
 * vision transformer is trained on six classes of Fashion-MNIST with all its weights, and is adapted to the other four by RandLoRA, its
 * sparse form, LoRA, VeRA and all weights, with few images and with many: figure 2 of the paper in small; then the
 * representations (figure 4a) and the losses between the results (figure 4b). All of it by commands of randlora. Writes the section
 * `images` of docs/evidence.md. What is done stays in --work DIR: a script that was stopped goes on. With --page the section is
 * written anew from docs/evidence/images.json.
 */
import * as v from "valibot";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { writeAll } from "../../fixtures/pretraining/pretrain.ts";
import { vitFiles, writeUntrainedVit } from "../../fixtures/pretraining/untrained-vit.ts";
import { nearestSize } from "../../src/adapters/budget.ts";
import { isAdapterMethod, methodNamed } from "../../src/adapters/methods.ts";
import type { ModuleShape } from "../../src/adapters/method/method.ts";
import { RandloraError } from "../../src/files/errors.ts";
import { cacheFolder } from "../../src/files/cache-folder.ts";
import { replaceSynced } from "../../src/files/whole-file.ts";
import { Checkpoint } from "../../src/files/safetensors/checkpoint.ts";
import { COPY_BYTES, SafetensorsWriter } from "../../src/files/safetensors/writer.ts";
import { ALIKE, PLANE } from "./analyses.ts";
import { begun } from "./begun.ts";
import { writeImages } from "./images-data.ts";
import { imagesImage, imagesPage } from "./images-page.ts";
import { FINETUNED, IMAGES_RECORD, type ImagesRecord } from "./images-record.ts";
import { EVIDENCE_FOLDER, writeSection } from "./section.ts";
import { Stages } from "./stages.ts";

const RECORD = join(EVIDENCE_FOLDER, "images.json");

const { values } = parseArgs({
  options: {
    work: { type: "string", default: join(cacheFolder(), "evidence", "images") },
    page: { type: "boolean", default: false },
    /** Images of each class: to pre-train on; to adapt to; to choose learning rates by; to measure with. */
    pretraining: { type: "string", default: "6000" },
    training: { type: "string", default: "5000" },
    choosing: { type: "string", default: "500" },
    test: { type: "string", default: "1000" },
    "pretraining-epochs": { type: "string", default: "5" },
    /** Steps with 1, 4 or 16 images of each class, and epochs with half of them and with all. */
    "shot-steps": { type: "string", default: "100" },
    epochs: { type: "string", default: "4" },
    batch: { type: "string", default: "32" },
    seeds: { type: "string", default: "3" },
    rates: { type: "string", default: "3e-4,1e-3,3e-3,1e-2,3e-2" },
    /** The LoRA as large as which all adapters are. */
    rank: { type: "string", default: "4" },
    samples: { type: "string", default: "512" },
    grid: { type: "string", default: "25" },
    threads: { type: "string" },
    device: { type: "string" },
  },
});

/** Of 0.2 million parameters: 16 patches. */
const SIZES = {
  hidden_size: 64,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  mlp_ratio: 4,
  image_size: 28,
  patch_size: 7,
} as const;

/** In the order of the table. */
const METHODS: readonly { readonly name: string; readonly method: string; readonly flags: readonly string[] }[] = [
  { name: "RandLoRA", method: "randlora", flags: [] },
  { name: "RandLoRA, sparse", method: "randlora", flags: ["--sparse"] },
  { name: "LoRA", method: "lora", flags: [] },
  { name: "VeRA", method: "vera", flags: [] },
  { name: "all weights", method: "full", flags: [] },
];

const AMOUNTS = [
  { name: "1 shot", flags: ["--shots", "1"], few: true },
  { name: "4 shots", flags: ["--shots", "4"], few: true },
  { name: "16 shots", flags: ["--shots", "16"], few: true },
  { name: "50 %", flags: ["--fraction", "0.5"], few: false },
  { name: "100 %", flags: [], few: false },
] as const;

/** Linear layers of the model: what adapters are for. */
function modules(): ModuleShape[] {
  const { hidden_size: width, mlp_ratio: ratio } = SIZES;
  const layer = [
    ...Array.from({ length: 4 }, () => ({ out: width, in: width })),
    { out: width * ratio, in: width },
    { out: width, in: width * ratio },
  ];
  return Array.from({ length: SIZES.num_hidden_layers }, () => layer).flat();
}

/** The flags of each method, at the size that trains nearest to the budget. */
function contenders(): {
  readonly budget: number;
  readonly all: { readonly name: string; readonly flags: string[] }[];
} {
  const count = (name: string) => {
    const { training } = methodNamed(name);
    if (training.result !== "adapter") throw new TypeError(name);
    return training.capacity;
  };
  const budget = count("lora").count(modules(), Number(values.rank), {});
  const all = METHODS.map(({ name, method, flags }) => {
    const isAdapter = isAdapterMethod(methodNamed(method));
    const size = isAdapter ? ["--rank", String(nearestSize(count(method), modules(), budget).value)] : [];
    return { name, flags: ["--method", method, ...flags, ...size, ...(isAdapter ? ["--targets", "all-linear"] : [])] };
  });
  return { budget, all };
}

/** The pre-trained model without its head, which is another set's: a base. */
async function writeHeadless(from: string, to: string): Promise<void> {
  if (existsSync(join(to, "model.safetensors"))) return;
  await writeAll(
    to,
    Object.entries(vitFiles(SIZES)).map(([name, content]) => [name, JSON.stringify(content)] as const),
  );
  await using checkpoint = await Checkpoint.open(from);
  const kept = [...checkpoint.tensors.values()].filter(({ info }) => !info.name.startsWith("classifier."));
  const part = join(to, "model.safetensors.part");
  await using writer = await SafetensorsWriter.create(
    part,
    kept.map(({ info }) => info),
  );
  const buffer = new Uint8Array(COPY_BYTES);
  for (const { file, info } of kept) await writer.copy(file, info, buffer);
  await writer.finish();
  await rename(part, join(to, "model.safetensors"));
}

async function measure(signal: AbortSignal): Promise<ImagesRecord> {
  const work = resolve(values.work);
  await mkdir(work, { recursive: true });
  const on = await begun(work);
  const given = (name: string, value: string | undefined) => (value === undefined ? [] : [`--${name}`, value]);
  const common = [...given("threads", values.threads), ...given("device", values.device)];
  const stages = new Stages(work, common, signal);
  const amounts = {
    pretraining: Number(values.pretraining),
    training: Number(values.training),
    choosing: Number(values.choosing),
    test: Number(values.test),
  };
  const data = await writeImages(work, join(cacheFolder(), "evidence"), amounts);

  /** One run of finetune. What an earlier start left unfinished begins anew. */
  const train = async (name: string, base: string, args: readonly string[]) => {
    const out = join(work, "runs", name);
    if (!existsSync(join(work, "stages", `${name}.json`))) await rm(out, { recursive: true, force: true });
    const flags = ["--head", "linear", "--batch-size", values.batch, "--eval-every", "1000000", "--weight-decay", "0"];
    return await stages.answer(name, FINETUNED, ["finetune", base, ...args, ...flags, "--out", out], work);
  };

  const untrained = join(work, "untrained");
  if (!existsSync(join(untrained, "model.safetensors"))) {
    await writeAll(
      untrained,
      Object.entries(vitFiles(SIZES)).map(([name, text]) => [name, JSON.stringify(text)] as const),
    );
    await writeUntrainedVit(untrained, SIZES, 1);
  }
  const whole = ["--data", data.pretraining, "--method", "full", "--epochs", values["pretraining-epochs"]];
  const schedule = ["--learning-rate", "2e-3", "--schedule", "cosine", "--warmup", "100", "--seed", "1"];
  const pretrained = await train("pretraining", untrained, [...whole, ...schedule]);
  const base = join(work, "base");
  await mkdir(base, { recursive: true });
  await writeHeadless(join(work, "runs", "pretraining", "model"), base);

  const { budget, all } = contenders();
  const lengthOf = (few: boolean) => (few ? ["--steps", values["shot-steps"]] : ["--epochs", values.epochs]);
  const nameOf = (...parts: readonly string[]) =>
    parts
      .join(" ")
      .toLowerCase()
      .replaceAll(/[^a-z0-9.]+/g, "-");
  const rates = values.rates.split(",").map(Number);
  // A seed that no result has, and images that are in no test: what a rate was chosen by is no result.
  const other = String(Number(values.seeds));
  const choose = async (flags: readonly string[], method: string, few: boolean): Promise<number> => {
    const { flags: amount, name } = AMOUNTS[few ? 2 : 4];
    const tried: { rate: number; accuracy: number; loss: number }[] = [];
    for (const rate of rates) {
      const args = ["--data", data.choosing, ...flags, ...amount, ...lengthOf(few), "--seed", other];
      const stage = nameOf("rate", method, name, String(rate));
      const found = await train(stage, base, [...args, "--learning-rate", String(rate)]);
      await rm(join(work, "runs", stage), { recursive: true, force: true });
      tried.push({ rate, accuracy: found.valid_accuracy, loss: found.valid_loss });
    }
    const [best] = tried.toSorted((a, b) => b.accuracy - a.accuracy || a.loss - b.loss);
    if (best === undefined) throw new RandloraError("usage", "--rates: none");
    return best.rate;
  };
  const methods: ImagesRecord["methods"] = [];
  const results: ImagesRecord["results"] = [];
  for (const { name, flags } of all) {
    const chosen = { few: await choose(flags, name, true), many: await choose(flags, name, false) };
    let parameters = NaN;
    for (let seed = 0; seed < Number(values.seeds); seed++) {
      for (const { name: amount, flags: part, few } of AMOUNTS) {
        const args = ["--data", data.measuring, ...flags, ...part, ...lengthOf(few), "--seed", String(seed)];
        const rate = String(few ? chosen.few : chosen.many);
        const found = await train(nameOf(name, amount, `seed ${seed}`), base, [...args, "--learning-rate", rate]);
        parameters = found.trainable_parameters;
        results.push({ method: name, amount, seed, accuracy: found.valid_accuracy, loss: found.valid_loss });
      }
    }
    methods.push({ name, flags, parameters, rates: chosen });
  }

  await mkdir(EVIDENCE_FOLDER, { recursive: true });
  const folder = join(work, "runs");
  const runOf = (name: string) => nameOf(name, "100 %", "seed 0");
  const seen = ["--data", data.measuring, "--split", "valid", "--samples", values.samples];
  const adapters = all.filter(({ name }) => name !== "all weights").flatMap(({ name }) => ["--adapter", runOf(name)]);
  const cka = ["--svg", join(EVIDENCE_FOLDER, "images-cka.svg"), "--force"];
  const alike = await stages.answer(
    "cka",
    ALIKE,
    ["analyze", "cka", base, "--reference", runOf("all weights"), ...adapters, ...seen, ...cka],
    folder,
  );
  const corners = ["RandLoRA", "all weights", "LoRA"].flatMap((name) => ["--at", runOf(name)]);
  const svg = ["--svg", join(EVIDENCE_FOLDER, "images-plane.svg"), "--force"];
  const plane = await stages.answer(
    "plane",
    PLANE,
    ["analyze", "plane", base, ...corners, ...seen, "--grid", values.grid, ...svg],
    folder,
  );
  const classes = 4;
  const count = (name: string) =>
    classes * (name === "50 %" ? amounts.training / 2 : name === "100 %" ? amounts.training : Number.parseInt(name));
  return {
    date: new Date().toISOString().slice(0, 10),
    ...on,
    command: [
      "bun",
      "bench/evidence/images.ts",
      ...process.argv.slice(2).map((word) => (word === values.work ? "WORK" : word)),
    ].join(" "),
    protocol: {
      ...amounts,
      pretrainingEpochs: Number(values["pretraining-epochs"]),
      batch: Number(values.batch),
      shotSteps: Number(values["shot-steps"]),
      epochs: Number(values.epochs),
      seeds: Number(values.seeds),
      rates,
      budget,
    },
    model: { parameters: pretrained.trainable_parameters, accuracy: pretrained.valid_accuracy },
    methods,
    amounts: AMOUNTS.map(({ name }) => ({ name, images: count(name) })),
    results,
    alike,
    plane,
    costs: Object.fromEntries(stages.costs),
  };
}

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.once(name, () => stop.abort(new Error(`stopped by ${name}`)));
if (!values.page) {
  const record = await measure(stop.signal);
  await replaceSynced(RECORD, `${JSON.stringify(record, undefined, 1)}\n`);
}
const record = v.parse(IMAGES_RECORD, JSON.parse(await readFile(RECORD, "utf8")));
await replaceSynced(join(EVIDENCE_FOLDER, "images-accuracy.svg"), imagesImage(record));
await writeSection("images", imagesPage(record));
