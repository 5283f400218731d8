import type { AdapterContent } from "../../files/content.ts";
import { PEFT_TYPES } from "../peft-types.ts";
import { type BilinearModule, placeBilinear } from "../../delta/scaled-bases/place.ts";
import { placeRankR } from "../rank-r/place.ts";
import { adapterTensors, randloraTensors } from "../trained-tensors.ts";
import type { Method, Placement, Trainable } from "../../training/method.ts";
import type { Parameters } from "../../training/parameters.ts";
import type { RandloraModule, RandloraSource } from "./source.ts";
import type { AdapterSettings } from "../../training/settings.ts";
import type { RandloraSettings } from "./settings.ts";

/** RandLoRA (Albert et al., arXiv:2502.00987): λ and γ are trained, the bases are not. */
export function trainableRandlora(
  source: RandloraSource,
  settings: AdapterSettings & RandloraSettings,
  seed: number,
): Trainable {
  const { modules, notes } = source;
  return {
    parameters: modules.flatMap(({ name, shape }) => Object.values(randloraTensors(name, shape))),
    modules: modules.map(({ name, shape: { out, in: input, r, bases, cols } }) => {
      return { name, shape: [out, input], parameters: bases * (r + cols) };
    }),
    notes,
    place: (on) => place(on, source, settings, seed),
  };
}

async function place(
  on: Placement,
  source: RandloraSource,
  settings: AdapterSettings & RandloraSettings,
  seed: number,
): Promise<Method> {
  const modules = source.modules.map(({ name, tensor, shape, values }): BilinearModule => {
    const { lambda, gamma } = randloraTensors(name, shape);
    const start = { lambda: { ...lambda, values: values.lambda }, gamma: { ...gamma, values: values.gamma } };
    return { name, tensor, shape, ...start };
  });
  const { firstRowOfA } = source;
  const adapter = { ...source, modules };
  const placed =
    firstRowOfA === undefined
      ? await placeBilinear(on, adapter, settings, seed)
      : await placeRankR(on, adapter, firstRowOfA, { dropout: settings.dropout, seed });
  return { ...placed, content: () => contentOf(source, settings, on.parameters) };
}

async function contentOf(
  source: RandloraSource,
  settings: AdapterSettings & RandloraSettings,
  parameters: Parameters,
): Promise<AdapterContent> {
  const { modules, record, config } = source;
  const read = async ({ name, shape }: RandloraModule) => {
    const { lambda, gamma } = randloraTensors(name, shape);
    const values = { lambda: await parameters.read(lambda.name), gamma: await parameters.read(gamma.name) };
    return adapterTensors(name, shape, values);
  };
  const tensors = (await Promise.all(modules.map(read))).flat();
  const pair = settings.projections || source.needsProjections ? await source.projections() : undefined;
  // PEFT redraws the bases, instead of missing them, where its configuration says that they are not in the file.
  const saysSaved = config["peft_type"] === PEFT_TYPES.peft ? { save_projection: pair !== undefined } : {};
  return {
    config: { ...config, randlora_dropout: settings.dropout, ...saysSaved },
    bases: record,
    tensors: pair === undefined ? tensors : [pair.a, pair.b, ...tensors],
    metadata: new Map(),
  };
}
