import { type JsonObject, toPlainObject } from "../../files/lossless-json.ts";
import { itemAt } from "../../files/item-at.ts";
import { shapeElements } from "../../files/safetensors/header.ts";
import type { Adapter, AdapterContent, AdapterTensor } from "../files/adapter.ts";
import type { AdaptedLayer } from "../base/targets.ts";
import type { TargetModule, Targets } from "../base/target-modules.ts";
import { computedTensor, memoryTensor, readValues } from "../files/tensors.ts";
import type { FittedLayer, TrainedTensors } from "./fit.ts";
import type { Parameters } from "./parameters.ts";
import type { Shape } from "../../compute/tensor/tensor.ts";
import type { Method, Trainable } from "./training.ts";

/** What a trained tensor is before training; left out: zeros. Worked out when it is read. */
export type Start<T extends string> = Partial<Record<T, () => Float32Array<ArrayBuffer>>>;

/**
 * A new adapter, in memory. It is opened as any other: what a method knows of adapters that exist holds for new ones.
 * @param config PEFT's configuration; see {@link newConfig}
 * @param bases what it records of its random matrices
 */
export function untrainedAdapter(config: JsonObject, tensors: readonly AdapterTensor[], bases?: JsonObject): Adapter {
  const name = "the new adapter";
  const close = () => Promise.resolve();
  return {
    path: name,
    file: name,
    configFile: name,
    format: "json",
    config,
    settings: toPlainObject(config),
    bases,
    tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])),
    metadata: new Map(),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The tensors that a method trains of modules, before training. */
export function untrainedTensors<C, T extends string>(
  { names, shapes }: TrainedTensors<C, T>,
  config: C,
  modules: readonly TargetModule[],
  start: (module: TargetModule, index: number) => Start<T>,
): AdapterTensor[] {
  return modules.flatMap((module, index) => {
    const of = shapes(config, { ...module, module: module.name });
    const values = start(module, index);
    return (Object.keys(names) as T[]).map((key) => {
      return computedTensor(`${module.name}.${names[key]}`, of[key], (first, out) => {
        const own = values[key]?.();
        if (own !== undefined) out.set(own.subarray(first, first + out.length));
      });
    });
  });
}

/**
 * The configuration of a new adapter: what every method says alike, and keys of its own, in the order of the alphabet, as
 * PEFT writes them.
 * @param base what it says of the model
 */
export function newConfig(base: string, { config }: Pick<Targets, "config">, own: JsonObject): JsonObject {
  const all: JsonObject = {
    base_model_name_or_path: base,
    fan_in_fan_out: false,
    inference_mode: true,
    layers_pattern: null,
    modules_to_save: null,
    task_type: "CAUSAL_LM",
    ...config,
    ...own,
  };
  return Object.fromEntries(Object.entries(all).toSorted(([left], [right]) => (left < right ? -1 : 1)));
}

/** Modules as a run lists them, each with so many trained parameters of its own. */
export function trainedModuleRows<L extends AdaptedLayer>(layers: readonly L[], parameters: (layer: L) => number) {
  return layers.map((layer) => {
    return { name: layer.module, shape: [layer.out, layer.in] as const, parameters: parameters(layer) };
  });
}

/** Trained tensors as a run has them, for a file: names and shapes are those of `like`. */
export function savedTensors(
  parameters: Parameters,
  like: readonly Pick<AdapterTensor, "name" | "shape">[],
): Promise<AdapterTensor[]> {
  return Promise.all(
    like.map(async ({ name, shape }) => {
      const values = await parameters.read(name);
      if (values.length !== shapeElements(shape)) throw new RangeError(`${name}: ${values.length} elements`);
      return memoryTensor(name, "F32", shape, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    }),
  );
}

/** What is written of a trained adapter: its configuration, with `keys`, and its own tensors. @param bases what it records */
export async function trainedContent(
  { config }: Adapter,
  parameters: Parameters,
  own: readonly Pick<AdapterTensor, "name" | "shape">[],
  keys: JsonObject,
  bases: JsonObject | undefined,
): Promise<AdapterContent> {
  return {
    config: { ...config, inference_mode: true, ...keys },
    bases,
    tensors: await savedTensors(parameters, own),
    metadata: new Map(),
  };
}

/** Writes what an adapter's tensors hold as the parameters' values. @throws RandloraError `numeric`, `file` */
export async function writeTrained(
  parameters: Parameters,
  adapter: Adapter,
  layers: readonly FittedLayer[],
): Promise<void> {
  for (const { tensors } of layers) {
    for (const tensor of Object.values(tensors)) {
      parameters.write(tensor.name, "value", await readValues(adapter, tensor));
    }
  }
}

/** A trained tensor as a matrix of parameters: a vector is one row. */
export function matrixOf({ name, shape }: Pick<AdapterTensor, "name" | "shape">) {
  const cols = itemAt(shape, shape.length - 1);
  return { name, shape: [shapeElements(shape) / cols, cols] as const };
}

/** A tensor of a module that is trained whole. */
export interface SavedTensor {
  /** As adapters name it: `classifier.weight`. */
  readonly name: string;
  /** In the file. */
  readonly stored: readonly number[];
  /** On the GPU. */
  readonly shape: Shape;
  /** Before training, row by row. */
  readonly values: Float32Array<ArrayBuffer>;
}

/** A module that is trained whole beside an adapter: a head. */
export interface SavedModule {
  readonly name: string;
  readonly tensors: readonly SavedTensor[];
}

/**
 * Another method, beside which modules are trained whole: PEFT's `modules_to_save`. Their tensors are parameters by their
 * names.
 * @param config what else the adapter's configuration says
 */
export function withSavedModules(inner: Trainable, saved: readonly SavedModule[], config: JsonObject = {}): Trainable {
  const tensors = saved.flatMap((module) => module.tensors);
  const names = saved.map(({ name }) => name);
  return {
    ...inner,
    parameters: [...inner.parameters, ...tensors.map(({ name, shape }) => ({ name, shape, isHead: true }))],
    modules: [
      ...inner.modules,
      ...tensors.map(({ name, stored, values }) => ({ name, shape: stored, parameters: values.length })),
    ],
    place: async (on) => {
      const method = await inner.place(on);
      const { parameters } = on;
      for (const { name, values } of tensors) parameters.write(name, "value", values);
      const { content } = method;
      return {
        ...method,
        watched: () => [...method.watched(), ...tensors.map(({ name }) => parameters.get(name))],
        ...(content && {
          content: async () => {
            const made = await content();
            const whole = names.length === 0 ? {} : { modules_to_save: names };
            const own = await Promise.all(tensors.map((tensor) => read(parameters, tensor)));
            return { ...made, config: { ...made.config, ...config, ...whole }, tensors: [...made.tensors, ...own] };
          },
        }),
      } satisfies Method;
    },
  };
}

/** An adapter without the modules of these names that were trained whole: what is left is a method's own. */
export function withoutSavedModules(adapter: Adapter, names: readonly string[]): Adapter {
  const isSaved = (name: string) => names.some((saved) => name.startsWith(`${saved}.`));
  const rest = { modules_to_save: null };
  return {
    ...adapter,
    config: { ...adapter.config, ...rest },
    settings: { ...adapter.settings, ...rest },
    tensors: new Map([...adapter.tensors].filter(([name]) => !isSaved(name))),
  };
}

async function read(parameters: Parameters, { name, stored }: SavedTensor): Promise<AdapterContent["tensors"][number]> {
  const numbers = await parameters.read(name);
  return memoryTensor(name, "F32", stored, new Uint8Array(numbers.buffer));
}
