// Merges in this process, for the tests of this folder.
import { readdir } from "node:fs/promises";
import { TEST_DEVICE } from "../../../compute/device/testing/open.ts";
import type { WritableFloatDtype } from "../../../files/safetensors/dtype.ts";
import { merge } from "../to-files/run.ts";
import type { Progress, ProgressSpec, WorkSurface } from "../../../terminal/progress.ts";
import type { MergeOptions, MergeSummary } from "../to-files/options.ts";
import {
  readModel,
  type Tensors,
  type TestAdapter,
  type TestModel,
  weights,
  writeAdapter,
  writeModel,
} from "./models.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";

/** A surface that remembers. */
export class Notes implements WorkSurface {
  readonly warnings: string[] = [];
  readonly log = { warn: (line: string) => void this.warnings.push(line) };
  total = { bytes: 0 };
  readonly seen: string[] = [];
  bytesSeen = 0;
  progress({ bytes }: ProgressSpec): Progress {
    if (bytes !== undefined) this.total = { bytes };
    const close = (): void => {};
    const add = ({ bytes = 0 }: { readonly bytes?: number }): void => this.bytes(bytes);
    return { add, label: (name) => this.tensor(name), close, [Symbol.dispose]: close };
  }
  tensor(name: string): void {
    this.seen.push(name);
  }
  bytes(count: number): void {
    this.bytesSeen += count;
  }
}

/** `--verify` always: every merge of a test is also checked by the program itself. A thread alone opens its device sooner. */
export const OPTIONS = {
  dtype: "keep",
  scales: [],
  rounding: "once",
  maxShardSize: 5e9,
  unmerge: false,
  verify: true,
  force: false,
  dryRun: false,
  device: TEST_DEVICE.threads === undefined ? TEST_DEVICE : { ...TEST_DEVICE, threads: 1 },
} as const;

export interface Merged {
  readonly summary: MergeSummary;
  readonly notes: Notes;
  readonly tensors: Tensors;
  readonly files: readonly string[];
}

/** Writes model and adapters into `folder`, merges them into its `out`, and reads that back. */
export async function mergeIn(
  folder: TemporaryFolder,
  model: TestModel,
  adapters: readonly TestAdapter[],
  options: Partial<MergeOptions> = {},
): Promise<Merged> {
  const base = await writeModel(folder.at("base"), model);
  const paths: string[] = [];
  for (const [i, adapter] of adapters.entries()) paths.push(await writeAdapter(folder.at(`adapter${i}`), adapter));
  const notes = new Notes();
  const all = { ...OPTIONS, base, adapters: paths, out: folder.at("out"), ...options };
  const summary = await merge(all, notes, new AbortController().signal);
  return { summary, notes, tensors: await readModel(summary.out), files: (await readdir(folder.at("out"))).toSorted() };
}

export const LAYER = "model.layers.0";
/** Square, tall and wide, with widths that are no multiples of anything. */
export const MODULES = {
  [`${LAYER}.self_attn.q_proj`]: [37, 37],
  [`${LAYER}.self_attn.v_proj`]: [19, 37],
  [`${LAYER}.mlp.up_proj`]: [75, 37],
} as const;
export const ADAPTER: TestAdapter = { r: 5, alpha: 10, seed: 3, modules: MODULES };

/** A small model with something of every kind beside the adapted weights. */
export function modelOf(dtype: WritableFloatDtype): Tensors {
  const adapted = Object.entries(MODULES).map(([name, shape], i) => [`${name}.weight`, weights(dtype, shape, i)]);
  return {
    "model.embed_tokens.weight": weights(dtype, [50, 37], 10),
    ...Object.fromEntries(adapted),
    [`${LAYER}.mlp.gate.weight`]: { dtype: "F8_E4M3", shape: [3], data: Uint8Array.of(1, 126, 200) },
    "model.norm.weight": weights("F32", [37], 11),
    "model.empty": { dtype: "F32", shape: [0, 4], data: new Uint8Array() },
    "model.steps": { dtype: "I64", shape: [], data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
  };
}
