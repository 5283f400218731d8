import { memoryTensor } from "../../tensors.ts";
import type { JsonObject } from "../../../files/lossless-json.ts";
import type { GpuBuffer } from "../../../gpu/memory.ts";
import type { Linears, Projection } from "../../../models/linears.ts";
import { OPS } from "../../../tensor/ops/index.ts";
import type { Recorder } from "../../../tensor/recorder.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import { dropoutMask } from "../../training/dropout.ts";
import { kaimingUniform } from "../../../random/kaiming.ts";
import type { LoraSource } from "./source.ts";
import type { Method, PassKind, Placement, Trainable } from "../../training/method.ts";
import { columnsOf, type Part, partsOfMatrices } from "../../training/parts.ts";

interface Factors {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
  /** Tells the dropout masks of modules apart. */
  readonly index: number;
}

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
  { dropout, seed }: Omit<Mode, "pass">,
): Method {
  const factors = new Map<string, Factors>();
  for (const [index, { name, tensor, in: input, rank, scale, values }] of modules.entries()) {
    parameters.write(nameA(name), "value", values?.a ?? kaimingUniform(rank, input, seed, index));
    if (values !== undefined) parameters.write(nameB(name), "value", values.b);
    const [a, b] = [parameters.get(nameA(name)).value, parameters.get(nameB(name)).value];
    factors.set(tensor.slice(0, -".weight".length), { a, b, scale, index });
  }
  const names = modules.flatMap(({ name }) => [nameA(name), nameB(name)]);
  const matrices = partsOfMatrices(tensors);
  return {
    choices: {},
    prepare() {},
    watched: () => names.map((name) => parameters.get(name)),
    linears: (pass) => new LoraLinears(matrices, factors, { dropout, seed, pass }),
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

interface Mode {
  readonly dropout: number;
  readonly seed: number;
  readonly pass: PassKind;
}

class LoraLinears implements Linears {
  readonly #matrices: ReadonlyMap<GpuBuffer, readonly Part[]>;
  readonly #factors: ReadonlyMap<string, Factors>;
  readonly #mode: Mode;

  constructor(matrices: ReadonlyMap<GpuBuffer, readonly Part[]>, factors: ReadonlyMap<string, Factors>, mode: Mode) {
    this.#matrices = matrices;
    this.#factors = factors;
    this.#mode = mode;
  }

  apply(recorder: Recorder, inputs: Projection): Tensor {
    const { x, weight } = inputs;
    const parts = this.#matrices.get(weight.buffer) ?? [];
    if (!parts.some(({ module }) => this.#factors.has(module))) return recorder.apply(OPS.linear, inputs, {}).y;
    if (parts.length === 1) return this.#adapted(recorder, inputs, parts[0]?.module ?? "");
    const y = recorder.allocate("lora.y", [x.shape[0], weight.shape[0]]);
    for (const part of parts) {
      const own = {
        x,
        weight: part.weight,
        bias: inputs.bias && columnsOf(inputs.bias, part),
        residual: inputs.residual && columnsOf(inputs.residual, part),
      };
      this.#adapted(recorder, own, part.module, columnsOf(y, part));
    }
    return y;
  }

  /** One module: y = W x + bias + residual, and with factors + scale · B (A x). */
  #adapted(recorder: Recorder, inputs: Projection, module: string, into?: Tensor): Tensor {
    const target = into === undefined ? {} : { y: into };
    const factors = this.#factors.get(module);
    if (factors === undefined) return recorder.apply(OPS.linear, inputs, {}, target).y;
    const { scale } = factors;
    const { dropout, seed, pass } = this.#mode;
    const none = { bias: undefined, residual: undefined };
    const { y: base } = recorder.apply(OPS.linear, inputs, {});
    let { x } = inputs;
    if (dropout > 0 && pass.kind === "train") {
      ({ y: x } = recorder.apply(OPS.dropout, { x }, dropoutMask(dropout, seed, pass, factors.index)));
    }
    const { y: inner } = recorder.apply(OPS.linear, { x, weight: factors.a, ...none }, {});
    if (x !== inputs.x) recorder.release(x);
    const outer = { x: inner, weight: factors.b, bias: undefined, residual: base };
    const { y } = recorder.apply(OPS.linear, outer, { scale }, target);
    recorder.release(inner, base);
    return y;
  }
}
