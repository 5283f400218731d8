// ΔW of random bases, and what leads to it: sums, gradients, and bases as numbers.
import { NUMBER_DTYPES, STORED_DTYPES } from "../../../device/dtype.ts";
import { padded4 } from "../../../device/families/delta.ts";
import { fastRows, pairOf, type Pairing } from "../../../device/pairing.ts";
import { tensorIn } from "../../../device/tensor.ts";
import { philoxElement, philoxStream } from "../../../random/philox.ts";
import { roundToGrid } from "../../../random/grid.ts";
import { thetaElement } from "../../../random/theta.ts";
import { at, type Matrix, matrixOf } from "../../op.ts";
import {
  BASES,
  basis,
  bytes,
  type FamilyCase,
  flipped,
  FORMATS,
  PAIRINGS,
  placed,
  placedAs,
  sum,
  target,
} from "./case.ts";

const KEY = [11, 1] as const;
/** Sizes that end within tiles: ΔW (70, 37) of rank 5 and 8 bases. */
const [ROWS, COLS, RANK, COUNT] = [70, 37, 5, 8];
const TERMS = RANK * COUNT;
/** λ in the order of terms is padded to whole 16. */
const PADDED = 48;
/** The part of an unpacked basis: its first row, rows, and the pitch of where it goes. */
const [FIRST, PART, PITCH] = [3, 9, 40];

export const BASIS_CASES: readonly FamilyCase[] = [
  ...deltas(),
  ...gradients(),
  ...PAIRINGS.flatMap(scaled),
  ...STORED_DTYPES.map((dtype): FamilyCase => {
    return {
      family: "widen",
      format: dtype,
      name: "",
      record(run) {
        const [x, y] = [placed(run, 9, 64, dtype), target(run, 9, 64)];
        run.compute("widen", { x, y });
        return [{ of: "y", tensor: y, wanted: x.matrix, tolerance: 0 }];
      },
    };
  }),
  ...unpacked(),
  {
    family: "drawUnits",
    format: "PHILOX",
    name: "",
    record(run) {
      const [stride, firstRow, firstCol] = [50, 2, 3];
      const to = target(run, PART, COLS, "BF16", PITCH);
      const stream = philoxStream(7n, 1, "dense", 1);
      const place = { stride, firstRow, firstCol, rows: PART, cols: COLS };
      run.compute("drawUnits", { key: stream.key, stream: 1, ...place, target: to.buffer, pitch: PITCH });
      const element = (row: number, col: number) => philoxElement(stream, (firstRow + row) * stride + firstCol + col);
      const wanted = matrixOf(PART, COLS, (row, col) => unitsOf(element(row, col)));
      return [{ of: "units", tensor: to, wanted, tolerance: 0 }];
    },
  },
  ...theta(),
];

/** A dense element, at most √(765/257), as one of the whole numbers 2b − 255. */
function unitsOf(element: number): number {
  return Math.round((element / Math.sqrt(765 / 257)) * 255);
}

/** The pair of rows of A and γ that makes a row of Ŝ. */
const pair = (pairing: Pairing, term: number) => pairOf(pairing, term, RANK, COUNT);

function deltas(): FamilyCase[] {
  return BASES.flatMap((kind) =>
    PAIRINGS.map((pairing): FamilyCase => {
      const transposed = pairing === "paper";
      const accumulate = kind === "f32";
      return {
        family: "delta",
        format: FORMATS[kind],
        name: [kind, pairing, transposed ? "transposed" : "", accumulate ? "added" : ""].filter(Boolean).join(", "),
        record(run) {
          const [a, b] = [basis(run, kind, RANK, COLS, 0), basis(run, kind, ROWS, TERMS)];
          const gamma = placed(run, COUNT, COLS);
          const lambda = placedAs(run, padded(placed(run, 1, TERMS).matrix));
          const [rows, cols] = transposed ? [COLS, ROWS] : [ROWS, COLS];
          const to = accumulate ? placed(run, rows, cols) : target(run, rows, cols);
          const before = "matrix" in to ? to.matrix : undefined;
          run.compute("delta", {
            pairing,
            rows: ROWS,
            cols: COLS,
            terms: TERMS,
            transposed,
            scale: 2,
            block: { firstRow: 0, rows, target: to.buffer, pitch: padded4(cols), accumulate },
            a,
            b,
            lambda: lambda.buffer,
            gamma: gamma.buffer,
            fastCount: fastRows(pairing, RANK, COUNT),
          });
          const delta = matrixOf(ROWS, COLS, (row, col) =>
            sum(TERMS, (term) => {
              const { k, j } = pair(pairing, term);
              const trained = at(lambda.matrix, 0, term) * at(gamma.matrix, j, col);
              return 2 * at(b.matrix, row, term) * at(a.matrix, k, col) * trained;
            }),
          );
          const all = transposed ? flipped(delta) : delta;
          const wanted = matrixOf(rows, cols, (row, col) => at(all, row, col) + (before ? at(before, row, col) : 0));
          return [{ of: "ΔW", tensor: to, wanted }];
        },
      };
    }),
  );
}

/** λ with zeros behind it. */
function padded(row: Matrix): Matrix {
  return matrixOf(1, PADDED, (_, col) => (col < TERMS ? at(row, 0, col) : 0));
}

function gradients(): FamilyCase[] {
  return PAIRINGS.flatMap((pairing) =>
    ([...NUMBER_DTYPES, "TERNARY"] as const).map((format): FamilyCase => {
      return {
        family: "basisGradient",
        format,
        name: pairing,
        record(run) {
          const rows = 19;
          const shape = { terms: TERMS, cols: COLS, bases: COUNT, r: RANK };
          const scratch = run.device.scratchBytes("basisGradient", shape);
          const codes = format === "TERNARY" ? basis(run, "ternary", rows, TERMS) : undefined;
          const left = placed(run, rows, TERMS, format === "TERNARY" ? "F32" : format);
          const [right, a, lambda] = [placed(run, rows, COLS), placed(run, RANK, COLS), placed(run, RANK, COUNT)];
          const [gamma, lambdaGradient, gammaGradient] = [
            placed(run, COUNT, COLS),
            placed(run, RANK, COUNT),
            placed(run, COUNT, COLS),
          ];
          run.compute("basisGradient", {
            shape,
            pairing,
            scale: 2,
            right,
            a,
            left: codes === undefined ? left : { basis: codes, first: 0, shape: [rows, TERMS] },
            lambda,
            gamma,
            lambdaGradient,
            gammaGradient,
            lambdaParts: bytes(run, scratch.lambdaParts),
            gammaParts: bytes(run, scratch.gammaParts),
          });
          const { matrix: p } = codes ?? left;
          const [dLambda, dGamma] = [lambdaGradient, gammaGradient].map(({ matrix }) => ({
            ...matrix,
            data: Float64Array.from(matrix.data),
          }));
          for (let term = 0; term < TERMS; term++) {
            const { k, j } = pair(pairing, term);
            for (let col = 0; col < COLS; col++) {
              const product = sum(rows, (row) => at(p, row, term) * at(right.matrix, row, col));
              const part = 2 * product * at(a.matrix, k, col);
              addTo(dLambda, k, j, part * at(gamma.matrix, j, col));
              addTo(dGamma, j, col, part * at(lambda.matrix, k, j));
            }
          }
          return [lambdaGradient, gammaGradient].map((tensor, index) => {
            const [of, wanted] = index === 0 ? ["gradient of λ", dLambda] : ["gradient of γ", dGamma];
            return { of, tensor, wanted: wanted ?? tensor.matrix };
          });
        },
      };
    }),
  );
}

function addTo(matrix: Matrix | undefined, row: number, col: number, value: number): void {
  if (matrix === undefined) return;
  const index = row * matrix.shape[1] + col;
  matrix.data[index] = (matrix.data[index] ?? NaN) + value;
}

function scaled(pairing: Pairing): FamilyCase[] {
  return [
    {
      family: "lambdaOrder",
      format: "F32",
      name: pairing,
      record(run) {
        const [lambda, to] = [placed(run, RANK, COUNT), target(run, 1, PADDED)];
        run.compute("lambdaOrder", { pairing, terms: TERMS, padded: PADDED, lambda, target: to.buffer });
        const wanted = matrixOf(1, PADDED, (_, term) => {
          const { k, j } = pair(pairing, term);
          return term < TERMS ? at(lambda.matrix, k, j) : 0;
        });
        return [{ of: "λ", tensor: to, wanted, tolerance: 0 }];
      },
    },
    {
      family: "scaledA",
      format: "F32",
      name: pairing,
      record(run) {
        const [a, lambda, gamma] = [placed(run, RANK, COLS), placed(run, RANK, COUNT), placed(run, COUNT, COLS)];
        const to = target(run, TERMS, COLS);
        run.compute("scaledA", { pairing, terms: TERMS, cols: COLS, a, lambda, gamma, target: to.buffer });
        const wanted = matrixOf(TERMS, COLS, (term, col) => {
          const { k, j } = pair(pairing, term);
          return at(lambda.matrix, k, j) * at(a.matrix, k, col) * at(gamma.matrix, j, col);
        });
        return [{ of: "Ŝ", tensor: to, wanted }];
      },
    },
  ];
}

function unpacked(): FamilyCase[] {
  const kinds = [
    ["ternary", "units"],
    ["philox", "units"],
    ["philox", "f16"],
    ["philox, sparse", "units"],
    ["philox, very sparse", "units"],
  ] as const;
  return kinds.map(([kind, to]): FamilyCase => {
    return {
      family: "unpack",
      format: FORMATS[kind],
      name: `${kind}, ${to}`,
      record(run) {
        const from = basis(run, kind, FIRST + PART, COLS);
        const tensor = target(run, PART, COLS, to === "units" ? "BF16" : "F16", PITCH);
        const place = { first: FIRST, rows: PART, cols: COLS, target: tensor.buffer, pitch: PITCH };
        run.compute("unpack", { basis: from, unpacked: to, ...place });
        const wanted = matrixOf(PART, COLS, (row, col) => {
          const element = at(from.matrix, FIRST + row, col);
          if (to === "f16") return roundToGrid(element, "f16");
          return kind === "philox" ? unitsOf(element) : element / from.value;
        });
        return [{ of: "elements", tensor, wanted, tolerance: 0 }];
      },
    };
  });
}

function theta(): FamilyCase[] {
  const layer = { out: 20, in: 31, offset: 2 ** 33 + 3, scale: 0.5 };
  const count = 33;
  const element = (index: number, row: number, col: number) =>
    layer.scale * thetaElement(KEY, index, layer.offset + row * layer.in + col);
  const delta = (transposed: boolean): FamilyCase => ({
    family: "thetaDelta",
    format: "PHILOX",
    name: transposed ? "transposed" : "",
    record(run) {
      const coefficients = placed(run, 1, count);
      const [rows, cols] = transposed ? [layer.in, layer.out] : [layer.out, layer.in];
      const to = target(run, rows, cols);
      const block = { firstRow: 0, rows, target: to.buffer, pitch: to.pitch };
      run.compute("thetaDelta", { layer, key: KEY, coefficients, transposed, block });
      const all = matrixOf(layer.out, layer.in, (row, col) =>
        sum(count, (index) => at(coefficients.matrix, 0, index) * element(index, row, col)),
      );
      return [{ of: "ΔW", tensor: to, wanted: transposed ? flipped(all) : all }];
    },
  });
  return [
    delta(false),
    delta(true),
    {
      family: "thetaGradient",
      format: "PHILOX",
      name: "",
      record(run) {
        const [g, to] = [placed(run, layer.out, layer.in), placed(run, 1, count)];
        const { parts } = run.device.scratchBytes("thetaGradient", { bases: count });
        run.compute("thetaGradient", { layer, key: KEY, g, target: to, parts: bytes(run, parts) });
        const wanted = matrixOf(1, count, (_, index) => {
          const product = sum(layer.out, (row) =>
            sum(layer.in, (col) => at(g.matrix, row, col) * element(index, row, col)),
          );
          return at(to.matrix, 0, index) + product;
        });
        return [{ of: "gradient of α", tensor: tensorIn(to.buffer, to.shape, "F32"), wanted }];
      },
    },
  ];
}
