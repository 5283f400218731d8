import { oneLine, quote } from "../../files/failure.ts";
import { type BaseModel, isConv1d, linearModules, modelTypeOf } from "./base.ts";
import { findWeight, type PathShift, unshiftPath } from "./module-paths.ts";
import type { AdaptedLayer } from "./layers.ts";
import type { LayerSettings } from "./config-keys.ts";
import { targetMatcher } from "./targets.ts";
import type { Adapter } from "../files/adapter.ts";

/** A module that the targets match and the adapter has nothing of. */
export interface UnadaptedModule {
  /** As the adapter would name it. */
  readonly module: string;
  readonly out: number;
  readonly in: number;
}

/** Modules of the base that the targets match and the adapter does not hold: PEFT draws bases that are large enough for them, too. */
export function unadaptedModules(
  adapter: Adapter,
  { targets, fanInFanOut, modulesToSave }: LayerSettings,
  layers: readonly Pick<AdaptedLayer, "module">[],
  base: BaseModel,
  shift: PathShift,
): UnadaptedModule[] {
  const matches = targetMatcher(targets, modelTypeOf(base));
  const adapted = new Set(layers.map(({ module }) => module));
  return linearModules(base)
    .filter((module) => isInClass(module, modulesToSave, base))
    .map((module) => unshiftPath(module, shift))
    .filter((module) => !adapted.has(module) && matches(module))
    .map((module) => {
      const [first = 0, second = 0] = findWeight(module, shift, base, adapter.path).shape;
      return isConv1d(module, base, fanInFanOut)
        ? { module, out: second, in: first }
        : { module, out: first, in: second };
    });
}

/** transformers' class of CLIP with a head, which is then saved whole, has no encoder of texts. */
function isInClass(module: string, modulesToSave: readonly string[], base: BaseModel): boolean {
  return modelTypeOf(base) !== "clip" || !modulesToSave.includes("classifier") || module.startsWith("vision_model.");
}

/**
 * What to say of them: PEFT saves every module that its targets match, so a file that holds fewer was probably trained on
 * another model.
 * @param larger whether the bases are drawn larger because of them
 */
export function unadaptedNote(
  adapter: Adapter,
  base: BaseModel,
  held: number,
  unadapted: readonly UnadaptedModule[],
  larger: boolean,
): string[] {
  const [first] = unadapted;
  if (first === undefined) return [];
  const counts = `target_modules match ${held + unadapted.length} modules of ${oneLine(base.path)}`;
  const drawn = larger ? "; the bases are drawn large enough for all" : "";
  const note = `${counts}, the adapter holds ${held} (not ${quote(first.module)}): was it trained on this model?`;
  return [`${oneLine(adapter.path)}: ${note}${drawn}`];
}
