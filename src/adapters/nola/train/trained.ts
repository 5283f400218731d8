import type { Device } from "../../../compute/device/device.ts";
import { DerivedFactors } from "../../delta/low-rank/derived.ts";
import { allocateStacks, type FactorStack, groupFactors } from "../../delta/low-rank/stacks.ts";
import { memoryTensor } from "../../files/tensors.ts";
import type { Method, Placement, Trainable } from "../../training/method.ts";
import type { Parameter, Parameters } from "../../training/parameters.ts";
import { partsOfMatrices } from "../../delta/parts.ts";
import { writeFactors } from "../deltas.ts";
import { coefficientNames } from "../plan.ts";
import { type CoefficientRows, type FormedStack, NolaBases } from "../products.ts";
import type { NolaModule, NolaSource } from "./source.ts";

/** NoLA (Koohpayegani et al., arXiv:2310.02556): y += scale · B (A x), A = A₀ + Σ cᵢUᵢ/√k, B = Σ dᵢVᵢ/√k. */
export function trainableNola(source: NolaSource, dropout: number, seed: number): Trainable {
  const { modules, draws } = source;
  return {
    // Those of factors of one shape side by side: their coefficients are then the rows of a matrix.
    parameters: [...stackedNames(modules, "a"), ...stackedNames(modules, "b")].map((name) => {
      return { name, shape: [1, draws.bases] as const };
    }),
    modules: modules.map(({ name, out, in: input }) => {
      return { name, shape: [out, input], parameters: 2 * draws.bases };
    }),
    notes: [],
    place: async (on) => place(on, source, { dropout, seed }),
  };
}

function place(
  { gpu, parameters, tensors, factor = 1 }: Placement,
  source: NolaSource,
  mode: { readonly dropout: number; readonly seed: number },
): Method {
  const { modules, draws, scale, config, record } = source;
  const names = modules.flatMap(({ name }) => Object.values(coefficientNames(name)));
  for (const { name, values } of modules) {
    if (values === undefined) continue;
    const { a, b } = coefficientNames(name);
    parameters.write(a, "value", values.a);
    parameters.write(b, "value", values.b);
  }
  const { rank } = draws;
  const factors = new DerivedFactors(
    gpu,
    modules.map(({ tensor, out, in: input }) => {
      return { module: tensor.slice(0, -".weight".length), out, in: input, rank, scale: scale * factor };
    }),
  );
  const initial = initialStacks(gpu, modules, rank);
  const [u, v] = [new NolaBases(gpu, draws, "a"), new NolaBases(gpu, draws, "b")];
  const stacked = (stacks: readonly FactorStack[], side: "a" | "b", before?: readonly FactorStack[]): FormedStack[] =>
    stacks.map((stack, at) => ({
      stack,
      initial: before?.[at],
      coefficients: coefficientRows(
        stack.modules.map((module) => parameters.get(coefficientNames(modules[module]?.name ?? "")[side])),
      ),
    }));
  const [a, aGradient, b] = [
    stacked(factors.a, "a", initial),
    stacked(factors.aGradient, "a"),
    stacked(factors.bt, "b"),
  ];
  const matrices = partsOfMatrices(tensors);
  return {
    choices: {},
    prepare: (run) =>
      factors.prepare(run, () => {
        u.form(run, a);
        v.form(run, b);
      }),
    watched: () => factors.watched(),
    linears: (pass) => factors.linears(matrices, { ...mode, pass }),
    over: (pass, base) => factors.linears(matrices, { ...mode, pass }, base),
    finish: (run) =>
      factors.finish(run, () => {
        u.fold(run, aGradient);
        v.fold(run, b);
      }),
    content: async () => ({
      config,
      bases: record,
      tensors: await savedTensors(parameters, names),
      metadata: new Map(),
    }),
  };
}

/** A₀ of all modules, stacked as A is. */
function initialStacks(gpu: Device, modules: readonly NolaModule[], rank: number): FactorStack[] {
  const shapes = modules.map((module) => ({ rows: rank, cols: module.in }));
  const stacks = allocateStacks(gpu, "A before training", shapes);
  writeFactors(gpu, stacks, (index) => modules[index]?.initial ?? new Float32Array());
  return stacks;
}

function stackedNames(modules: readonly NolaModule[], side: "a" | "b"): string[] {
  const lengths = modules.map(({ out, in: input }) => ({ rows: 1, cols: side === "a" ? input : out }));
  return groupFactors(lengths).flatMap((group) =>
    group.modules.map((index) => coefficientNames(modules[index]?.name ?? "")[side]),
  );
}

/** Parameters of one size as matrices, a row each, as far as they lie at equal distances in one buffer. */
function coefficientRows(parameters: readonly Parameter[]): CoefficientRows[] {
  const rows: { at: number; first: Parameter; count: number; step: number }[] = [];
  for (const [at, parameter] of parameters.entries()) {
    const last = rows.at(-1);
    const { buffer, offset, pitch } = parameter.value;
    const step = last === undefined ? 0 : (offset - last.first.value.offset) / last.count;
    const follows = last?.first.value.buffer === buffer && step >= pitch && (last.count === 1 || step === last.step);
    if (last === undefined || !follows) rows.push({ at, first: parameter, count: 1, step: pitch });
    else [last.count, last.step] = [last.count + 1, step];
  }
  return rows.map(({ at, first: { value, gradient }, count, step }) => {
    const shape = [count, value.shape[1]] as const;
    return { at, value: { ...value, shape, pitch: step }, gradient: { ...gradient, shape, pitch: step } };
  });
}

async function savedTensors(parameters: Parameters, names: readonly string[]) {
  return await Promise.all(
    names.map(async (name) => {
      const numbers = await parameters.read(name);
      return memoryTensor(name, "F32", [numbers.length], new Uint8Array(numbers.buffer));
    }),
  );
}
