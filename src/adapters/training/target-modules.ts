import { type BaseModel, findWeight, linearModules, modelTypeOf } from "../base.ts";
import { isOutputEmbedding } from "../embeddings.ts";
import { defaultTargets } from "../default-targets.ts";
import { targetMatcher, type TargetRules } from "../targets.ts";
import { RandloraError } from "../../errors.ts";
import { isKernelDtype } from "../../device/dtype.ts";
import type { Dtype } from "../../safetensors/dtype.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { AdapterSettings } from "./settings.ts";

/** A linear layer that will be adapted. */
export interface TargetModule {
  /** The module's dotted path in the checkpoint. */
  readonly name: string;
  /** W is (out, in). */
  readonly out: number;
  readonly in: number;
  readonly dtype: Dtype;
}

/** The adapted modules, and how an adapter's configuration says which they are. */
export interface Targets {
  readonly modules: readonly TargetModule[];
  readonly config: {
    readonly target_modules: string | readonly string[];
    readonly layers_to_transform: readonly number[] | null;
  };
}

/**
 * Finds the modules that the settings mean, by PEFT's rules. PEFT reads `layers_to_transform` only beside a list of
 * names: with anything else the modules are listed one by one.
 * @throws RandloraError `usage` when nothing is matched, or what is matched cannot be trained
 */
export function findTargets(
  base: BaseModel,
  { targets, layers }: Pick<AdapterSettings, "targets" | "layers">,
): Targets {
  const byName = typeof targets !== "string";
  const rules: TargetRules = {
    modules: targets,
    exclude: [],
    modulesToSave: [],
    layers: byName ? layers : [],
    layersPattern: [],
  };
  const matches = matcherOf(rules, modelTypeOf(base));
  const wanted = new Set(layers);
  const inLayers = (module: string) => {
    const [, index] = /\.(\d+)\./.exec(module) ?? [];
    return byName || layers.length === 0 || (index !== undefined && wanted.has(Number(index)));
  };
  const names = linearModules(base).filter((module) => matches(module) && inLayers(module));
  if (names.length === 0) throw nothingMatched(base, targets, layers);
  refuseIdle(base, targets, layers, names);
  const modules = names.map((name): TargetModule => {
    const { shape, dtype } = findWeight(name, { drop: "", add: "" }, base, "--targets");
    if (isOutputEmbedding(name)) {
      const cause = `--targets match ${quote(name)}, which shares its weight with the loss and cannot be adapted yet`;
      throw new RandloraError("usage", cause, "leave it out; --method full trains it");
    }
    if (dtype !== "F64" && !isKernelDtype(dtype)) {
      const cause = `${oneLine(base.path)}: ${quote(`${name}.weight`)} is ${dtype}: quantised weights cannot be adapted`;
      throw new RandloraError("adapter", cause, "use the original, unquantised model");
    }
    const [out = 0, input = 0] = shape;
    if (name.endsWith(".gate_up_proj") && out % 8 !== 0) {
      // Its product is computed in halves (models/blocks/mlp.ts), and an adapter's ΔW has none.
      const cause = `${quote(name)} joins halves of ${out / 2} rows, no multiple of 4: it cannot be adapted yet`;
      throw new RandloraError("usage", cause, "leave it out of --targets; --method full trains it");
    }
    return { name, out, in: input, dtype };
  });
  const listed = byName || layers.length === 0;
  return {
    modules,
    config: {
      target_modules: listed ? targets : names,
      layers_to_transform: byName && layers.length > 0 ? layers : null,
    },
  };
}

/** What the user wrote is at fault if the matcher cannot read it. */
function matcherOf(rules: TargetRules, modelType: string | undefined): (module: string) => boolean {
  try {
    return targetMatcher(rules, modelType);
  } catch (thrown) {
    if (!(thrown instanceof RandloraError)) throw thrown;
    throw new RandloraError("usage", `--targets: ${thrown.message}`, thrown.hint, { cause: thrown });
  }
}

/** Refuses names and layers that add nothing: they are misspelt, and the run would be another one than was asked for. */
function refuseIdle(
  base: BaseModel,
  targets: string | readonly string[],
  layers: readonly number[],
  matched: readonly string[],
): void {
  const all = linearModules(base);
  const isUsual = JSON.stringify(targets) === JSON.stringify(defaultTargets(modelTypeOf(base) ?? ""));
  const names = typeof targets === "string" || isUsual ? [] : targets;
  const name = names.find((one) => !all.some((module) => module === one || module.endsWith(`.${one}`)));
  if (name !== undefined) throw nothingMatched(base, [name], []);
  const layer = layers.find((one) => !matched.some((module) => module.includes(`.${one}.`)));
  if (layer !== undefined) throw nothingMatched(base, targets, [layer]);
}

function nothingMatched(
  base: BaseModel,
  targets: string | readonly string[],
  layers: readonly number[],
): RandloraError {
  const shown = typeof targets === "string" ? targets : targets.join(",");
  const where = layers.length === 0 ? "" : ` in layers ${layers.join(",")}`;
  const last = new Set(linearModules(base).map((module) => module.slice(module.lastIndexOf(".") + 1)));
  const hint = `modules of this model: ${[...last].slice(0, 12).join(", ")}`;
  return new RandloraError(
    "usage",
    `--targets ${shown}: no linear layer of ${oneLine(base.path)}${where} matches`,
    hint,
  );
}
