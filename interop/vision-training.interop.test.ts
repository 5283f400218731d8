import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import type { Device } from "../src/compute/device/device.ts";
import { openTestDevice } from "../src/compute/device/testing/open.ts";
import { Gpu } from "../src/compute/gpu/gpu.ts";
import { Engine } from "../src/train/loop/engine.ts";
import { resolveSettings } from "../src/train/settings/resolve-settings.ts";
import { ImageSource } from "../src/train/images/source.ts";
import type { ImageTask } from "../src/train/images/task.ts";
import type { Size } from "../src/models/vision/patches.ts";
import type { ImageBatch } from "../src/train/images/batch.ts";
import { judge } from "./judge.ts";
import { merge } from "./program.ts";
import { openTensors } from "./tensors.ts";
import { passed } from "./verified.ts";

const [STEPS, BATCH, RATE, DECAY] = [20, 6, 3e-3, 0.1];
/** Relative; what is promised is 2e-3. */
const WITHIN = 2e-4;

/** Texts of each class: they end with the highest id of the vocabulary. */
const TEXTS = [
  [3, 9, 14, 49],
  [3, 10, 49],
  [3, 11, 20, 21, 49],
  [3, 12, 30, 49],
];
const TEMPLATES = TEXTS.map((ids) => [ids, [3, 40, ...ids.slice(1)]]);
const LINEAR: ImageTask = { kind: "classify", head: "linear", classes: ["cat", "dog", "owl", "ant"] };

interface Case {
  readonly base: "clip" | "dinov2";
  readonly method: "randlora" | "lora" | "full";
  readonly task: ImageTask;
  /** Of an adapter. */
  readonly targets?: string | readonly string[];
  readonly sparsity?: "sparse" | "very-sparse";
  readonly checkpointing?: boolean;
  /** On a GPU, software or not; the others are on the device of tests. */
  readonly onGpu?: boolean;
  /** Pixels from the top that images are cut to: their positions are then interpolated. */
  readonly height?: number;
}

const CASES: Readonly<Record<string, Case>> = {
  "dinov2, linear head, dense": { base: "dinov2", method: "randlora", task: LINEAR, targets: ["query", "value"] },
  "dinov2, linear head, sparse": {
    base: "dinov2",
    method: "randlora",
    task: LINEAR,
    targets: ["q_proj", "o_proj", "fc1", "fc2"],
    sparsity: "sparse",
    checkpointing: true,
  },
  "dinov2, linear head, lora": { base: "dinov2", method: "lora", task: LINEAR, targets: "all-linear", onGpu: true },
  "clip, linear head, dense": { base: "clip", method: "randlora", task: LINEAR, targets: ["q_proj", "v_proj"] },
  "clip, zero-shot head, dense": {
    base: "clip",
    method: "randlora",
    task: { kind: "classify", head: "zero-shot", texts: TEMPLATES },
    targets: ["q_proj", "v_proj", "visual_projection"],
  },
  "clip, zero-shot head, lora": {
    base: "clip",
    method: "lora",
    task: { kind: "classify", head: "zero-shot", texts: TEMPLATES },
    targets: "all-linear",
  },
  "clip, contrastive, sparse": {
    base: "clip",
    method: "randlora",
    task: { kind: "contrastive", loss: "clip", texts: TEXTS, towers: "both" },
    targets: ["q_proj", "v_proj", "fc1", "text_projection"],
    sparsity: "sparse",
    onGpu: true,
  },
  "clip, contrastive, lora, checkpoints": {
    base: "clip",
    method: "lora",
    task: { kind: "contrastive", loss: "clip", texts: TEXTS, towers: "both" },
    targets: "all-linear",
    checkpointing: true,
  },
  "clip, paper's loss, dense": {
    base: "clip",
    method: "randlora",
    task: { kind: "contrastive", loss: "paper", texts: TEXTS, towers: "both" },
    targets: ["q_proj", "v_proj"],
  },
  "clip, paper's loss, texts alone, very sparse": {
    base: "clip",
    method: "randlora",
    task: { kind: "contrastive", loss: "paper", texts: TEXTS, towers: "text" },
    targets: ["q_proj", "out_proj", "fc1"],
    sparsity: "very-sparse",
  },
  "dinov2, linear head, all weights": { base: "dinov2", method: "full", task: LINEAR },
  "dinov2, linear head, all weights, other positions": { base: "dinov2", method: "full", task: LINEAR, height: 16 },
  "clip, linear head, all weights": { base: "clip", method: "full", task: LINEAR, checkpointing: true },
  "clip, zero-shot head, all weights": {
    base: "clip",
    method: "full",
    task: { kind: "classify", head: "zero-shot", texts: TEMPLATES },
  },
  "clip, contrastive, all weights": {
    base: "clip",
    method: "full",
    task: { kind: "contrastive", loss: "clip", texts: TEXTS, towers: "both" },
  },
  "clip, paper's loss, all weights": {
    base: "clip",
    method: "full",
    task: { kind: "contrastive", loss: "paper", texts: TEXTS, towers: "both" },
  },
};

const Theirs = v.record(
  v.string(),
  v.object({
    losses: v.array(v.number()),
    norms: v.array(v.number()),
    /** The loss of the first batch by what we wrote: of an adapter beside its base, or a model; and once it was merged. */
    reloaded: v.number(),
    merged: v.nullable(v.number()),
  }),
);

const folder = await mkdtemp(join(tmpdir(), "randlora-vision-training-"));
const python = await judge();
await python.script("vision_training.py", "make", folder);

let devices: { readonly gpu: Device; readonly cpu: Device };
beforeAll(async () => {
  devices = { gpu: await Gpu.open(), cpu: await openTestDevice() };
});
afterAll(async () => {
  for (const device of Object.values(devices)) device.close();
  await rm(folder, { recursive: true });
});

const placeOf = (name: string) => name.replaceAll(/[^a-z0-9]+/g, "-");
const taskName = (task: ImageTask) => (task.kind === "contrastive" ? task.loss : task.head);

/** Images number `step · BATCH` and those behind it, from the beginning again where they end. */
function batches(base: string, cut?: number): { readonly size: Size; of(step: number): ImageBatch } {
  const data = openTensors(join(folder, `${base}.safetensors`));
  const pixels = Float32Array.from(data.get("pixels")?.values() ?? []);
  const [count = 0, , whole = 0, width = 0] = data.get("pixels")?.shape ?? [];
  const size = [cut ?? whole, width] as const;
  const labels = new Int32Array(data.get("labels")?.bytes().slice().buffer ?? new ArrayBuffer(0));
  const [from, to] = [whole * width, size[0] * width];
  const of = (step: number) => {
    const numbers = Array.from({ length: BATCH }, (_, at) => (step * BATCH + at) % count);
    const some = new Float32Array(BATCH * 3 * to);
    numbers.forEach((number, at) => {
      for (let channel = 0; channel < 3; channel++) {
        const begin = (number * 3 + channel) * from;
        some.set(pixels.subarray(begin, begin + to), (at * 3 + channel) * to);
      }
    });
    return {
      images: { count: BATCH, size, pixels: some },
      labels: Uint32Array.from(numbers, (number) => labels[number] ?? 0),
    };
  };
  return { size, of };
}

interface Ours {
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  /** Of the first batch, after the last step. */
  readonly end: number;
}

async function train(
  { base, method, task, targets = [], sparsity, checkpointing = false, height, onGpu }: Case,
  place: string,
): Promise<Ours> {
  const adapter = { rank: 5, alpha: 20, targets: typeof targets === "string" ? targets : [...targets] };
  const own = method === "full" ? {} : { ...adapter, ...(sparsity && { sparsity }) };
  const asked = { model: base, data: "made-up", method, seed: 5, ...own };
  const settings = resolveSettings(asked, { modelType: "", contextLength: 1 });
  const location = { folder: join(folder, base), weights: undefined };
  const { size, of } = batches(base, height);
  await using source = await ImageSource.open(settings, location, { task, size });
  const device = onGpu === true ? devices.gpu : devices.cpu;
  const { staging } = device;
  const tokens = BATCH * 17;
  const choices = { staging, tokens, microBatches: 1, budget: 2 ** 30, choices: undefined };
  using model = await source.place(device, choices);
  await model.fill();
  const optimizer = { betas: [0.9, 0.999], eps: 1e-8, weightDecay: DECAY, gradClip: 0 } as const;
  using engine = new Engine(device, model, { optimizer, checkpointing, staging });
  await engine.begin();
  await save(model, join(place, "start"));
  const step = (index: number) => {
    const batch = of(index);
    return {
      index,
      epoch: 0,
      shards: [{ first: 0, microBatches: [batch] }],
      targets: model.task.termsOf(batch),
      tokens: BATCH,
    };
  };
  const [losses, norms]: number[][] = [[], []];
  for (let index = 0; index < STEPS; index++) {
    const { outcome } = await engine.step(step(index), RATE);
    const { loss, gradNorm } = await outcome;
    losses?.push(loss);
    norms?.push(gradNorm);
  }
  const end = (await engine.sampleLoss(step(0))) ?? NaN;
  await save(model, join(place, "end"));
  return { losses: losses ?? [], norms: norms ?? [], end };
}

async function save(model: { save(folder: string): Promise<void> }, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  await model.save(to);
}

function largestRelative(found: readonly number[], wanted: readonly number[]): number {
  expect(found.length).toBe(wanted.length);
  return wanted.reduce((most, value, at) => Math.max(most, Math.abs((found[at] ?? NaN) / value - 1)), 0);
}

/** PEFT's trained adapter, in either spelling of its modules, merges to what ours merged to. */
async function compareMerges(name: string): Promise<void> {
  const place = join(folder, placeOf(name));
  const base = join(folder, CASES[name]?.base ?? "");
  const merged: Record<string, ReturnType<typeof openTensors>> = {};
  for (const theirs of ["theirs", "theirs-old"]) {
    const out = join(place, `merged-${theirs}`);
    await merge([base, join(place, theirs), "--out", out]);
    merged[theirs] = openTensors(out);
  }
  for (const [tensor, stored] of openTensors(join(place, "merged"))) {
    const [now, old] = [merged["theirs"]?.get(tensor), merged["theirs-old"]?.get(tensor)];
    const [values, others] = [Float64Array.from(stored.values()), now?.values() ?? []];
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const apart = values.reduce((most, value, at) => Math.max(most, Math.abs(value - (others[at] ?? NaN))), 0);
    expect(apart, `${name}: ${tensor}`).toBeLessThanOrEqual(1e-3 * largest);
    expect(old?.bytes(), `${name}: ${tensor}`).toEqual(now?.bytes());
  }
}

/**
 * Every weight that torch trained is what ours became. The bias of keys adds the same to all scores of a query: its gradient
 * is noise, of which AdamW makes whole steps.
 */
function compareWeights(name: string): void {
  const place = join(folder, placeOf(name));
  const theirs = openTensors(join(place, "theirs"));
  const plain = (tensor: string) => tensor.replace(/^dinov2\./, "");
  const wanted = new Map([...theirs].map(([tensor, stored]) => [plain(tensor), stored]));
  const before = openTensors(join(folder, CASES[name]?.base ?? ""));
  for (const [tensor, stored] of openTensors(join(place, "end"))) {
    if (/k(ey|_proj)\.bias$/.test(tensor)) continue;
    const [values, others] = [
      [...stored.values()],
      [...(wanted.get(tensor)?.values() ?? before.get(tensor)?.values() ?? [])],
    ];
    expect(values.length, `${name}: ${tensor}`).toBe(others.length);
    const apart = values.reduce((most, value, at) => Math.max(most, Math.abs(value - (others[at] ?? NaN))), 0);
    // Far less than the steps that were made; where a gradient is almost 0, rounding decides of its sign.
    expect(apart, `${name}: ${tensor}`).toBeLessThanOrEqual(0.1 * STEPS * RATE);
  }
}

test("20 steps are those of PEFT and torch; what is written is loaded by PEFT, and merged by transformers", async () => {
  const ours = new Map<string, Ours>();
  const jobs = [];
  for (const [name, one] of Object.entries(CASES)) {
    const place = join(folder, placeOf(name));
    ours.set(name, await train(one, place));
    const base = join(folder, one.base);
    const isWhole = one.method === "full";
    const merged = isWhole ? null : join(place, "merged");
    if (merged !== null) await merge([base, join(place, "end"), "--out", merged]);
    const { task } = one;
    const texts = "texts" in task ? task.texts : [];
    jobs.push({
      name,
      base,
      data: `${base}.safetensors`,
      task: taskName(task),
      whole: isWhole,
      height: one.height ?? null,
      texts,
      classes: 4,
      batch: BATCH,
      steps: STEPS,
      rate: RATE,
      decay: DECAY,
      start: join(place, "start"),
      end: join(place, "end"),
      merged,
      theirs: join(place, "theirs"),
    });
  }
  const file = join(folder, "jobs.json");
  await Bun.write(file, JSON.stringify(jobs));
  const theirs = v.parse(Theirs, JSON.parse(await python.script("vision_training.py", "train", file)));
  for (const [name, { losses, norms, end }] of ours) {
    const wanted = theirs[name];
    if (wanted === undefined) throw new Error(`no answer for ${name}`);
    const [first = NaN] = losses;
    process.stdout.write(
      `${name}: loss ${first.toFixed(4)} → ${end.toFixed(4)}, apart ${largestRelative(losses, wanted.losses).toExponential(1)}, norms ${largestRelative(norms, wanted.norms).toExponential(1)}, reloaded ${largestRelative([end], [wanted.reloaded]).toExponential(1)}, merged ${largestRelative([end], [wanted.merged ?? end]).toExponential(1)}\n`,
    );
    expect(largestRelative(losses, wanted.losses), name).toBeLessThan(WITHIN);
    expect(largestRelative(norms, wanted.norms), name).toBeLessThan(10 * WITHIN);
    expect(largestRelative([end], [wanted.reloaded]), name).toBeLessThan(WITHIN);
    if (CASES[name]?.method === "full") compareWeights(name);
    else {
      expect(largestRelative([end], [wanted.merged ?? NaN]), name).toBeLessThan(WITHIN);
      await compareMerges(name);
    }
    // A curve that does not move would agree with anything.
    expect(first - end, name).toBeGreaterThan(0.02);
    const isWhole = CASES[name]?.method === "full";
    await passed(join(folder, CASES[name]?.base ?? ""), isWhole ? ["training"] : ["training", "merge"]);
  }
  for (const { memory } of Object.values(devices)) expect(memory.liveBytes).toBe(0);
}, 600_000);
