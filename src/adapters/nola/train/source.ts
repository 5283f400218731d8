import { checkDrawn } from "../../frozen/drawing/bases.ts";
import type { BaseModel } from "../../base/base.ts";
import { fromBigInt, type JsonObject } from "../../../files/lossless-json.ts";
import type { OpenInput } from "../../training/definition.ts";
import { refuseMore } from "../../training/existing.ts";
import { newConfig } from "../../training/new-config.ts";
import type { AdapterSettings } from "../../training/settings.ts";
import type { Targets } from "../../base/target-modules.ts";
import type { Adapter } from "../../adapter.ts";
import { readAllValues } from "../../files/values.ts";
import { PEFT_TYPE } from "../config.ts";
import { initialFactor, type NolaDraws } from "../draws.ts";
import { planNola } from "../plan.ts";
import { formatRecord } from "../record.ts";
import type { NolaSettings } from "./settings.ts";

/** One module that NoLA adapts. */
export interface NolaModule {
  /** As adapters name it. */
  readonly name: string;
  /** Its weight in the checkpoint. */
  readonly tensor: string;
  readonly out: number;
  readonly in: number;
  /** A₀ (rank, in). */
  readonly initial: Float32Array<ArrayBuffer>;
  /** c and d before training; undefined: zero. */
  readonly values: { readonly a: Float32Array<ArrayBuffer>; readonly b: Float32Array<ArrayBuffer> } | undefined;
}

/** A NoLA adapter before it is trained: new, or one that exists. */
export interface NolaSource {
  readonly draws: NolaDraws;
  /** alpha / rank. */
  readonly scale: number;
  readonly modules: readonly NolaModule[];
  readonly config: JsonObject;
  /** What draws all that is not trained. */
  readonly record: JsonObject;
}

/** A new adapter: ΔW = 0, since V's coefficients are zero. @throws RandloraError `adapter` for a rank beyond all models */
export function newNola(
  { model, seed }: Pick<OpenInput, "model" | "seed">,
  settings: AdapterSettings & NolaSettings,
  targets: Targets,
): NolaSource {
  const { modules } = targets;
  const { rank, alpha, dropout, bases, basisSeed } = settings;
  const key = BigInt(basisSeed);
  const maxIn = Math.max(...modules.map((module) => module.in));
  const maxOut = Math.max(...modules.map(({ out }) => out));
  checkDrawn(rank, Math.max(maxIn, maxOut));
  const draws = { key, bases, rank, maxIn, maxOut, initSeed: seed };
  return {
    draws,
    scale: alpha / rank,
    modules: modules.map(({ name, tensor, out, in: input }) => {
      const initial = initialFactor(draws, name, input);
      return { name, tensor, out, in: input, initial, values: undefined };
    }),
    config: newConfig(model, targets, {
      bias: "none",
      nola_alpha: alpha,
      nola_dropout: dropout,
      num_bases: bases,
      peft_type: PEFT_TYPE,
      projection_prng_key: fromBigInt(key),
      r: rank,
    }),
    record: formatRecord(draws),
  };
}

/**
 * An adapter that exists, to go on from (`--init-adapter`): its coefficients, and all that draws the rest.
 * @throws RandloraError `adapter` when it does not fit the base, or holds more than NoLA's coefficients
 */
export async function existingNola(adapter: Adapter, base: BaseModel, settings: AdapterSettings): Promise<NolaSource> {
  const plan = planNola(adapter, base);
  refuseMore(plan);
  const { draws, scale } = plan;
  const modules: NolaModule[] = [];
  for (const { module: name, tensor, out, in: input, tensors } of plan.layers) {
    const values = await readAllValues(adapter, tensors);
    modules.push({ name, tensor, out, in: input, initial: initialFactor(draws, name, input), values });
  }
  const config = { ...adapter.config, inference_mode: true, nola_dropout: settings.dropout };
  return { draws, scale, modules, config, record: adapter.bases ?? formatRecord(draws) };
}
