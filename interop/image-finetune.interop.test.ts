import { afterAll, beforeAll, expect, test } from "bun:test";
import { cp, writeFile } from "node:fs/promises";
import { extname, join } from "node:path";
import * as v from "valibot";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { judge } from "./judge.ts";
import { randlora, ROOT } from "./program.ts";

/** Images of every kind, of sizes of their own, some of them turned. */
const IMAGES = {
  cat: ["rgb.png", "turned-6.jpg", "palette.png", "lossy-alpha.webp"],
  dog: ["420.jpg", "grey.png", "turned-3.png", "lossless.webp", "grey-16-bits.png"],
  owl: ["cmyk.jpg", "rgba.png", "turned-6.webp"],
} as const;
const VALID = { cat: ["411.jpg"], dog: ["grey.jpg", "turned-5.png"], owl: ["444.jpg"] } as const;
const [BATCH, STEPS, RATE, DECAY, CLIP] = [5, 20, 1e-2, 0.1, 0.5];
/** Relative; what is promised is 2e-3, and beside quantized weights 5e-3. */
const [WITHIN, WITHIN_BLOCKS] = [2e-4, 5e-3];

const CASES: Readonly<Record<string, readonly [base: string, head: string, method: string, blocks?: "q8" | "q4"]>> = {
  "dinov2, linear head, lora": ["dinov2", "linear", "--method lora --targets q_proj,v_proj,fc1"],
  "dinov2, linear head, randlora": ["dinov2", "linear", "--method randlora --rank 4 --targets q_proj,fc2"],
  "clip, zero-shot head, randlora": [
    "clip",
    "zero-shot",
    "--method randlora --rank 4 --targets q_proj,v_proj --sparse",
  ],
  "dinov2 in q8, linear head, randlora": ["dinov2", "linear", "--method randlora --rank 4 --targets q_proj,fc2", "q8"],
  "dinov2 in q4, linear head, lora": ["dinov2", "linear", "--method lora --targets all-linear", "q4"],
  // The rows of its fc2, and all of its texts', are no whole blocks.
  "clip in q4, zero-shot head, randlora": [
    "clip",
    "zero-shot",
    "--method randlora --rank 4 --targets q_proj,fc1,fc2 --compute merged",
    "q4",
  ],
};

const Told = v.object({
  losses: v.array(v.number()),
  norms: v.array(v.number()),
  rates: v.array(v.number()),
  valid_loss: v.number(),
  valid_accuracy: v.number(),
});
const Step = v.object({ loss: v.number(), grad_norm: v.number(), learning_rate: v.number() });
const Evaluation = v.object({ valid_loss: v.number(), valid_accuracy: v.number() });

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await TemporaryFolder.create();
  const any = join(ROOT, "fixtures/images/rgb.png");
  await (await judge()).script("image_commands.py", folder.path, Object.keys(IMAGES).join(","), any);
  for (const [split, classes] of [["train", IMAGES] as const, ["valid", VALID] as const]) {
    for (const [name, files] of Object.entries(classes)) {
      for (const [at, file] of files.entries()) {
        await cp(join(ROOT, "fixtures/images", file), folder.at("data", split, name, `${at}${extname(file)}`));
      }
    }
  }
});
afterAll(() => folder[Symbol.asyncDispose]());

/** The model with the weights of its layers as Python's gguf rounds them. */
async function roundedModel(base: string, format: "q8" | "q4"): Promise<string> {
  const out = folder.at(`${base}-${format}`);
  const rounded = await (await judge()).request(v.number(), "rounded_model", { base: folder.at(base), format, out });
  expect(rounded).toBe({ clip: 10, dinov2: 12 }[base] ?? NaN);
  return out;
}

/** Trains into a new folder of this name. */
async function finetune(name: string, base: string, ...args: readonly string[]): Promise<string> {
  const out = folder.at(name);
  const data = ["--data", folder.at("data"), "--no-shuffle", "--batch-size", String(BATCH)];
  await randlora(["finetune", folder.at(base), ...data, ...args, "--out", out, "--json", "-q"]);
  return out;
}

function expectNear(found: readonly number[], wanted: readonly number[], what: string, within = WITHIN): void {
  expect(found.length, what).toBe(wanted.length);
  for (const [at, value] of found.entries())
    expect(Math.abs(value / (wanted[at] ?? NaN) - 1), what).toBeLessThan(within);
}

test("from image files on, losses, norms and accuracies of a run are those of transformers, PEFT and torch, beside blocks those of weights that gguf rounded", async () => {
  const jobs = [];
  const lines = new Map<string, string[]>();
  for (const [at, [name, [base, head, method, blocks]]] of Object.entries(CASES).entries()) {
    const held = blocks === undefined ? [] : ["--quantize", blocks];
    // At a rate of 0 nothing is trained: what is written is what the run began with.
    const begin = await finetune(
      `begin-${at}`,
      base,
      ...method.split(" "),
      "--head",
      head,
      "--learning-rate",
      "0",
      "--steps",
      "1",
    );
    const start = join(begin, "adapter");
    const settings = [
      ...held,
      "--weight-decay",
      String(DECAY),
      "--grad-clip",
      String(CLIP),
      "--learning-rate",
      String(RATE),
    ];
    const out = await finetune(`run-${at}`, base, "--init-adapter", start, "--steps", String(STEPS), ...settings);
    lines.set(name, (await Bun.file(join(out, "metrics.jsonl")).text()).trim().split("\n"));
    const data = folder.at("data");
    jobs.push({
      name,
      base: blocks === undefined ? folder.at(base) : await roundedModel(base, blocks),
      start,
      data,
      head,
      batch: BATCH,
      steps: STEPS,
      rate: RATE,
      decay: DECAY,
      clip: CLIP,
    });
  }
  const path = folder.at("jobs.json");
  await writeFile(path, JSON.stringify(jobs));
  const output = await (await judge()).script("image_finetune.py", path);
  const told = v.parse(v.record(v.string(), Told), JSON.parse(output.trim().split("\n").at(-1) ?? ""));
  for (const [name, metrics] of lines) {
    const parsed = metrics.map((line): unknown => JSON.parse(line));
    const steps = parsed.filter((line) => v.is(Step, line));
    const end = v.parse(Evaluation, parsed.at(-1));
    const wanted = told[name];
    const within = name.includes(" in q") ? WITHIN_BLOCKS : WITHIN;
    if (wanted === undefined) throw new Error(`no answer for ${name}`);
    const [first = NaN, last = NaN] = [steps[0]?.loss, steps.at(-1)?.loss];
    process.stdout.write(
      `${name}: loss ${first.toFixed(4)} → ${last.toFixed(4)} (${wanted.losses.at(-1)?.toFixed(4)}), accuracy ${end.valid_accuracy}\n`,
    );
    expectNear(
      steps.map(({ loss }) => loss),
      wanted.losses,
      `${name}: losses`,
      within,
    );
    expectNear(
      steps.map(({ grad_norm: norm }) => norm),
      wanted.norms,
      `${name}: norms`,
      10 * within,
    );
    expectNear(
      steps.map(({ learning_rate: rate }) => rate),
      wanted.rates,
      `${name}: rates`,
      1e-6,
    );
    expectNear([end.valid_loss], [wanted.valid_loss], `${name}: validation`, within);
    expect(end.valid_accuracy).toBeCloseTo(wanted.valid_accuracy, 6);
    // A curve that does not move would agree with anything.
    expect(Math.max(...steps.map(({ loss }) => loss)) - last, name).toBeGreaterThan(0.05);
  }
});
