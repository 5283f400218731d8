import type { Bases } from "../../frozen/drawing/bases.ts";
import type { BasesFrom } from "../../frozen/origin.ts";
import { writeTrained } from "../../method/train.ts";
import type { Method, PassKind, Placement } from "../../method/training.ts";
import { dropoutMasks } from "../dropout.ts";
import { weightFinder } from "../parts.ts";
import { Scratch } from "../through-weights/held.ts";
import type { BilinearPlan } from "./delta.ts";
import { chooseOrders, type Compute, formatOrder } from "./orders.ts";
import { TrainedBilinear, trainedSizes } from "./trained.ts";
import { TrainingBases } from "./training-bases.ts";

/** An adapter before it is placed. */
export interface BilinearAdapter extends BilinearPlan {
  readonly bases: Bases;
  readonly basesFrom: BasesFrom;
}

/**
 * Writes the initial λ and γ, uploads the bases, and plans the orders of products: a method but for what it saves.
 * @throws RandloraError `memory`; `format` where the choices of a resumed run do not fit the model
 */
export async function placeBilinear(
  on: Placement,
  { adapter: source, layers, scale, pairing, ...from }: BilinearAdapter,
  settings: { readonly compute: Compute; readonly dropout: number },
  seed: number,
): Promise<Omit<Method, "content">> {
  const { gpu, parameters, tensors, place, factor = 1 } = on;
  const bases = await TrainingBases.shared(on, from.bases, pairing);
  await writeTrained(parameters, source, layers);
  const find = weightFinder(tensors);
  const trained = layers.map(({ module: name, tensor, sizes: shape, tensors: { lambda, gamma } }) => {
    const [l, g] = [parameters.get(lambda.name), parameters.get(gamma.name)];
    const gradients = { lambdaGradient: l.gradient, gammaGradient: g.gradient };
    return { name, ...find(tensor), shape, lambda: l.value, gamma: g.value, ...gradients };
  });
  const plans = chooseOrders(settings, place, bases, trained);
  const dropout = settings.dropout > 0;
  const options = { bases, modules: trained, scale: scale * factor, dropout, plans };
  const sizes = trainedSizes(options);
  const workspace = await on.share?.(JSON.stringify(sizes), (shared) => new Scratch(shared, sizes));
  const adapter = new TrainedBilinear(gpu, { ...options, workspace });
  const masks = (pass: PassKind) => dropoutMasks(settings.dropout, seed, pass);
  return {
    choices: { orders: plans.map(formatOrder), bases: from.basesFrom },
    prepare: (run) => adapter.prepare(run),
    watched: () => [],
    linears: (pass) => adapter.linears(masks(pass)),
    over: adapter.addsToOthers ? (pass, base) => adapter.linears(masks(pass), base) : undefined,
    joint: adapter.addsToOthers ? adapter : undefined,
    formed: adapter.formed,
    finish: (run) => adapter.finish(run),
  };
}
