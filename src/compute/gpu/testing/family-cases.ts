// Small commands of the families that are no op of the registry: what adapters, merges and the optimizer are made of.
import type { Device } from "../../device/device.ts";
import { type DeltaBasis, type DeltaStorage, padded4 } from "../../device/families/delta.ts";
import type { Pairing } from "../../device/pairing.ts";
import { NUMBER_DTYPES, STORED_DTYPES, type StoredDtype } from "../../device/dtype.ts";
import { paddedStride, type PhiloxStorage } from "../../device/matrix-storage.ts";
import { elementBytes, type Tensor } from "../../device/tensor.ts";
import type { Run } from "../../tensor/run.ts";
import { ids, random } from "../../tensor/cases/case.ts";
import { place } from "../../tensor/cases/placed.ts";

/** Records commands on a run. */
export type FamilyCase = (run: Run) => void;

const KEY = [7, 11] as const;
const PAIRINGS: readonly Pairing[] = ["peft", "paper"];
/** Sizes that end within tiles: ΔW (70, 37) of rank 5 and 8 bases. */
const [ROWS, COLS, RANK, BASES] = [70, 37, 5, 8];
const TERMS = RANK * BASES;

export const FAMILY_CASES: Readonly<Record<string, FamilyCase>> = {
  ...deltas(),
  ...products(),
  ...gradientsOfBases(),
  "bases, unpacked and scaled": (run) => {
    for (const pairing of PAIRINGS) {
      const [a, lambda, gamma] = [matrix(run, RANK, COLS), matrix(run, RANK, BASES), matrix(run, BASES, COLS)];
      run.compute("lambdaOrder", { pairing, terms: TERMS, padded: 48, lambda, target: bytes(run, 48 * 4) });
      const target = bytes(run, TERMS * padded4(COLS) * 4);
      run.compute("scaledA", { pairing, terms: TERMS, cols: COLS, a, lambda, gamma, target });
    }
    for (const dtype of STORED_DTYPES) {
      run.compute("widen", { x: matrix(run, 9, 64, dtype), y: run.allocate("y", [9, 64]) });
    }
    for (const [storage, unpacked] of [
      ["ternary", "units"],
      ["philox", "units"],
      ["philox", "f16"],
    ] as const) {
      const target = bytes(run, 9 * 40 * 2);
      run.compute("unpack", {
        basis: basis(run, storage, 12, 37),
        unpacked,
        first: 3,
        rows: 9,
        cols: 37,
        target,
        pitch: 40,
      });
    }
    const target = bytes(run, 9 * 40 * 2);
    run.compute("drawUnits", {
      key: KEY,
      stream: 1,
      stride: 50,
      firstRow: 2,
      firstCol: 3,
      rows: 9,
      cols: 37,
      target,
      pitch: 40,
    });
  },
  "sums over random networks": (run) => {
    const layer = { out: 20, in: 31, offset: 2 ** 33 + 3, scale: 0.5 };
    const [coefficients, target, g] = [matrix(run, 1, 33), matrix(run, 1, 33), matrix(run, 20, 31)];
    for (const transposed of [false, true]) {
      const rows = transposed ? 31 : 20;
      const pitch = padded4(transposed ? 20 : 31);
      const block = { firstRow: 0, rows, target: bytes(run, rows * pitch * 4), pitch };
      run.compute("thetaDelta", { layer, key: KEY, coefficients, transposed, block });
    }
    const { parts } = run.device.scratchBytes("thetaGradient", { bases: 33 });
    run.compute("thetaGradient", { layer, key: KEY, g, target, parts: bytes(run, parts) });
  },
  "W + ΔW": (run) => {
    for (const dtype of NUMBER_DTYPES) {
      const weight = matrix(run, 9, 37, dtype);
      const { pitch } = weight;
      const { statistics } = run.device.scratchBytes("finish", { rows: 9, cols: 37 });
      run.compute("finish", {
        rows: 9,
        cols: 37,
        pitch,
        roundDelta: true,
        weight: { buffer: weight.buffer, dtype },
        delta: matrix(run, 9, pitch).buffer,
        target: { buffer: bytes(run, 9 * pitch * elementBytes(dtype)), dtype },
        statistics: bytes(run, statistics),
      });
    }
  },
  magnitudes: (run) => {
    for (const dtype of STORED_DTYPES) {
      const [weight, delta, target] = [matrix(run, 9, 64, dtype), matrix(run, 9, 64), matrix(run, 9, 64)];
      const [rows, columns, from, to] = [matrix(run, 1, 9), matrix(run, 1, 64), matrix(run, 1, 64), matrix(run, 1, 64)];
      run.compute("rowSquares", { weight, delta, sums: rows });
      run.compute("columnSquares", { weight, delta: undefined, sums: columns, accumulate: true });
      for (const kind of ["norm", "factor", "gradient"] as const) {
        run.compute("magnitudes", { kind, sums: columns, from, to, dtype: dtype === "F16" ? "F16" : "BF16" });
      }
      run.compute("rescale", { weight, delta, factors: to, columns: true, target });
    }
  },
  optimizer: (run) => {
    const size = 64 * 5;
    const [value, gradient, mean, square] = [1, 2, 3, 4].map(() => matrix(run, 1, size).buffer);
    const state = matrix(run, 1, 4).buffer;
    run.device.write(state, new Uint32Array(4));
    if (value === undefined || gradient === undefined || mean === undefined || square === undefined) return;
    const sums = matrix(run, 1, 4);
    run.compute("lossSum", { losses: matrix(run, 300, 1), weight: 0.5, sums, slot: 0, first: false });
    run.compute("gradientNorm", {
      gradients: [
        { buffer: gradient, size },
        { buffer: mean, size },
      ],
      clip: 1,
      state,
    });
    const rates = { keep: 0.99, meanWeight: 0.1, squareKeep: 0.999, squareWeight: 0.001, correction: 0.5 };
    run.compute("adamw", { size, value, gradient, mean, square, state, ...rates, epsilon: 1e-8, stepSize: 1e-3 });
  },
  "a filled cache": (run) => {
    const headSize = 20;
    const dtypes = ["F32", "F16"] as const;
    for (const norms of [
      undefined,
      { q: matrix(run, 1, headSize), k: matrix(run, 1, headSize), epsilon: 1e-5, offset: 1 },
    ]) {
      for (const dtype of dtypes) {
        run.compute("fillCache", {
          headSize,
          neighbors: norms === undefined,
          norms,
          rows: norms && place(run.device, ids(4, 0, 2)),
          cos: matrix(run, 3, 10),
          sin: matrix(run, 3, 10),
          qkv: matrix(run, 3, 4 * headSize),
          keys: matrix(run, 7, headSize, dtype),
          values: matrix(run, 7, headSize, dtype),
        });
      }
    }
  },
  "strided sums, and zeros": (run) => {
    const [of, w, y] = [matrix(run, 6, 40, "BF16"), matrix(run, 6, 5), matrix(run, 5, 40)];
    const steps = { row: 0, col: 1, term: of.pitch };
    run.compute("stridedSums", {
      x: { of, steps },
      w: { of: w, steps: { row: 1, col: 0, term: w.pitch } },
      y,
      terms: 6,
      scale: 2,
    });
    run.compute("zero", { y });
  },
};

function deltas(): Record<string, FamilyCase> {
  const storages: readonly DeltaStorage[] = ["f32", "bf16", "f16", "ternary", "philox"];
  const variants = storages.flatMap((storage) => PAIRINGS.map((pairing) => ({ storage, pairing })));
  return Object.fromEntries(
    variants.map(({ storage, pairing }) => [
      `ΔW of ${storage} bases, ${pairing}`,
      (run: Run) => {
        const transposed = pairing === "paper";
        const [rows, cols] = transposed ? [COLS, ROWS] : [ROWS, COLS];
        const pitch = padded4(cols);
        const block = { firstRow: 0, rows, target: bytes(run, rows * pitch * 4), pitch, accumulate: storage === "f32" };
        run.compute("delta", {
          pairing,
          rows: ROWS,
          cols: COLS,
          terms: TERMS,
          transposed,
          scale: 2,
          block,
          a: basis(run, storage, RANK, COLS),
          b: basis(run, storage, ROWS, TERMS),
          lambda: matrix(run, 1, 48).buffer,
          gamma: matrix(run, BASES, COLS).buffer,
          fastCount: pairing === "peft" ? BASES : RANK,
        });
      },
    ]),
  );
}

function products(): Record<string, FamilyCase> {
  const cases = (["NT", "NN", "TN"] as const).flatMap((order) => STORED_DTYPES.map((dtype) => ({ order, dtype })));
  return Object.fromEntries(
    cases.map(({ order, dtype }) => [
      `a product ${order}, ${dtype}`,
      (run: Run) => {
        // b's rows are whole blocks.
        const [rows, cols, terms] = order === "NT" ? [66, 35, 288] : [66, 96, 19];
        const a = order === "TN" ? matrix(run, terms, rows) : matrix(run, rows, terms);
        const b = order === "NT" ? matrix(run, cols, terms, dtype) : matrix(run, terms, cols, dtype);
        run.compute("gemm", { order, a, b, y: matrix(run, rows, cols), scale: 2, accumulate: dtype === "F32" });
      },
    ]),
  );
}

function gradientsOfBases(): Record<string, FamilyCase> {
  const cases = PAIRINGS.flatMap((pairing) =>
    ([...NUMBER_DTYPES, "ternary"] as const).map((left) => ({ pairing, left })),
  );
  return Object.fromEntries(
    cases.map(({ pairing, left }) => [
      `gradients of λ and γ, ${pairing}, ${left}`,
      (run: Run) => {
        const shape = { terms: TERMS, cols: COLS, bases: BASES, r: RANK };
        const { lambdaParts, gammaParts } = run.device.scratchBytes("basisGradient", shape);
        run.compute("basisGradient", {
          shape,
          pairing,
          scale: 2,
          right: matrix(run, 19, COLS),
          a: matrix(run, RANK, COLS),
          left:
            left === "ternary"
              ? { basis: basis(run, "ternary", 19, TERMS), first: 0, shape: [19, TERMS] }
              : matrix(run, 19, TERMS, left),
          lambda: matrix(run, RANK, BASES),
          gamma: matrix(run, BASES, COLS),
          lambdaGradient: matrix(run, RANK, BASES),
          gammaGradient: matrix(run, BASES, COLS),
          lambdaParts: bytes(run, lambdaParts),
          gammaParts: bytes(run, gammaParts),
        });
      },
    ]),
  );
}

function matrix({ device }: Run, rows: number, cols: number, dtype: StoredDtype = "F32"): Tensor {
  return place(device, random(rows, cols, dtype));
}

function bytes({ device }: { readonly device: Device }, size: number) {
  return device.memory.allocate("bytes", size);
}

function basis(run: Run, storage: DeltaStorage, rows: number, cols: number): DeltaBasis {
  const stride = paddedStride(cols, storage === "ternary" ? storage : undefined);
  const more = { storage, stride, value: 1, philox: undefined };
  if (storage === "philox") {
    const philox: PhiloxStorage = {
      kind: "philox",
      key: KEY,
      stream: 1,
      sparsity: "dense",
      grid: "f32",
      scale: 1,
      threshold: 0,
      pitch: cols,
    };
    return { ...more, buffer: bytes(run, 16), philox };
  }
  if (storage === "ternary") {
    const words = Uint32Array.from({ length: (rows * stride) / 16 }, (_, at) =>
      at % 2 === 0 ? 0x91846124 : 0x42189246,
    );
    const buffer = bytes(run, words.byteLength);
    run.device.write(buffer, words);
    return { ...more, buffer };
  }
  const dtype = ({ f32: "F32", f16: "F16", bf16: "BF16" } as const)[storage];
  return { ...more, buffer: place(run.device, random(rows, stride, dtype)).buffer };
}
