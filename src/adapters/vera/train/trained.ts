import { type BilinearModule, placeBilinear } from "../../delta/scaled-bases/place.ts";
import type { AdapterContent } from "../../files/content.ts";
import { memoryTensor } from "../../files/tensors.ts";
import type { Trainable } from "../../training/method.ts";
import type { Parameters } from "../../training/parameters.ts";
import type { AdapterSettings } from "../../training/settings.ts";
import { VERA_TENSORS } from "../plan.ts";
import { trainedNumbers, VERA_PAIRING, veraShape } from "../shape.ts";
import type { VeraSettings } from "./settings.ts";
import type { VeraModule, VeraSource } from "./source.ts";

/** VeRA (Kopiczko et al., arXiv:2310.11454): λ_d and λ_b of each module are trained, the factors are not. */
export function trainableVera(source: VeraSource, settings: AdapterSettings & VeraSettings, seed: number): Trainable {
  const { r, notes } = source;
  const modules = source.modules.map((module) => bilinearModule(module, r));
  return {
    // In the order in which PEFT saves them.
    parameters: modules.flatMap(({ lambda, gamma, shape }) => [
      { name: gamma.name, shape: [1, shape.out] as const },
      { name: lambda.name, shape: [r, 1] as const },
    ]),
    modules: modules.map(({ name, shape: { out, in: input } }) => {
      return { name, shape: [out, input], parameters: trainedNumbers(out, r) };
    }),
    notes,
    async place(on) {
      const placed = await placeBilinear(on, { ...source, pairing: VERA_PAIRING, scale: 1, modules }, settings, seed);
      return { ...placed, content: () => contentOf(source, modules, settings, on.parameters) };
    },
  };
}

function bilinearModule({ name, tensor, out, in: input, values }: VeraModule, r: number): BilinearModule {
  const lambda = { name: `${name}.${VERA_TENSORS.names.lambda}`, values: values.lambda };
  const gamma = { name: `${name}.${VERA_TENSORS.names.gamma}`, values: values.gamma };
  return { name, tensor, shape: veraShape(out, input, r), lambda, gamma };
}

async function contentOf(
  { record, config, ...source }: VeraSource,
  modules: readonly BilinearModule[],
  settings: AdapterSettings & VeraSettings,
  parameters: Parameters,
): Promise<AdapterContent> {
  const vector = async (name: string) => {
    const values = await parameters.read(name);
    return memoryTensor(name, "F32", [values.length], new Uint8Array(values.buffer));
  };
  const names = modules.flatMap(({ lambda, gamma }) => [gamma.name, lambda.name]);
  const tensors = await Promise.all(names.map(vector));
  const pair = settings.projections || source.needsProjections ? await source.projections() : undefined;
  return {
    config: { ...config, vera_dropout: settings.dropout, save_projection: pair !== undefined },
    bases: record,
    tensors: pair === undefined ? tensors : [pair.a, pair.b, ...tensors],
    metadata: new Map(),
  };
}
