import type { AdapterContent } from "../../content.ts";
import { savingProjection } from "../convert.ts";
import { fuse } from "../../bilinear/train/fused.ts";
import type { OrderPlan } from "../../bilinear/train/flops.ts";
import type { TrainedModule } from "../../bilinear/train/module.ts";
import { planOrders } from "../../bilinear/train/plan-orders.ts";
import { randloraShape, trainedNumbers } from "../shape.ts";
import { TrainedBilinear } from "../../bilinear/train/trained-bilinear.ts";
import { TrainingBases } from "../../bilinear/train/training-bases.ts";
import { adapterTensors, randloraTensors } from "../trained-tensors.ts";
import { RandloraError } from "../../../errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { dropoutMask } from "../../training/dropout.ts";
import type { Method, MethodChoices, PassKind, Placement, PlaceOptions, Trainable } from "../../training/method.ts";
import type { Parameters } from "../../training/parameters.ts";
import type { BasesFrom, RandloraModule, RandloraSource } from "./source.ts";
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
  const { gpu, parameters, tensors, place } = on;
  const { r, modules, scale, pairing } = source;
  const { staging } = place;
  const bases = await TrainingBases.create(gpu, source.bases, pairing, staging);
  const trained = modules.map((module) => {
    const { lambda, gamma } = tensorsOf(module, r);
    parameters.write(lambda.name, "value", module.values.lambda);
    parameters.write(gamma.name, "value", module.values.gamma);
    const [l, g] = [parameters.get(lambda.name), parameters.get(gamma.name)];
    const weight = tensors.get(module.tensor);
    if (weight === undefined) throw new RangeError(`${module.tensor} is no tensor of the decoder`);
    const gradients = { lambdaGradient: l.gradient, gammaGradient: g.gradient };
    const shape = randloraShape(module.out, module.in, r);
    return { name: module.name, weight, shape, lambda: l.value, gamma: g.value, ...gradients };
  });
  const plans = chooseOrders(settings, place, bases, trained);
  const dropout = settings.dropout > 0;
  const adapter = new TrainedBilinear(gpu, { bases, modules: trained, scale, dropout, plans, staging });
  const masks = (pass: PassKind) =>
    dropout && pass.kind === "train"
      ? (module: number) => dropoutMask(settings.dropout, seed, pass, module)
      : undefined;
  return {
    choices: { orders: plans.map(formatOrder), bases: source.basesFrom },
    prepare: (run) => adapter.prepare(run),
    watched: () => [],
    linears: (pass) => adapter.linears(masks(pass)),
    finish: (run) => adapter.finish(run),
    content: () => contentOf(source, settings, parameters),
    release() {
      adapter.release();
      bases.release();
    },
  };
}

function chooseOrders(
  settings: AdapterSettings & RandloraSettings,
  place: PlaceOptions,
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
