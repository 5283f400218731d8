import { createHash } from "node:crypto";
import type { JsonObject } from "../../files/lossless-json.ts";
import { fromBigInt, stringifyLossless } from "../../files/lossless-json.ts";
import { f32, type TestTensor, writeFolder } from "./adapters.ts";
import { theta, thetaSum } from "./theta.ts";

/** A PRANC adapter of modules that are (out, in), in the order of its record. */
export interface TestPranc {
  readonly seed: bigint;
  readonly alpha: number;
  readonly coefficients: readonly number[];
  readonly modules: Readonly<Record<string, readonly [out: number, input: number]>>;
}

/** The tensor's name in a PEFT folder. */
export const COEFFICIENTS = "base_model.model.pranc_coefficients";

/** What the metadata says of the bases, worked out from their definition. */
function prancBases({ seed, modules }: TestPranc): JsonObject {
  const bytes = new DataView(new ArrayBuffer(4096 * 4));
  for (let at = 0; at < 4096; at++) bytes.setFloat32(at * 4, theta(seed, 0, BigInt(at)), true);
  const lines = Object.entries(modules).map(([module, [out, input]]) => `${module} ${out} ${input}\n`);
  return {
    generator: "philox-v1",
    seed: fromBigInt(seed),
    modules: Object.entries(modules).map(([module, shape]) => ({ module, shape })),
    sha256: createHash("sha256").update(bytes).update(lines.join("")).digest("hex"),
  };
}

/** What differs from what it should be. */
export interface PrancChanges {
  readonly config?: JsonObject;
  /** Null: not recorded at all. */
  readonly bases?: JsonObject | null;
  readonly tensors?: Readonly<Record<string, TestTensor>>;
}

/** Writes it as a PEFT folder. */
export async function writePranc(folder: string, pranc: TestPranc, more: PrancChanges = {}): Promise<string> {
  const { alpha, coefficients, modules } = pranc;
  const config = {
    peft_type: "PRANC",
    num_bases: coefficients.length,
    pranc_alpha: alpha,
    target_modules: Object.keys(modules),
    ...more.config,
  };
  const tensors = more.tensors ?? { [COEFFICIENTS]: f32([coefficients.length], coefficients) };
  const bases = more.bases === null ? undefined : { ...prancBases(pranc), ...more.bases };
  const recorded = bases && { randlora_bases: stringifyLossless(bases, 0) };
  return writeFolder(folder, config, tensors, { format: "pt", ...recorded });
}

/** ΔW (out, in) of one module in f64: alpha/√K/√in · Σ α_i θ_i. */
export function prancDelta({ seed, alpha, coefficients, modules }: TestPranc, module: string): Float64Array {
  let offset = 0;
  for (const [name, [out, input]] of Object.entries(modules)) {
    if (name === module) {
      const scale = alpha / Math.sqrt(coefficients.length) / Math.sqrt(input);
      return thetaSum({ seed, out, in: input, offset }, coefficients).map((value) => scale * value);
    }
    offset += out * input;
    while (offset % 16 !== 0) offset++;
  }
  throw new RangeError(`no module ${module}`);
}
