import type { Bases } from "../../frozen/drawing/bases.ts";
import { writeTrained } from "../../train.ts";
import { dropoutMask } from "../dropout.ts";
import type { BilinearPlan } from "./deltas.ts";
import type { Method, MethodChoices, PassKind, Placement } from "../../training/method.ts";
import { chooseOrders, formatOrder } from "./orders.ts";
import type { Compute } from "./plan-orders.ts";
import { TrainedBilinear } from "./trained.ts";
import { TrainingBases } from "./training-bases.ts";

/** Where bases come from. */
export type BasesFrom = "drawn" | "saved";

/** An adapter before it is placed. */
export interface BilinearAdapter extends BilinearPlan {
  readonly bases: Bases;
  /** Drawn bases and the same ones out of a file may be stored differently, and then products round differently. */
  readonly basesFrom: BasesFrom;
}

/**
 * Writes the initial λ and γ, uploads the bases, and plans the orders of products: a method but for what it saves.
 * @throws RandloraError `memory`; `format` where the choices of a resumed run do not fit the model
 */
export async function placeBilinear(
  { gpu, parameters, tensors, place, factor = 1 }: Placement,
  { adapter: source, layers, scale, pairing, ...from }: BilinearAdapter,
  settings: { readonly compute: Compute; readonly dropout: number },
  seed: number,
): Promise<Omit<Method, "content">> {
  const { staging } = place;
  const bases = await TrainingBases.create(gpu, from.bases, pairing, staging);
  await writeTrained(parameters, source, layers);
  const trained = layers.map(({ module: name, tensor, sizes: shape, tensors: { lambda, gamma } }) => {
    const [l, g] = [parameters.get(lambda.name), parameters.get(gamma.name)];
    const weight = tensors.get(tensor);
    if (weight === undefined) throw new RangeError(`${tensor} is no tensor of the decoder`);
    const gradients = { lambdaGradient: l.gradient, gammaGradient: g.gradient };
    return { name, weight, shape, lambda: l.value, gamma: g.value, ...gradients };
  });
  const plans = chooseOrders(settings, place, bases, trained);
  const dropout = settings.dropout > 0;
  const adapter = new TrainedBilinear(gpu, { bases, modules: trained, scale: scale * factor, dropout, plans });
  const masks = (pass: PassKind) =>
    dropout && pass.kind === "train"
      ? (module: number) => dropoutMask(settings.dropout, seed, pass, module)
      : undefined;
  return {
    choices: { orders: plans.map(formatOrder), bases: from.basesFrom },
    prepare: (run) => adapter.prepare(run),
    watched: () => [],
    linears: (pass) => adapter.linears(masks(pass)),
    over: adapter.addsToOthers ? (pass, base) => adapter.linears(masks(pass), base) : undefined,
    formed: adapter.formed,
    finish: (run) => adapter.finish(run),
  };
}

/** Where a resumed run had its bases from; states of earlier versions do not say. */
export function parseBasesFrom(choices: MethodChoices | undefined): BasesFrom | undefined {
  const bases = choices?.["bases"];
  return bases === "drawn" || bases === "saved" ? bases : undefined;
}
