import { LowRankLinears, type LowRankMode, type TrainedFactors } from "../../delta/low-rank/linears.ts";
import { memoryTensor } from "../../files/tensors.ts";
import { kaimingUniform } from "../../../compute/random/kaiming.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import { sliceRows } from "../../../compute/tensor/tensor.ts";
import { LORA_TENSORS } from "../plan.ts";
import type { LoraModule, LoraSource } from "./source.ts";
import type { Addend, Placement, Trainable } from "../../training/method.ts";
import { partsOfMatrices } from "../../delta/parts.ts";

/** How a LoRA is trained. */
export interface LoraMode extends Omit<LowRankMode, "pass"> {
  /** Dropout masks of the first so many modules are another method's; 0 by default. */
  readonly otherMasks?: number;
}

/** LoRA (Hu et al., arXiv:2106.09685): y += scale · (x Aᵀ) Bᵀ with A (r, in) and B (out, r) in chosen modules. */
export function trainableLora(source: LoraSource, mode: LoraMode): Trainable<Addend> {
  const { modules } = source;
  return {
    parameters: modules.flatMap(({ name, out, in: input, rank }) => [
      { name: nameA(name), shape: [rank, input] as const },
      { name: nameB(name), shape: [out, rank] as const },
    ]),
    modules: modules.map(({ name, out, in: input, rank }) => ({
      name,
      shape: [out, input],
      parameters: rank * (out + input),
    })),
    notes: notesOfRank(modules),
    place: async (on) => place(on, source, mode),
  };
}

/** B·A has no higher rank than the shorter side of W, however many rows A has. */
function notesOfRank(modules: readonly LoraModule[]): string[] {
  const over = modules.filter(({ out, in: input, rank }) => rank > Math.min(out, input));
  const [first] = over;
  if (first === undefined) return [];
  const { name, out, in: input, rank } = first;
  const share = `${over.length} of ${modules.length} modules`;
  return [
    `LoRA's rank ${rank} is more than ΔW of ${share} can have: ${Math.min(out, input)} of ${name} (${out} × ${input})`,
  ];
}

/** A new LoRA has A drawn as PEFT draws it (kaiming uniform), B zero: training begins with the base itself. */
function place(
  { parameters, tensors, factor = 1 }: Placement,
  { modules: given, config }: LoraSource,
  mode: LoraMode,
): Addend {
  const modules = given.map((module) => ({ ...module, scale: module.scale * factor }));
  const factors = modules.map(({ name, in: input, rank, values }, index): PlacedFactors => {
    parameters.write(nameA(name), "value", values?.a ?? kaimingUniform(rank, input, mode.seed, index));
    if (values !== undefined) parameters.write(nameB(name), "value", values.b);
    return { a: parameters.get(nameA(name)).value, b: parameters.get(nameB(name)).value };
  });
  const scales = new Map(modules.map(({ name, scale }) => [name, scale]));
  const names = modules.flatMap(({ name }) => [nameA(name), nameB(name)]);
  return {
    ...withFactors(tensors, modules, factors, mode),
    watched: () => names.map((name) => parameters.get(name)),
    formed: {
      held: () => undefined,
      record(run, module, first, target) {
        const [a, b] = [parameters.get(nameA(module)).value, parameters.get(nameB(module)).value];
        const rows = sliceRows(b, first, target.shape[0]);
        recordGemm(run, { order: "NN", a: rows, b: a, y: target, scale: scales.get(module) });
      },
    },
    content: async () => ({
      config,
      bases: undefined,
      tensors: await Promise.all(
        names.map(async (name) => {
          const numbers = await parameters.read(name);
          return memoryTensor(name, "F32", parameters.get(name).shape, new Uint8Array(numbers.buffer));
        }),
      ),
      metadata: new Map(),
    }),
  };
}

/** The factors of one module on the GPU. */
export type PlacedFactors = Pick<TrainedFactors, "a" | "b">;

/**
 * What of a LoRA does not depend on whether its factors are trained.
 * @param factors one pair a module, in their order
 */
export function withFactors(
  tensors: Placement["tensors"],
  modules: readonly LoraModule[],
  factors: readonly PlacedFactors[],
  { dropout, seed, otherMasks = 0 }: LoraMode,
): Pick<Addend, "choices" | "prepare" | "linears" | "over" | "finish"> {
  const placed = new Map(
    modules.flatMap(({ tensor, scale }, at): [string, TrainedFactors][] => {
      const pair = factors[at];
      return pair === undefined
        ? []
        : [[tensor.slice(0, -".weight".length), { ...pair, scale, index: otherMasks + at }]];
    }),
  );
  const matrices = partsOfMatrices(tensors);
  return {
    choices: {},
    prepare() {},
    linears: (pass) => new LowRankLinears(matrices, placed, { dropout, seed, pass }),
    over: (pass, base) => new LowRankLinears(matrices, placed, { dropout, seed, pass }, base),
    finish() {},
  };
}

const nameA = (module: string) => `${module}.${LORA_TENSORS.names.a}`;
const nameB = (module: string) => `${module}.${LORA_TENSORS.names.b}`;
