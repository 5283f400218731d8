import type { BilinearAdapter } from "../../delta/scaled-bases/place.ts";
import { TrainingBases } from "../../delta/scaled-bases/training-bases.ts";
import { DerivedFactors } from "../../delta/low-rank/derived.ts";
import type { Method, Placement } from "../../training/method.ts";
import { partsOfMatrices } from "../../delta/parts.ts";
import { RankRBases, type RankRFactors, type RankRParameters } from "./factors.ts";

/**
 * Writes the initial λ and γ, uploads the bases, and trains both factors of each module through them: a method but for
 * what it saves. @param firstA see `RankRBases`
 * @throws RandloraError `memory`
 */
export async function placeRankR(
  { gpu, parameters, tensors, place: { staging }, factor = 1 }: Placement,
  { modules, scale, bases, basesFrom }: BilinearAdapter,
  firstA: number,
  mode: { readonly dropout: number; readonly seed: number },
): Promise<Omit<Method, "content">> {
  const training = await TrainingBases.create(gpu, bases, "paper", staging);
  const shapes = modules.map(({ shape }) => shape);
  const shared = new RankRBases(gpu, training, firstA, shapes);
  const factors = new DerivedFactors(
    gpu,
    modules.map(({ tensor, shape: { out, in: input, r } }) => {
      return { module: tensor.slice(0, -".weight".length), out, in: input, rank: r, scale: scale * factor };
    }),
  );
  const trained = modules.map(({ lambda, gamma, shape }, index) => {
    for (const { name, values } of [lambda, gamma]) parameters.write(name, "value", values);
    const [l, g] = [parameters.get(lambda.name), parameters.get(gamma.name)];
    const oriented = (of: readonly Formed[]): RankRFactors => {
      const { a, bt } = of[index] ?? {};
      if (a === undefined || bt === undefined) throw new RangeError(`module ${index}`);
      return shape.tall ? { long: bt, short: a } : { long: a, short: bt };
    };
    const values: RankRParameters = { lambda: l.value, gamma: g.value };
    const gradients: RankRParameters = { lambda: l.gradient, gamma: g.gradient };
    return { shape, values, gradients, formed: oriented(factors.formed), summed: oriented(factors.gradients) };
  });
  const matrices = partsOfMatrices(tensors);
  return {
    choices: { bases: basesFrom },
    prepare: (run) =>
      factors.prepare(run, () => {
        for (const { shape, values, formed } of trained) shared.form(run, shape, values, formed);
      }),
    watched: () => factors.watched(),
    linears: (pass) => factors.linears(matrices, { ...mode, pass }),
    over: (pass, base) => factors.linears(matrices, { ...mode, pass }, base),
    formed: {
      held: () => undefined,
      record: (run, name, first, target) =>
        factors.recordDelta(
          run,
          modules.findIndex((module) => module.name === name),
          first,
          target,
        ),
    },
    finish: (run) =>
      factors.finish(run, () => {
        for (const { shape, summed, gradients } of trained) shared.fold(run, shape, summed, gradients);
      }),
  };
}

type Formed = DerivedFactors["formed"][number];
