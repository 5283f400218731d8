import { LowRankLinears, type LowRankMode, type TrainedFactors } from "../../low-rank/linears.ts";
import { memoryTensor } from "../../tensors.ts";
import type { JsonObject } from "../../../files/lossless-json.ts";
import { kaimingUniform } from "../../../random/kaiming.ts";
import { recordGemm } from "../../../tensor/gemm.ts";
import { sliceRows } from "../../../tensor/tensor.ts";
import type { LoraSource } from "./source.ts";
import type { Method, Placement, Trainable } from "../../training/method.ts";
import { partsOfMatrices } from "../../training/parts.ts";

/** LoRA (Hu et al., arXiv:2106.09685): y += scale · (x Aᵀ) Bᵀ with A (r, in) and B (out, r) in chosen modules. */
export function trainableLora({ modules, config }: LoraSource, dropout: number, seed: number): Trainable {
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
    notes: [],
    place: async (on) => place(on, modules, config, { dropout, seed }),
  };
}

/** A new LoRA has A drawn as PEFT draws it (kaiming uniform), B zero: training begins with the base itself. */
function place(
  { parameters, tensors }: Placement,
  modules: LoraSource["modules"],
  config: JsonObject,
  { dropout, seed }: Omit<LowRankMode, "pass">,
): Method {
  const factors = new Map<string, TrainedFactors>();
  for (const [index, { name, tensor, in: input, rank, scale, values }] of modules.entries()) {
    parameters.write(nameA(name), "value", values?.a ?? kaimingUniform(rank, input, seed, index));
    if (values !== undefined) parameters.write(nameB(name), "value", values.b);
    const [a, b] = [parameters.get(nameA(name)).value, parameters.get(nameB(name)).value];
    factors.set(tensor.slice(0, -".weight".length), { a, b, scale, index });
  }
  const scales = new Map(modules.map(({ name, scale }) => [name, scale]));
  const names = modules.flatMap(({ name }) => [nameA(name), nameB(name)]);
  const matrices = partsOfMatrices(tensors);
  return {
    choices: {},
    prepare() {},
    watched: () => names.map((name) => parameters.get(name)),
    linears: (pass) => new LowRankLinears(matrices, factors, { dropout, seed, pass }),
    formed: {
      held: () => undefined,
      record(run, module, first, target) {
        const [a, b] = [parameters.get(nameA(module)).value, parameters.get(nameB(module)).value];
        const rows = sliceRows(b, first, target.shape[0]);
        recordGemm(run, { order: "NN", a: rows, b: a, y: target, scale: scales.get(module) });
      },
    },
    finish() {},
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
    release() {},
  };
}

const nameA = (module: string) => `${module}.lora_A.weight`;
const nameB = (module: string) => `${module}.lora_B.weight`;
