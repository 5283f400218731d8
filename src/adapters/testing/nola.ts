import { createHash } from "node:crypto";
import { kaimingUniform } from "../../compute/random/kaiming.ts";
import { philoxElement, philoxStream } from "../../compute/random/philox.ts";
import { itemAt } from "../../files/item-at.ts";
import { fromBigInt, type JsonObject, stringifyLossless } from "../../files/lossless-json.ts";
import { formatRecord } from "../nola/draws.ts";
import { numbers, type TestTensor, writeFolder } from "./adapters.ts";

/** A NoLA adapter of modules that are (out, in). */
export interface TestNola {
  readonly r: number;
  readonly alpha: number;
  readonly bases: number;
  readonly key: bigint;
  readonly initSeed: number;
  readonly modules: Readonly<Record<string, readonly [out: number, input: number]>>;
}

/** Its tensors under the names in a PEFT folder. */
function nolaTensors({ bases, modules }: TestNola): Record<string, TestTensor> {
  const tensors: Record<string, TestTensor> = {};
  let salt = 0;
  for (const module of Object.keys(modules)) {
    for (const side of ["A", "B"]) {
      tensors[`base_model.model.${module}.nola_coefficients_${side}`] = numbers([bases], ++salt);
    }
  }
  return tensors;
}

/** Writes it as a PEFT folder; `config`, `tensors`, `bases` are added to, or take the place of, its own. */
export async function writeNola(
  folder: string,
  nola: TestNola,
  more: {
    readonly config?: JsonObject;
    readonly tensors?: Readonly<Record<string, TestTensor>>;
    readonly bases?: JsonObject | null;
  } = {},
): Promise<string> {
  const { r, alpha, bases, key, initSeed, modules } = nola;
  const config: JsonObject = {
    peft_type: "NOLA",
    r,
    nola_alpha: alpha,
    num_bases: bases,
    projection_prng_key: fromBigInt(key),
    target_modules: Object.keys(modules),
    ...more.config,
  };
  const shapes = Object.values(modules);
  const draws = { key, bases, rank: r, initSeed };
  const maxIn = Math.max(...shapes.map(([, input]) => input));
  const maxOut = Math.max(...shapes.map(([out]) => out));
  const record = { ...formatRecord({ ...draws, maxIn, maxOut }), ...more.bases };
  const metadata = { format: "pt", ...(more.bases === null ? {} : { randlora_bases: stringifyLossless(record, 0) }) };
  return writeFolder(folder, config, { ...nolaTensors(nola), ...more.tensors }, metadata);
}

/** scale · B·A (out, in) of one module in f64, by the definition and the element map of philox-v1. */
export function nolaDelta(nola: TestNola, module: string): Float64Array {
  const { r, alpha, bases, key, initSeed, modules } = nola;
  const [out, input] = modules[module] ?? [0, 0];
  const shapes = Object.values(modules);
  const most = { A: Math.max(...shapes.map((shape) => shape[1])), B: Math.max(...shapes.map((shape) => shape[0])) };
  const tensors = nolaTensors(nola);
  const wide = (side: "A" | "B", length: number) => {
    const data = tensors[`base_model.model.${module}.nola_coefficients_${side}`]?.data ?? new Uint8Array();
    const coefficients = new Float32Array(data.buffer, data.byteOffset, bases);
    const stream = philoxStream(key, side === "A" ? 0 : 1, "dense", 1);
    return Float64Array.from({ length: r * length }, (_, at) => {
      let sum = 0;
      for (let i = 0; i < bases; i++) {
        const index = (i * r + Math.floor(at / length)) * most[side] + (at % length);
        sum += itemAt(coefficients, i) * philoxElement(stream, index);
      }
      // An element of philox-v1 is (2b − 255)/255 · √(765/257).
      return sum / Math.sqrt(765 / 257) / Math.sqrt(bases);
    });
  };
  const before = kaimingUniform(r, input, initSeed, createHash("sha256").update(module).digest().readUInt32LE(0));
  const [a, bt] = [wide("A", input).map((value, at) => value + itemAt(before, at)), wide("B", out)];
  return Float64Array.from({ length: out * input }, (_, at) => {
    const [row, col] = [Math.floor(at / input), at % input];
    let sum = 0;
    for (let k = 0; k < r; k++) sum += itemAt(bt, k * out + row) * itemAt(a, k * input + col);
    return (alpha / r) * sum;
  });
}
