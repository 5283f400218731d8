import { join } from "node:path";
import type { GeneratorName } from "../../compute/random/names.ts";
import { baseOf, parameters, type TestTensor, writeFolder } from "./adapters.ts";
import type { BaseModel } from "../base/base.ts";
import type { JsonObject } from "../../files/lossless-json.ts";
import { openPeft } from "../formats/peft.ts";
import type { Adapter } from "../files/adapter.ts";
import { planRandlora } from "../randlora/plan.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";

/** Shapes of a small model. */
export const BASE = {
  "model.embed_tokens.weight": [64, 8],
  "model.layers.0.q.weight": [8, 8],
  "model.layers.0.up.weight": [12, 8],
  "model.layers.0.down.weight": [8, 12],
  "model.norm.weight": [8],
};
/** What the adapter adapts, with m. */
export const MODULES = { "model.layers.0.q": 8, "model.layers.0.up": 8 };
/** Its configuration, unless the case says otherwise. */
export const CONFIG = { peft_type: "RANDLORA", r: 3, randlora_alpha: 60, target_modules: ["q", "up"], sparse: true };
/** The small model. */
export const base = baseOf(BASE);

/** What is different in a case. */
export interface Case {
  readonly config?: JsonObject;
  readonly tensors?: Readonly<Record<string, TestTensor>>;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Writes a case as a PEFT folder, opens it for `use`, and cleans up. */
export async function withAdapter<T>(given: Case, use: (adapter: Adapter) => T | Promise<T>): Promise<T> {
  await using folder = await TemporaryFolder.create();
  const config = { ...CONFIG, ...given.config };
  const path = await writeFolder(
    join(folder.path, "a"),
    config,
    given.tensors ?? parameters(3, MODULES),
    given.metadata,
  );
  await using adapter = await openPeft(path);
  return await use(adapter);
}

/** Fits the adapter to a base. */
export const plan = (adapter: Adapter, on: BaseModel = base, generator?: GeneratorName) =>
  planRandlora(adapter, on, { generator });
