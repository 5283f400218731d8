import * as v from "valibot";
import type { Pairing } from "../../compute/device/pairing.ts";
import { type BasisMatrix, readElement } from "../../compute/device/matrix-storage.ts";
import {
  canDraw,
  type FloatGrid,
  GENERATOR_NAMES,
  type GeneratorName,
  type Sparsity,
} from "../../compute/random/names.ts";
import { philoxFill } from "../../compute/random/philox.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { toPlain } from "../../files/lossless-json.ts";
import type { AdapterTensor } from "../files/adapter.ts";
import { drawnDimension, finiteNumber, parseSettings, RECORD_KEYS } from "../base/config-keys.ts";
import { basesCount, type BasesSpec } from "../frozen/drawing/bases.ts";
import { drawSteps, fingerprintSteps } from "../frozen/drawing/draw.ts";
import { fromProjections } from "../frozen/drawing/saved.ts";
import type { Drawn, FrozenKind, FrozenRecord, FrozenSettings } from "../frozen/kind.ts";
import { readF32 } from "../files/tensors.ts";

/** What the pair is drawn at: A (r, 1, min), B (max, ⌈min/r⌉, r). */
export interface BasesSizes {
  readonly max: number;
  readonly min: number;
}

/** What an adapter records of its bases, so that they can be drawn again and a redraw that differs is noticed. */
export type BasesRecord = FrozenRecord &
  BasesSizes & {
    readonly pairing: Pairing;
    /** RandLoRA-a alone: how many of the `max` rows of each base are those of Aⱼᵀ, below those of Bⱼ. */
    readonly rowsOfA?: number | undefined;
  };

/** The settings that say how bases are drawn. */
export interface BasesSettings extends FrozenSettings {
  readonly sparsity: Sparsity;
  readonly pairing?: Pairing | undefined;
}

const std = v.nullish(v.pipe(finiteNumber, v.gtValue(0, "it must be positive")));

const SCHEMA = v.object({
  ...RECORD_KEYS,
  pairing: v.optional(v.picklist(["peft", "paper"], 'it must be "peft" or "paper"'), "peft"),
  max: drawnDimension,
  min: drawnDimension,
  rows_of_a: v.nullish(drawnDimension),
  std_a: std,
  std_b: std,
});

type Candidates = readonly (readonly [GeneratorName, readonly FloatGrid[]])[];

/** What may have drawn dense bases, the likeliest first, with the grids they may have been rounded to. */
const DENSE: Candidates = [
  // A value drawn on a 16-bit grid is the same in f32: that grid says more.
  ["torch-mt19937-bf16-v2", ["bf16", "f16"]],
  ["torch-mt19937-bf16-v1", ["bf16", "f16"]],
  ["torch-mt19937-f16-v2", ["f16", "bf16"]],
  ["torch-mt19937-f16-v1", ["f16", "bf16"]],
  ["torch-mt19937-f32", ["f32", "bf16", "f16"]],
  ["philox-v1", ["f32", "bf16", "f16"]],
];
const TERNARY: Candidates = [
  ["torch-mt19937-ternary", ["f32", "bf16", "f16"]],
  ["philox-v1", ["f32", "bf16", "f16"]],
];

/** RandLoRA's pair of bases. */
export const RANDLORA_BASES: FrozenKind<BasesSettings, BasesSizes, BasesRecord> = {
  shared: ["randlora_A", "randlora_B"],
  meaning: "A is (r, 1, min) and B (max, ⌈min/r⌉, r)",
  shapes: ({ max, min }, r) => ({ a: [r, 1, min], b: [max, basesCount(min, r), r] }),
  sizes(a, b, r) {
    const [rank, one, min = 0] = a;
    const [max = 0, n, rankB] = b;
    if (a.length !== 3 || b.length !== 3 || min < 1 || max < min) return undefined;
    return rank !== r || one !== 1 || rankB !== r || n !== basesCount(min, r) ? undefined : { max, min };
  },
  // Maxima first, as PEFT takes them.
  sizesFor(modules) {
    const out = modules.reduce((most, module) => Math.max(most, module.out), 0);
    const input = modules.reduce((most, module) => Math.max(most, module.in), 0);
    return { max: Math.max(out, input), min: Math.min(out, input) };
  },
  parse(bases, file) {
    const read = parseSettings(v.object({ bases: SCHEMA }), { bases: toPlain(bases) }, file).bases;
    const { generator, pairing, max, min, dtype, sha256, rows_of_a: rowsOfA, std_a: stdA, std_b: stdB } = read;
    const refuse = (cause: string, hint: string) => new RandloraError("format", `${oneLine(file)}: ${cause}`, hint);
    if (min > max) {
      const cause = `"bases.min" is ${min}, more than "bases.max", which is ${max}`;
      throw refuse(cause, "min is the smaller dimension of the bases");
    }
    if (rowsOfA !== min && typeof rowsOfA === "number") {
      const cause = `"bases.rows_of_a" is ${rowsOfA}, but "bases.min" is ${min}`;
      throw refuse(cause, "A has as many columns as bases have rows of it");
    }
    const optional = { rowsOfA: rowsOfA ?? undefined, stdA: stdA ?? undefined, stdB: stdB ?? undefined };
    return { generator, pairing, max, min, dtype, sha256, ...optional };
  },
  format({ generator, pairing, max, min, rowsOfA, dtype, stdA, stdB, sha256 }) {
    return {
      generator,
      pairing,
      max,
      min,
      ...(rowsOfA === undefined ? {} : { rows_of_a: rowsOfA }),
      dtype,
      ...(stdA === undefined ? {} : { std_a: stdA }),
      ...(stdB === undefined ? {} : { std_b: stdB }),
      sha256: { ...sha256 },
    };
  },
  record({ generator, max, min, dtype }, print, { pairing = "peft" }) {
    return { generator, pairing, max, min, dtype, ...print };
  },
  unfit(generator, { sparsity }) {
    if (canDraw(generator, sparsity)) return undefined;
    const fit = GENERATOR_NAMES.filter((name) => canDraw(name, sparsity));
    const cause = `its bases are ${sparsity}, and ${generator} does not draw such`;
    return { cause, hint: `${sparsity} bases are drawn by ${fit.join(", ")}` };
  },
  // Sparse bases have one generator in PEFT; dense ones are never guessed.
  unrecorded({ path }, { sparsity }, asked) {
    const chosen = asked ?? (sparsity === "dense" ? undefined : "torch-mt19937-ternary");
    if (chosen !== undefined) return chosen;
    const cause = "the file holds no bases and does not record which generator drew them";
    const hint = [
      "name it: --generator torch-mt19937-bf16-v2 (trained with a recent PyTorch, 2.13)",
      "torch-mt19937-bf16-v1 (PyTorch up to 2.6)",
      "torch-mt19937-f16-v2 or -v1 (the same on a machine without bf16, such as Apple's)",
      "torch-mt19937-f32 or philox-v1",
    ].join("; ");
    // Nothing is wrong with the adapter: bases are missing, which may be there another time.
    throw new RandloraError("file", `${oneLine(path)}: ${cause}`, hint);
  },
  candidates: ({ sparsity }) => (sparsity === "dense" ? DENSE : TERNARY),
  peftDraws: ({ generator, pairing }) =>
    pairing === "peft" && generator !== "philox-v1" && generator !== "torch-mt19937-f32",
  draw: (drawn, config, extent, cache) => drawSteps(specOf(drawn, config), extent, cache),
  whole: ({ max, min }, r) => ({ rows: max, bases: basesCount(min, r), cols: min }),
  fill: ({ a, b }, which, first, out) => fillElements(which === "a" ? a : b, first, out),
  *print(drawn, config, cache) {
    const { stdA, stdB, sha256 } = yield* fingerprintSteps(specOf(drawn, config), cache);
    return { stdA: stdA ?? undefined, stdB: stdB ?? undefined, sha256 };
  },
  headOf(which, tensor, generator, count) {
    const inOrder = which === "a" || generator === "torch-mt19937-ternary" || generator === "philox-v1";
    return inOrder ? readF32(tensor, 0, count) : readByBase(tensor, count);
  },
  pack: ({ a, b }, r, extent, signal) => fromProjections(a, b, r, extent, signal),
  unknown: "does not say what drew its bases, and neither does the result",
  undrawn: "which generator drew them",
};

/**
 * RandLoRA-a's bases of both factors: each base of the longer draw is (max + min, r), Bⱼ and below it Aⱼᵀ. So any generator
 * draws them, and what saves, records and recognizes bases need not know. The A that is drawn before them is not used.
 */
export const STACKED_BASES: typeof RANDLORA_BASES = {
  ...RANDLORA_BASES,
  sizesFor(modules) {
    const { max, min } = RANDLORA_BASES.sizesFor(modules);
    return { max: max + min, min };
  },
};

/** The first row of Aⱼᵀ: how many Bⱼ has. */
export function firstRowOfA({ max, min }: BasesSizes): number {
  return max - min;
}

function specOf({ generator, dtype, max, min }: Drawn<BasesSizes>, { key, r, sparsity }: BasesSettings): BasesSpec {
  return { generator, key, r, max, min, sparsity, grid: dtype };
}

/** Elements `first .. first + out.length` of a whole matrix, row-major, as f32. */
function fillElements(matrix: BasisMatrix, first: number, out: Float32Array<ArrayBuffer>): void {
  const { storage, cols } = matrix;
  if (storage.kind === "philox" && storage.pitch === cols) {
    philoxFill(storage, first, out);
    return;
  }
  let row = Math.floor(first / cols);
  let col = first % cols;
  for (let i = 0; i < out.length; i++) {
    out[i] = readElement(matrix, row, col);
    col++;
    if (col === cols) {
      col = 0;
      row++;
    }
  }
}

/** The first elements of B (max, n, r) base after base, as PyTorch's dense bases are drawn. */
async function readByBase(b: AdapterTensor, count: number): Promise<Float32Array> {
  const [max = 0, n = 0, r = 0] = b.shape;
  const out = new Float32Array(Math.min(count, max * n * r));
  for (let at = 0; at < out.length; at += r) {
    const [base, row] = [Math.floor(at / r / max), (at / r) % max];
    out.set((await readF32(b, (row * n + base) * r, r)).subarray(0, out.length - at), at);
  }
  return out;
}
