import type { Device, DeviceBuffer } from "../../compute/device/device.ts";
import { recordGemm } from "../../compute/tensor/gemm.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { pitchOf, sliceCols, type Tensor } from "../../compute/tensor/tensor.ts";
import { itemAt } from "../../files/item-at.ts";
import { allocateStacks, type FactorStack, rowAcross } from "../delta/low-rank/derived.ts";
import { philoxKey } from "../../compute/random/philox.ts";
import { basesScale, ELEMENT_DIVISOR, initialFactor, type NolaDraws, U_STREAM, V_STREAM } from "./draws.ts";

/** Bases are drawn in blocks of about this much. */
const PANEL_BYTES = 8 * 2 ** 20;

/** Coefficients of some factors of a stack that follow each other in memory, too. */
export interface CoefficientRows {
  /** Which factors of the stack they belong to. */
  readonly at: number;
  /** (count, k) F32. */
  readonly value: Tensor;
  /** ∂loss/∂value, which is added to; undefined where nothing is trained. */
  readonly gradient: Tensor | undefined;
}

/** A stack of factors and what it is formed from: factor = initial + (c·U)/√k. */
export interface FormedStack {
  readonly stack: FactorStack;
  /** Stacked alike; undefined: zero. */
  readonly initial: FactorStack | undefined;
  readonly coefficients: readonly CoefficientRows[];
}

/** Some rows and columns of the bases of one row of the factors, in whole numbers 2b − 255. */
interface Panel {
  /** Bases. */
  readonly from: number;
  readonly count: number;
  /** Of the factors. */
  readonly row: number;
  readonly first: number;
  /** (count, columns) BF16. */
  readonly tensor: Tensor;
}

/**
 * U of all factors A, or V of all factors B: never stored, but drawn a panel at a time, and each panel serves all modules.
 * What they share makes Σ cᵢUᵢ a product of matrices, and so is the gradient by c.
 */
export class NolaBases {
  readonly #draws: NolaDraws;
  readonly #stream: number;
  readonly #most: number;
  readonly #panelRows: number;
  readonly #panelCols: number;
  readonly #panel: DeviceBuffer;

  /**
   * @param panelBytes of a block; a test says less
   * @throws RandloraError `memory`
   */
  constructor(gpu: Device, draws: NolaDraws, side: "a" | "b", panelBytes = PANEL_BYTES) {
    this.#draws = draws;
    this.#stream = side === "a" ? U_STREAM : V_STREAM;
    this.#most = side === "a" ? draws.maxIn : draws.maxOut;
    // One row a workgroup; rows of F32 coefficients are sliced at whole vectors.
    this.#panelRows = Math.min(draws.bases, Math.floor(gpu.limits.maxRows / 8) * 8);
    const fitting = Math.floor(panelBytes / (2 * this.#panelRows) / 8) * 8;
    this.#panelCols = Math.min(pitchOf(this.#most, "BF16"), Math.max(8, fitting));
    this.#panel = gpu.memory.allocate("random factors", this.#panelRows * this.#panelCols * 2);
  }

  /** Records the factors. */
  form(run: Run, stacks: readonly FormedStack[]): void {
    for (const panel of this.#panels(run, stacks)) {
      for (const { stack, coefficients, initial } of stacks) {
        for (const { at, value } of coefficients) {
          const [count] = value.shape;
          const place = placeOf(panel, stack);
          if (place === undefined) continue;
          recordGemm(run, {
            order: "NN",
            a: sliceCols(value, panel.from, panel.count),
            b: columnsOf(panel, place.width),
            y: rowAcross(stack, { at, count }, place),
            scale: this.#scale,
            residual: panel.from > 0 || initial === undefined ? undefined : rowAcross(initial, { at, count }, place),
            accumulate: panel.from > 0,
          });
        }
      }
    }
  }

  /** Records what the coefficients' gradients get. @param stacks hold ∂loss/∂factor; padding is zero */
  fold(run: Run, stacks: readonly FormedStack[]): void {
    for (const panel of this.#panels(run, stacks)) {
      for (const { stack, coefficients } of stacks) {
        for (const { at, gradient } of coefficients) {
          const place = placeOf(panel, stack);
          if (place === undefined || gradient === undefined) continue;
          const [count] = gradient.shape;
          recordGemm(run, {
            order: "NT",
            a: rowAcross(stack, { at, count }, place),
            b: columnsOf(panel, place.width),
            y: sliceCols(gradient, panel.from, panel.count),
            scale: this.#scale,
            accumulate: true,
          });
        }
      }
    }
  }

  get #scale(): number {
    return basesScale(this.#draws) / ELEMENT_DIVISOR;
  }

  /** One panel after the other in the same place: record what reads one before asking for the next. */
  *#panels(run: Run, stacks: readonly FormedStack[]): Generator<Panel> {
    const { bases, rank } = this.#draws;
    const length = Math.max(...stacks.map(({ stack }) => stack.cols));
    const key = philoxKey(this.#draws.key);
    for (let row = 0; row < rank; row++) {
      for (let first = 0; first < length; first += this.#panelCols) {
        const cols = Math.min(this.#panelCols, length - first);
        const pitch = pitchOf(cols, "BF16");
        for (let from = 0; from < bases; from += this.#panelRows) {
          const count = Math.min(this.#panelRows, bases - from);
          run.compute("drawUnits", {
            key,
            stream: this.#stream,
            stride: rank * this.#most,
            firstRow: from,
            firstCol: row * this.#most + first,
            rows: count,
            cols,
            target: this.#panel,
            pitch,
          });
          const tensor: Tensor = { shape: [count, cols], dtype: "BF16", buffer: this.#panel, offset: 0, pitch };
          yield { from, count, row, first, tensor };
        }
      }
    }
  }
}

/** The part of a panel's columns that a stack's factors have. */
function placeOf({ row, first, tensor }: Panel, { cols }: FactorStack) {
  return first >= cols ? undefined : { row, first, width: Math.min(tensor.shape[1], cols - first) };
}

/** The first columns of a panel. Those after them are not zero, but meet zeros, or what is not stored. */
function columnsOf({ tensor }: Panel, width: number): Tensor {
  return { ...tensor, shape: [tensor.shape[0], width] };
}

/** A₀ of all modules, stacked as their factors A are. */
export function initialStacks(
  gpu: Device,
  layers: readonly { readonly module: string; readonly in: number }[],
  draws: NolaDraws,
): FactorStack[] {
  const { rank } = draws;
  const shapes = layers.map((layer) => ({ rows: rank, cols: layer.in }));
  const stacks = allocateStacks(gpu, "A before training", shapes);
  writeFactors(gpu, stacks, (index) => {
    const { module, in: input } = itemAt(layers, index);
    return initialFactor(draws, module, input);
  });
  return stacks;
}

/** Writes factors (rows, cols) without gaps into their places. */
export function writeFactors(
  gpu: Device,
  stacks: readonly FactorStack[],
  valuesOf: (module: number) => Float32Array<ArrayBuffer>,
): void {
  for (const { rows, cols, modules, tensor } of stacks) {
    const pitch = pitchOf(cols, "F32");
    for (const [at, module] of modules.entries()) {
      const values = valuesOf(module);
      const padded = new Float32Array(rows * pitch);
      for (let row = 0; row < rows; row++) padded.set(values.subarray(row * cols, (row + 1) * cols), row * pitch);
      gpu.write(tensor.buffer, padded, at * tensor.pitch * 4);
    }
  }
}
