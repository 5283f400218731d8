import type { JsonObject } from "../../files/lossless-json.ts";
import type { Shape } from "../../compute/tensor/tensor.ts";
import type { Adapter, AdapterContent } from "../files/adapter.ts";
import { memoryTensor } from "../files/tensors.ts";
import type { Method, Trainable } from "./training.ts";
import type { Parameters } from "./parameters.ts";

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
