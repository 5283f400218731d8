// Products of experts through RandLoRA's and VeRA's factors beside weights, against ΔW in f64.
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import type { Families } from "../../../compute/device/families.ts";
import { ownedBy } from "../../../compute/device/owned.ts";
import { OPS } from "../../../compute/tensor/ops/index.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { type Shape, sliceRows } from "../../../compute/tensor/tensor.ts";
import { openTestDevice } from "../../../compute/device/testing/open.ts";
import { itemAt } from "../../../files/item-at.ts";
import { PLAIN_LINEARS } from "../../../models/blocks/linears.ts";
import { randloraShape } from "../../randlora/plan.ts";
import { basesFor, error, factorsFor, numbers, placed, taken } from "../../testing/bases.ts";
import { Parameters } from "../../method/parameters.ts";
import { VERA_PAIRING, veraShape } from "../../vera/plan.ts";
import { deltaReference } from "./delta.ts";
import { TrainedBilinear } from "./trained.ts";
import { TrainingBases } from "./training-bases.ts";

let gpu: Device;
beforeAll(async () => {
  gpu = await openTestDevice();
});
afterAll(() => gpu.close());

const [EXPERTS, IN, SCALE] = [6, 36, 0.7];
/** Columns before those of the module. */
const COLUMN = 8;
/** Nobody goes to experts 1 and 2. */
const TWO = [
  [0, 3],
  [5, 3],
  [4, 0],
];
const FOUR = [
  [0, 3, 4, 5],
  [5, 4, 3, 0],
];
/** A prompt, of which the rows are more than the bases. */
const MANY = Array.from({ length: 24 }, (_, at) =>
  [0, 1 + ((at >> 2) % 3)].map((i) => itemAt([0, 3, 4, 5], (at + i) % 4)),
);
const VERA = { generator: "torch-mt19937-f32", grid: "f32" } as const;

/** Counts commands, and the bytes that they read of a buffer. */
class CountingRun extends Run {
  commands = 0;
  bytes = 0;
  readonly #counted: DeviceBuffer;

  constructor(device: Device, counted: DeviceBuffer) {
    super(device);
    this.#counted = counted;
  }

  override compute<F extends keyof Families>(family: F, operands: Families[F]): void {
    this.commands++;
    const given: Families[keyof Families] = operands;
    if (Object.entries(given).some(([, one]: [string, unknown]) => liesIn(one, this.#counted))) {
      const isGathered = "places" in given && "x" in given;
      this.bytes += isGathered ? 4 * elements(given.places.shape) * given.x.shape[1] : this.#counted.size;
    }
    super.compute(family, operands);
  }
}

const elements = ([rows, cols]: Shape) => rows * cols;

/** Is this a tensor in the buffer, or steps through one? */
function liesIn(operand: unknown, buffer: DeviceBuffer): boolean {
  if (typeof operand !== "object" || operand === null) return false;
  return "buffer" in operand ? operand.buffer === buffer : "of" in operand && liesIn(operand.of, buffer);
}

test.each([
  ["tall", 44, TWO, "every", "randlora"],
  ["tall, of some experts", 44, FOUR, "some", "randlora"],
  ["wide, odd at the end", 19, TWO, "every", "randlora"],
  ["wide, in several buffers", 20, FOUR, "apart", "randlora"],
  ["VeRA's", 44, FOUR, "every", "vera"],
  ["tall, a prompt", 44, MANY, "every", "randlora"],
  ["wide, a prompt", 19, MANY, "every", "randlora"],
  ["wide, a prompt, of some experts", 20, MANY, "some", "randlora"],
  ["VeRA's, a prompt", 44, MANY, "apart", "vera"],
] as const)("%s", async (_, out, ids, adapted, method) => {
  const isVera = method === "vera";
  const shape = isVera ? veraShape(out, IN, 5) : randloraShape(out, IN, 5);
  const cpu = isVera ? factorsFor(VERA, [shape]) : basesFor("bf16", [shape]);
  const pairing = isVera ? VERA_PAIRING : "peft";
  const { r, bases: n, cols } = shape;
  const rows = COLUMN + out;
  const isAdapted = (expert: number) => adapted !== "some" || expert !== 3;
  const experts = Array.from({ length: EXPERTS }, (_, expert) => expert).filter(isAdapted);
  const own = new DisposableStack();
  const on = ownedBy(own, gpu);
  const weight = placed(on, [EXPERTS * rows, IN], []);
  const plans = experts.flatMap((expert) => [
    { name: `${expert} lambda`, shape: [r, n] as const },
    { name: `${expert} gamma`, shape: [n, cols] as const },
  ]);
  const parameters = new Parameters(on, plans, adapted === "apart" ? 4096 : undefined, false);
  // What nobody asks for is not even read.
  const isAsked = (expert: number) => ids.some((of) => of.some((id) => id === expert));
  const values = experts.map((expert) => {
    const made = { lambda: numbers(r * n), gamma: numbers(n * cols) };
    for (const name of ["lambda", "gamma"] as const) {
      if (!isAsked(expert)) made[name].fill(Number.NaN);
      parameters.write(`${expert} ${name}`, "value", made[name]);
    }
    return { expert, ...made };
  });
  const modules = experts.map((expert) => {
    const [lambda, gamma] = [parameters.get(`${expert} lambda`), parameters.get(`${expert} gamma`)];
    return {
      name: `${expert}`,
      weight: sliceRows(weight, expert * rows + COLUMN, out),
      experts: EXPERTS,
      shape,
      lambda: lambda.value,
      gamma: gamma.value,
      lambdaGradient: lambda.gradient,
      gammaGradient: gamma.gradient,
    };
  });
  const trained = new TrainedBilinear(on, {
    bases: await TrainingBases.create(on, cpu, pairing),
    modules,
    scale: SCALE,
    dropout: false,
    plans: [{ order: "factored", kept: false, summed: false }],
  });
  const chosen = itemAt(ids, 0).length;
  const all = numbers(ids.length * chosen * IN);
  const before = numbers(ids.length * chosen * rows);
  /** Rows of pairs, token by token, of tokens `first` … */
  const outputs = async (first: number, count: number) => {
    using run = new CountingRun(on, itemAt(modules, 0).lambda.buffer);
    trained.prepare(run);
    const some = ids.slice(first, first + count);
    const pairs = some.flatMap((of, at) => of.map((expert, i) => ({ expert, at: (first + at) * chosen + i })));
    const order = pairs.toSorted((one, other) => one.expert - other.expert);
    const taking = (values: Float32Array, width: number) =>
      Float32Array.from(order.flatMap(({ at }) => [...values.subarray(at * width, (at + 1) * width)]));
    const x = run.upload("x", [pairs.length, IN], taking(all, IN));
    const y = run.upload("y", [pairs.length, rows], taking(before, rows));
    const asked = run.upload("ids", [count, chosen], Uint32Array.from(some.flat()));
    const { places, begins } = run.apply(OPS.expertRows, { experts: asked }, { experts: EXPERTS });
    const linears = trained.linears(undefined, { ...PLAIN_LINEARS, applyGrouped: () => y });
    const { commands, bytes } = run;
    const rowsAtMost = ids.length * chosen;
    linears.applyGrouped?.(run, { x, weight, begins, ids: asked, places, rowsAtMost });
    const counts = { commands: run.commands - commands, bytes: run.bytes - bytes };
    run.keep(y);
    await run.submit();
    const found = await taken(gpu, y);
    on.memory.release(y.buffer);
    const own = pairs.map(({ at }) => {
      const row = order.findIndex((one) => one.at === at);
      return found.slice(row * rows, (row + 1) * rows);
    });
    return { found: own, ...counts };
  };
  const { found, commands, bytes } = await outputs(0, ids.length);
  const wanted = ids.flat().map((expert, pair) => {
    const y = Float64Array.from(before.subarray(pair * rows, (pair + 1) * rows));
    const one = values.find((those) => those.expert === expert);
    if (one === undefined) return y;
    const delta = deltaReference(cpu, { shape, lambda: one.lambda, gamma: one.gamma, scale: SCALE, pairing });
    for (let row = 0; row < out; row++) {
      for (let col = 0; col < IN; col++) {
        y[COLUMN + row] = itemAt(y, COLUMN + row) + itemAt(delta, row * IN + col) * itemAt(all, pair * IN + col);
      }
    }
    return y;
  });
  for (const [pair, y] of found.entries()) {
    expect(error(y, itemAt(wanted, pair))).toBeLessThan(1e-5);
    expect(y.subarray(0, COLUMN)).toEqual(itemAt(wanted, pair).subarray(0, COLUMN));
  }
  // A token alone has the same bits.
  expect((await outputs(1, 1)).found).toEqual(found.slice(chosen, 2 * chosen));
  // Of λ and γ those of active experts are read, where they need no copies.
  const { lambda, gamma } = itemAt(modules, 0);
  const ofExpert = 4 * (r * lambda.pitch + n * gamma.pitch);
  if (adapted === "every") expect(bytes).toBe(ids.flat().length * ofExpert);
  if (ids === MANY) expect((await outputs(0, ids.length / 2)).commands).toBe(commands);
  own.dispose();
});
