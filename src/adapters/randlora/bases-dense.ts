import { Mt19937 } from "../../random/mt19937.ts";
import { kaimingUniformBound, type HalfGenerator } from "../../random/uniform.ts";
import { HalfDraw } from "./bases-half.ts";
import { SingleDraw } from "./bases-single.ts";
import {
  basesCount,
  type BasesExtent,
  type BasesHead,
  type BasesSpec,
  type DrawnPair,
  type StdPair,
} from "./bases-types.ts";
import type { DenseDraw } from "./dense-draw.ts";
import { paddedStride, type BasisMatrix } from "./storage.ts";

/** Draws mapped at a time: fits the first-level cache with what is made of them. */
const CHUNK = 4096;
/** Elements of B staged before they are spread over its rows; scattering base by base would miss the TLB at every row. */
const STAGE = 1 << 21;

const draws = new Uint32Array(CHUNK);

/** Draws `count` raw elements at `raw[at..]`, measures them when `std` is null, else makes them final. */
function drawStretch<Raw, Final>(
  draw: DenseDraw<Raw, Final>,
  generator: Mt19937,
  count: number,
  raw: Raw,
  at: number,
  std: number | null,
): void {
  for (let done = 0; done < count; done += CHUNK) {
    const n = Math.min(CHUNK, count - done);
    generator.draw(draws, 0, n);
    draw.map(draws, n, raw, at + done);
    if (std === null) draw.measure(raw, at + done, at + done + n);
    else draw.divide(raw, at + done, at + done + n, std);
  }
}

/** Draws `count` elements for the statistics alone. */
function measureStretch<Raw, Final>(draw: DenseDraw<Raw, Final>, generator: Mt19937, count: number): void {
  const raw = draw.stage(CHUNK);
  for (let done = 0; done < count; done += CHUNK) {
    drawStretch(draw, generator, Math.min(CHUNK, count - done), raw, 0, null);
  }
}

interface DrawnMatrix {
  readonly matrix: BasisMatrix;
  readonly std: number;
}

/** A (r, min), row-major; it is drawn whole, being small. */
function drawA<Raw, Final>(
  draw: DenseDraw<Raw, Final>,
  generator: Mt19937,
  spec: BasesSpec,
  cols: number,
  known: number | null,
): DrawnMatrix {
  const { r, min } = spec;
  const raw = draw.stage(r * min);
  drawStretch(draw, generator, r * min, raw, 0, known);
  const std = known ?? draw.std();
  if (known === null) draw.divide(raw, 0, r * min, std);
  const stride = paddedStride(cols);
  const final = draw.allocate(r * stride);
  draw.spread(raw, { rows: r, groups: 1, length: cols, rowStep: min, groupStep: 0, stride, at: 0 }, final);
  return { matrix: { rows: r, cols, stride, storage: draw.storage(final) }, std };
}

/** B: base after base, each (max, r) row-major; only the first rows of the first bases are kept. */
function drawB<Raw, Final>(
  draw: DenseDraw<Raw, Final>,
  generator: Mt19937,
  spec: BasesSpec,
  extent: BasesExtent,
  known: number | null,
): DrawnMatrix {
  const { r, max, min } = spec;
  const { rows, bases } = extent;
  const total = basesCount(min, r);
  let std = known;
  if (std === null && draw.divideLater === undefined) {
    measureStretch(draw, generator.clone(), total * max * r);
    std = draw.std();
  }
  const cols = bases * r;
  const stride = paddedStride(cols);
  const final = draw.allocate(rows * stride);
  const perBase = rows * r;
  const group = Math.max(1, Math.min(bases, Math.floor(STAGE / Math.max(1, perBase))));
  const raw = draw.stage(group * perBase);
  for (let first = 0; first < bases; first += group) {
    const count = Math.min(group, bases - first);
    for (let g = 0; g < count; g++) {
      drawStretch(draw, generator, perBase, raw, g * perBase, std);
      const rest = (max - rows) * r;
      if (std === null) measureStretch(draw, generator, rest);
      else generator.skip(rest);
    }
    const runs = { rows, groups: count, length: r, rowStep: r, groupStep: perBase, stride, at: first * r };
    draw.spread(raw, runs, final);
  }
  if (std === null) {
    measureStretch(draw, generator, (total - bases) * max * r);
    std = draw.std();
    draw.divideLater?.(final, std);
  }
  return { matrix: { rows, cols, stride, storage: draw.storage(final) }, std };
}

/** Makes the way to draw a matrix whose elements are uniform in ±bound. */
type DrawFactory<Raw, Final> = (bound: number) => DenseDraw<Raw, Final>;

function drawPair<Raw, Final>(
  create: DrawFactory<Raw, Final>,
  spec: BasesSpec,
  extent: BasesExtent,
  known: StdPair | null,
): DrawnPair {
  const generator = new Mt19937(spec.key);
  const a = drawA(create(kaimingUniformBound(spec.min)), generator, spec, extent.cols, known?.a ?? null);
  const b = drawB(create(kaimingUniformBound(spec.r)), generator, spec, extent, known?.b ?? null);
  return { a: a.matrix, b: b.matrix, stds: { a: a.std, b: b.std } };
}

function drawHeads<Raw, Final>(
  create: DrawFactory<Raw, Final>,
  spec: BasesSpec,
  count: number,
  stds: StdPair,
): BasesHead {
  const generator = new Mt19937(spec.key);
  const head = (bound: number, elements: number, std: number): Float32Array<ArrayBuffer> => {
    const draw = create(bound);
    const taken = Math.min(count, elements);
    const raw = draw.stage(taken);
    drawStretch(draw, generator, taken, raw, 0, std);
    generator.skip(elements - taken);
    return draw.singles(raw);
  };
  const a = head(kaimingUniformBound(spec.min), spec.r * spec.min, stds.a);
  const b = head(
    kaimingUniformBound(spec.r),
    Math.min(count, spec.max * basesCount(spec.min, spec.r) * spec.r),
    stds.b,
  );
  return { a, b };
}

/** The generators of dense bases. */
export type DenseGenerator = HalfGenerator | "torch-mt19937-f32";

/**
 * Dense bases as PEFT draws them with PyTorch's CPU generator, one draw an element: A, then base after base of B, each
 * divided by the standard deviation of the whole tensor (`known`, or measured by drawing all of it).
 */
export function drawDense(
  generator: DenseGenerator,
  spec: BasesSpec,
  extent: BasesExtent,
  known: StdPair | null,
): DrawnPair {
  if (generator === "torch-mt19937-f32") {
    return drawPair((bound) => new SingleDraw(bound, spec.grid), spec, extent, known);
  }
  return drawPair((bound) => new HalfDraw(generator, bound, spec.grid), spec, extent, known);
}

/** The first `count` final elements of dense A and B, in the order of drawing. */
export function drawDenseHead(generator: DenseGenerator, spec: BasesSpec, count: number, stds: StdPair): BasesHead {
  if (generator === "torch-mt19937-f32") {
    return drawHeads((bound) => new SingleDraw(bound, spec.grid), spec, count, stds);
  }
  return drawHeads((bound) => new HalfDraw(generator, bound, spec.grid), spec, count, stds);
}
