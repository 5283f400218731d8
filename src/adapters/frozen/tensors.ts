import { sha256OfF32 } from "../../compute/random/sha256.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import type { AdapterTensor } from "../files/adapter.ts";
import { sharedName, computedTensor, readF32 } from "../files/tensors.ts";
import { userStdCache } from "../files/std-cache.ts";
import { takeSteps } from "./drawing/bases.ts";
import type { Drawn, FrozenKind, FrozenRecord, FrozenSettings, SavedTensors } from "./kind.ts";
import type { FrozenOrigin, LoadOptions } from "./origin.ts";

/** Elements that a fingerprint covers, at most. */
const HEAD = 4096;
/** Elements compared at a time. */
const PORTION = 1 << 18;

/** Draws the whole of a pair, as the tensors that PEFT saves. Throws the signal's reason when it is aborted. */
export async function drawTensors<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  drawn: Drawn<Z>,
  config: C,
  { cache = userStdCache(), signal }: LoadOptions = {},
): Promise<SavedTensors> {
  const bases = await takeSteps(kind.draw(drawn, config, kind.whole(drawn, config.r), cache), signal);
  const shapes = kind.shapes(drawn, config.r);
  const tensor = (which: "a" | "b", name: string) =>
    computedTensor(sharedName(name), shapes[which], (first, out) => kind.fill(bases, which, first, out));
  return { a: tensor("a", kind.shared[0]), b: tensor("b", kind.shared[1]) };
}

/**
 * Finds the generator that draws exactly this pair, element by element, from the configuration's seed: the pair then need
 * not be stored. `undefined` when none does. The hash of the first elements spares most of the drawing.
 */
export async function identify<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  { saved, sizes }: { readonly saved: SavedTensors; readonly sizes: Z },
  config: C,
  options: LoadOptions = {},
): Promise<R | undefined> {
  const { cache = userStdCache(), signal } = options;
  for (const [generator, grids] of kind.candidates(config)) {
    const [a, b] = [
      sha256OfF32(await kind.headOf("a", saved.a, generator, HEAD)),
      sha256OfF32(await kind.headOf("b", saved.b, generator, HEAD)),
    ];
    for (const dtype of grids) {
      const drawn = { ...sizes, generator, dtype };
      const print = await takeSteps(kind.print(drawn, config, cache), signal);
      if (print.sha256.a !== a || print.sha256.b !== b) continue;
      if (!(await samePair(saved, await drawTensors(kind, drawn, config, options)))) continue;
      return kind.record(drawn, print, config);
    }
  }
  return undefined;
}

/** Does the record draw exactly this pair? */
export async function recordDraws<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  record: R,
  saved: SavedTensors,
  config: C,
  options: LoadOptions = {},
): Promise<boolean> {
  const { a, b } = kind.shapes(record, config.r);
  if (String([a, b]) !== String([saved.a.shape, saved.b.shape])) return false;
  return samePair(saved, await drawTensors(kind, record, config, options));
}

/** The same pair, drawn or as a file has it: a run's own adapter may hold what was drawn, or leave out what was read. */
export async function originAs<C extends FrozenSettings, Z extends object, R extends FrozenRecord & Z>(
  kind: FrozenKind<C, Z, R>,
  wanted: "drawn" | "saved" | undefined,
  origin: FrozenOrigin<Z, R>,
  record: R | undefined,
  config: C,
): Promise<FrozenOrigin<Z, R>> {
  if (wanted === "drawn" && origin.kind === "saved" && record !== undefined) {
    return { kind: "drawn", drawn: record, record };
  }
  if (wanted !== "saved" || origin.kind === "saved") return origin;
  return { kind: "saved", saved: await drawTensors(kind, origin.drawn, config), sizes: origin.drawn };
}

async function samePair(saved: SavedTensors, drawn: SavedTensors): Promise<boolean> {
  return (await sameElements(saved.a, drawn.a)) && (await sameElements(saved.b, drawn.b));
}

/** Bit for bit once widened. */
async function sameElements(one: AdapterTensor, other: AdapterTensor): Promise<boolean> {
  const count = shapeElements(one.shape);
  if (String(one.shape) !== String(other.shape)) return false;
  for (let first = 0; first < count; first += PORTION) {
    const [left, right] = [await readF32(one, first, PORTION), await readF32(other, first, PORTION)];
    if (Buffer.compare(asBytes(left), asBytes(right)) !== 0) return false;
  }
  return true;
}

function asBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
