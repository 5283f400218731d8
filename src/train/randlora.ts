import { writePeft } from "../adapters/peft-write.ts";
import { savingProjection } from "../adapters/randlora/convert.ts";
import { fuse } from "../adapters/bilinear/train/fused.ts";
import type { OrderPlan } from "../adapters/bilinear/train/flops.ts";
import type { TrainedModule } from "../adapters/bilinear/train/module.ts";
import { planOrders } from "../adapters/bilinear/train/plan-orders.ts";
import { randloraShape } from "../adapters/randlora/shape.ts";
import { TrainedBilinear } from "../adapters/bilinear/train/trained-bilinear.ts";
import { TrainingBases } from "../adapters/bilinear/train/training-bases.ts";
import { adapterTensors, randloraTensors } from "../adapters/randlora/trained-tensors.ts";
import { peftReadme } from "../adapters/readme.ts";
import { RandloraError } from "../errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { oneLine, quote } from "../files/failure.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { dropoutMask } from "./dropout.ts";
import type { Method, MethodChoices, PassKind, PlaceOptions } from "./method.ts";
import { Parameters } from "./parameters.ts";
import type { BasesFrom, RandloraModule, RandloraSource } from "./randlora-source.ts";
import type { AdapterSettings } from "./settings.ts";

export interface RandloraOptions {
  readonly gpu: Gpu;
  readonly source: RandloraSource;
  readonly settings: AdapterSettings;
  /** The decoder's tensors by their names in the checkpoint. */
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly seed: number;
  readonly place: PlaceOptions;
}

/**
 * RandLoRA (Albert et al., arXiv:2502.00987): λ and γ are trained, the bases are not.
 * @throws RandloraError `memory`; `format` where the orders of a resumed run do not fit the model
 */
export async function createRandlora(options: RandloraOptions): Promise<Method> {
  const { gpu, source, settings, tensors, seed, place } = options;
  const { r, modules, scale, pairing } = source;
  const names = modules.map(({ name, out, in: input }) => randloraTensors(name, out, input, r));
  const parameters = new Parameters(
    gpu,
    names.flatMap(({ lambda, gamma }) => [lambda, gamma]),
  );
  const bases = await TrainingBases.create(gpu, source.bases, pairing, place.staging);
  const trained = modules.map((module) => {
    const { lambda, gamma } = randloraTensors(module.name, module.out, module.in, r);
    parameters.write(lambda.name, "value", module.values.lambda);
    parameters.write(gamma.name, "value", module.values.gamma);
    const [l, g] = [parameters.get(lambda.name), parameters.get(gamma.name)];
    const weight = tensors.get(module.tensor);
    if (weight === undefined) throw new RangeError(`${module.tensor} is no tensor of the decoder`);
    const gradients = { lambdaGradient: l.gradient, gammaGradient: g.gradient };
    const shape = randloraShape(module.out, module.in, r);
    return { name: module.name, weight, shape, lambda: l.value, gamma: g.value, ...gradients };
  });
  const plans = chooseOrders(options, bases, trained);
  const dropout = settings.dropout > 0;
  const adapter = new TrainedBilinear(gpu, {
    bases,
    modules: trained,
    scale,
    dropout,
    plans,
    staging: place.staging,
  });
  const masks = (pass: PassKind) =>
    dropout && pass.kind === "train"
      ? (module: number) => dropoutMask(settings.dropout, seed, pass, module)
      : undefined;
  return {
    kind: "randlora",
    parameters,
    choices: { orders: plans.map(formatOrder), bases: source.basesFrom },
    summary: {
      trainableParameters: parameters.count,
      modules: modules.map(({ name, out, in: input }) => {
        const { bases: n, cols } = randloraShape(out, input, r);
        return { name, shape: [out, input], parameters: n * (r + cols) };
      }),
      notes: source.notes,
    },
    prepare: (run) => adapter.prepare(run),
    watched: () => [],
    linears: (pass) => adapter.linears(masks(pass)),
    finish: (run) => adapter.finish(run),
    save: (folder) => save(folder, source, settings, parameters),
    release() {
      adapter.release();
      bases.release();
      parameters.release();
    },
  };
}

function chooseOrders(
  { settings, place }: RandloraOptions,
  bases: TrainingBases,
  modules: readonly TrainedModule[],
): readonly OrderPlan[] {
  const matrices = fuse(modules).map(({ shape }) => shape);
  if (place.choices !== undefined) return parseOrders(place.choices, matrices.length, place.choicesFile);
  return planOrders({
    matrices,
    compute: settings.compute,
    budget: place.budget,
    staging: place.staging,
    tokens: place.tokens,
    microBatches: place.microBatches,
    dropout: settings.dropout > 0,
    density: 1, // the kernels multiply by zeros, too
    panelBytes: (shape) => bases.panelBytes(shape),
  }).matrices;
}

async function save(
  folder: string,
  source: RandloraSource,
  settings: AdapterSettings,
  parameters: Parameters,
): Promise<void> {
  const { r, modules, record, config } = source;
  const read = async (module: RandloraModule) => {
    const { lambda, gamma } = randloraTensors(module.name, module.out, module.in, r);
    const values = { lambda: await parameters.read(lambda.name), gamma: await parameters.read(gamma.name) };
    return adapterTensors(module.name, { out: module.out, in: module.in, r }, values);
  };
  const tensors = (await Promise.all(modules.map(read))).flat();
  const pair = settings.projections || source.needsProjections ? await source.projections() : undefined;
  const content = {
    config: savingProjection({ ...config, randlora_dropout: settings.dropout }, pair !== undefined),
    bases: record,
    tensors: pair === undefined ? tensors : [pair.a, pair.b, ...tensors],
    metadata: new Map<string, string>(),
  };
  await writePeft(folder, content, peftReadme(content));
}

const ORDERS = ["factored", "merged-h", "merged-g"] as const;

/** `merged-g+kept+summed`. */
function formatOrder({ order, kept, summed }: OrderPlan): string {
  return `${order}${kept ? "+kept" : ""}${summed ? "+summed" : ""}`;
}

/**
 * What {@link formatOrder} made, of a resumed run: other orders would round differently.
 * @param file where they were read
 * @throws RandloraError `format` for another number of them than `count`, and for unknown ones
 */
export function parseOrders(choices: MethodChoices, count: number, file = "the state"): OrderPlan[] {
  const orders = choices["orders"];
  const refuse = (cause: string) => {
    const hint = "the state is damaged, or another version of randlora wrote it: start a new run";
    return new RandloraError("format", `${oneLine(file)}: "kernels.choices.orders": ${cause}`, hint);
  };
  if (!Array.isArray(orders) || orders.length !== count) {
    const found = Array.isArray(orders) ? orders.length : "no";
    throw refuse(`${found} orders of products, and the model has ${count} adapted matrices`);
  }
  return orders.map((text) => {
    const [name, ...flags] = text.split("+");
    const order = ORDERS.find((known) => known === name) ?? "factored";
    const plan = { order, kept: flags.includes("kept"), summed: flags.includes("summed") };
    if (formatOrder(plan) !== text) throw refuse(`${quote(text)} is no order of products`);
    return plan;
  });
}

/** Where a resumed run had its bases from; states of earlier versions do not say. */
export function parseBasesFrom(choices: MethodChoices | undefined): BasesFrom | undefined {
  const bases = choices?.["bases"];
  return bases === "drawn" || bases === "saved" ? bases : undefined;
}
