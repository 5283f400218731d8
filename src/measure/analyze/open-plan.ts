import type { VariantsPlan } from "./plan-variants.ts";
import type { Context } from "../../terminal/options/command.ts";
import type { GeneratorName } from "../../compute/random/names.ts";

/**
 * Finds the base, and sees that everything fits it.
 * @param paths of variants, on this machine
 * @throws RandloraError as `planVariants`
 */
export async function openPlan(
  model: string,
  paths: readonly string[],
  generator: GeneratorName | undefined,
  context: Context,
): Promise<VariantsPlan> {
  const { readRun } = await import("../../models/folder/run.ts");
  const { locateModel } = await import("../../models/folder/locate.ts");
  const { localPath } = await import("../../models/folder/local-path.ts");
  const { planVariants } = await import("./plan-variants.ts");
  // A run of an adapter stands for the model that it was made from.
  const { place } = await readRun(model);
  return await planVariants(await locateModel(await localPath(place, "model", context)), paths, generator);
}
