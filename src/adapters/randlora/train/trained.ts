import type { AdapterContent } from "../../content.ts";
import { savingProjection } from "../convert.ts";
import { type BilinearModule, placeBilinear } from "../../bilinear/train/place.ts";
import { randloraShape, trainedNumbers } from "../shape.ts";
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
  const { r, modules, notes } = source;
  return {
    parameters: modules.flatMap((module) => Object.values(tensorsOf(module, r))),
    modules: modules.map(({ name, out, in: input }) => {
      return { name, shape: [out, input], parameters: trainedNumbers(out, input, r) };
    }),
    notes,
    place: (on) => place(on, source, settings, seed),
  };
}

function tensorsOf({ name, out, in: input }: RandloraModule, r: number) {
  return randloraTensors(name, out, input, r);
}

async function place(
  on: Placement,
  source: RandloraSource,
  settings: AdapterSettings & RandloraSettings,
  seed: number,
): Promise<Method> {
  const modules = source.modules.map((module): BilinearModule => {
    const { name, tensor, out, in: input, values } = module;
    const { lambda, gamma } = tensorsOf(module, source.r);
    const shape = randloraShape(out, input, source.r);
    const start = { lambda: { ...lambda, values: values.lambda }, gamma: { ...gamma, values: values.gamma } };
    return { name, tensor, shape, ...start };
  });
  const placed = await placeBilinear(on, { ...source, modules }, settings, seed);
  return { ...placed, content: () => contentOf(source, settings, on.parameters) };
}

async function contentOf(
  source: RandloraSource,
  settings: AdapterSettings & RandloraSettings,
  parameters: Parameters,
): Promise<AdapterContent> {
  const { r, modules, record, config } = source;
  const read = async (module: RandloraModule) => {
    const { lambda, gamma } = tensorsOf(module, r);
    const values = { lambda: await parameters.read(lambda.name), gamma: await parameters.read(gamma.name) };
    return adapterTensors(module.name, { out: module.out, in: module.in, r }, values);
  };
  const tensors = (await Promise.all(modules.map(read))).flat();
  const pair = settings.projections || source.needsProjections ? await source.projections() : undefined;
  return {
    config: savingProjection({ ...config, randlora_dropout: settings.dropout }, pair !== undefined),
    bases: record,
    tensors: pair === undefined ? tensors : [pair.a, pair.b, ...tensors],
    metadata: new Map(),
  };
}
