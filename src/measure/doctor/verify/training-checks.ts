import expected from "./expected.json";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { merge } from "../../../adapters/merge/to-files/run.ts";
import { SILENT } from "../../../terminal/progress.ts";
import { CpuDevice } from "../../../compute/cpu/cpu.ts";
import type { DeviceOptions } from "../../../compute/open-device.ts";
import { embeddedData, embeddedModel } from "../../../models/folder/embedded.ts";
import { loadConfig } from "../../../models/decoder/architectures/index.ts";
import { formatMeasure } from "../../../terminal/format.ts";
import { finetune } from "../../../train/loop/finetune.ts";
import { RunFolder } from "../../../train/run/run-folder.ts";
import { type AskedSettings, resolveSettings } from "../../../train/settings/resolve-settings.ts";
import { loadRunData } from "../../../train/text/data.ts";
import { textSubject } from "../../../train/text/model.ts";
import type { StepMetrics, TrainObserver } from "../../../train/types.ts";
import type { Check, CheckedDevice } from "./check.ts";
import type { Measured } from "./messages.ts";

/** Methods whose kernels differ. */
const RUN_NAMES = ["dense", "sparse", "lora", "dora", "nola"] as const;
type RunName = (typeof RUN_NAMES)[number];

/** SHA-256 of what the CPU device computes, whose bits depend on nothing but its kernels. */
interface Digests {
  readonly machine: { readonly adapter: string; readonly merged: string };
  readonly wasm: { readonly adapter: string; readonly merged: string };
}

/** What training and merges of `training-checks.ts` come to. `bun scripts/expected.ts` writes it. */
const EXPECTED: Readonly<
  Record<
    RunName,
    { readonly losses: readonly number[]; readonly gradientNorms: readonly number[]; readonly digests: Digests }
  >
> = expected;

const RUNS: Readonly<Record<RunName, Partial<AskedSettings>>> = {
  dense: { method: "randlora", rank: 8 },
  sparse: { method: "randlora", rank: 8, sparsity: "sparse" },
  lora: { method: "lora", rank: 8 },
  dora: { method: "dora", rank: 8 },
  nola: { method: "nola", rank: 8 },
};
const FORMATS: Readonly<Record<RunName, string>> = {
  dense: "RandLoRA",
  sparse: "RandLoRA, sparse",
  lora: "LoRA",
  dora: "DoRA",
  nola: "NoLA",
};
const STEPS = 10;
/** Shares of the stored numbers that other orders of summation explain. */
const TOLERANCE = { losses: 1e-4, gradientNorms: 2e-3 } as const;

/** Ten steps on the embedded model, and a merge of what they trained, which checks a sample of itself in f64. */
export function trainingChecks(options: DeviceOptions): Check[] {
  return RUN_NAMES.map((run) => ({
    op: "training and merge",
    format: FORMATS[run],
    size: `${STEPS} steps of the embedded model`,
    async run(devices, signal) {
      const folder = await mkdtemp(join(tmpdir(), "randlora-verify-"));
      try {
        const device = await devices.get();
        const digests = device instanceof CpuDevice ? (device.code.code === "wasm" ? "wasm" : "machine") : undefined;
        const measured = await trained(run, folder, devices, options, signal);
        return { wrong: differenceOf(measured, EXPECTED[run], digests), measured };
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  }));
}

async function trained(
  run: RunName,
  folder: string,
  devices: CheckedDevice,
  options: DeviceOptions,
  signal: AbortSignal,
): Promise<Measured> {
  const [model, data] = [await embeddedModel(), await embeddedData()];
  const { architecture, contextLength } = await loadConfig(model);
  const common = { steps: STEPS, batchSize: 2, maxLength: 48, schedule: "constant", learningRate: 3e-4 } as const;
  const asked = { model, data, targets: "all-linear", ...common, ...RUNS[run] };
  const settings = resolveSettings(asked, { modelType: architecture, contextLength });
  const steps: StepMetrics[] = [];
  const observer: TrainObserver = {
    warn() {},
    loading() {},
    start() {},
    step: (metrics) => void steps.push(metrics),
    evaluation() {},
    pause() {},
    saved() {},
  };
  const path = join(folder, "run");
  {
    await using out = await RunFolder.create(path, settings);
    const loaded = await loadRunData(settings, model, { signal });
    const location = { folder: model, weights: undefined };
    const input = { settings, location, subject: textSubject(loaded.data), folder: out, gpu: await devices.get() };
    await finetune(input, observer, signal);
  }
  await devices.close(); // a merge opens its own
  const out = join(folder, "merged");
  const merging = { base: model, adapters: [path], out, device: options, verify: true, ...AS_IT_IS };
  await merge(merging, SILENT, signal);
  return {
    run,
    losses: steps.map(({ loss }) => loss),
    gradientNorms: steps.map(({ grad_norm: norm }) => norm),
    adapter: await digestOf(join(path, "adapter", "adapter_model.safetensors")),
    merged: await digestOf(join(out, "model.safetensors")),
  };
}

/** What merges do by default. */
const AS_IT_IS = {
  dtype: "keep",
  scales: [],
  rounding: "once",
  maxShardSize: 5e9,
  unmerge: false,
  force: false,
  dryRun: false,
} as const;

async function digestOf(path: string): Promise<string> {
  return new Bun.CryptoHasher("sha256").update(await readFile(path)).digest("hex");
}

/**
 * What is not as stored, in one line.
 * @param digests the CPU device's kernels, whose bits are known; undefined: within the tolerances
 */
function differenceOf(
  measured: Measured,
  { losses, gradientNorms, digests }: (typeof EXPECTED)[RunName],
  kernels: keyof Digests | undefined,
): string | undefined {
  const off = [
    ...stepsOff("loss", measured.losses, losses, TOLERANCE.losses),
    ...stepsOff("gradient norm", measured.gradientNorms, gradientNorms, TOLERANCE.gradientNorms),
  ];
  if (off.length === 0 && kernels !== undefined) {
    const known = digests[kernels];
    if (measured.adapter !== known.adapter) off.push("the adapter has other bits than it must have");
    else if (measured.merged !== known.merged) off.push("the merged weights have other bits than they must have");
  }
  return off.length === 0 ? undefined : off.join("; ");
}

/** The first step that is off, if there is one. */
function stepsOff(what: string, found: readonly number[], wanted: readonly number[], tolerance: number): string[] {
  const shares = wanted.map((value, at) => Math.abs((found[at] ?? NaN) - value) / value);
  const first = shares.findIndex((share) => !(share <= tolerance));
  if (first < 0) return [];
  const [is, must] = [found[first] ?? NaN, wanted[first] ?? NaN].map((value) => formatMeasure(value));
  return [`${what} of step ${first + 1} is ${is}, not ${must} (allowed: ${formatMeasure(tolerance)} of it)`];
}
