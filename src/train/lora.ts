import type { AdapterContent } from "../adapters/content.ts";
import { writePeft } from "../adapters/peft-write.ts";
import { peftReadme } from "../adapters/readme.ts";
import { memoryTensor } from "../adapters/tensors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import type { GpuBuffer } from "../gpu/memory.ts";
import type { Linears, Projection } from "../models/linears.ts";
import { OPS } from "../tensor/ops/index.ts";
import type { Recorder } from "../tensor/recorder.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { dropoutMask } from "./dropout.ts";
import { kaimingUniform } from "./kaiming.ts";
import type { LoraSource } from "./lora-source.ts";
import type { Method, PassKind } from "./method.ts";
import { Parameters } from "./parameters.ts";
import { columnsOf, type Part, partsOfMatrices } from "./parts.ts";
import type { AdapterSettings } from "./settings.ts";

/** LoRA (Hu et al., arXiv:2106.09685): y += scale · (x Aᵀ) Bᵀ with A (r, in) and B (out, r) in chosen modules. */
export interface LoraOptions {
  readonly gpu: Gpu;
  readonly settings: AdapterSettings;
  readonly source: LoraSource;
  /** The decoder's tensors by their names in the checkpoint. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly seed: number;
}

interface Factors {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
  /** Tells the dropout masks of modules apart. */
  readonly index: number;
}

/** A new LoRA has A drawn as PEFT draws it (kaiming uniform), B zero: training begins with the base itself. */
export function createLora({ gpu, settings, source, tensors, seed }: LoraOptions): Method {
  const { dropout } = settings;
  const { modules } = source;
  const nameA = (module: string) => `${module}.lora_A.weight`;
  const nameB = (module: string) => `${module}.lora_B.weight`;
  const parameters = new Parameters(
    gpu,
    modules.flatMap(({ name, out, in: input, rank }) => [
      { name: nameA(name), shape: [rank, input] as const },
      { name: nameB(name), shape: [out, rank] as const },
    ]),
  );
  const factors = new Map<string, Factors>();
  for (const [index, { name, tensor, in: input, rank, scale, values }] of modules.entries()) {
    parameters.write(nameA(name), "value", values?.a ?? kaimingUniform(rank, input, seed, index));
    if (values !== undefined) parameters.write(nameB(name), "value", values.b);
    const [a, b] = [parameters.get(nameA(name)).value, parameters.get(nameB(name)).value];
    factors.set(tensor.slice(0, -".weight".length), { a, b, scale, index });
  }
  const matrices = partsOfMatrices(tensors);
  return {
    kind: "lora",
    parameters,
    choices: {},
    summary: {
      trainableParameters: parameters.count,
      modules: modules.map(({ name, out, in: input, rank }) => ({
        name,
        shape: [out, input],
        parameters: rank * (out + input),
      })),
      notes: [],
    },
    prepare() {},
    watched: () => parameters.all.map(({ value, gradient }) => ({ value, gradient })),
    linears: (pass) => new LoraLinears(matrices, factors, { dropout, seed, pass }),
    finish() {},
    async save(folder) {
      const content: AdapterContent = {
        config: source.config,
        bases: undefined,
        tensors: await Promise.all(
          parameters.all.map(async ({ name, shape }) =>
            memoryTensor(name, "F32", shape, new Uint8Array((await parameters.read(name)).buffer)),
          ),
        ),
        metadata: new Map(),
      };
      await writePeft(folder, content, peftReadme(content));
    },
    release: () => parameters.release(),
  };
}

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
