import { oneLine, quote } from "../../files/failure.ts";
import { type BaseModel, findShift } from "../base/base.ts";
import { requireTargeted, requireUnquantized } from "../base/layers.ts";
import type { PlanOptions } from "../plan.ts";
import { findReplacements, type Replacement } from "../base/replacements.ts";
import type { Adapter } from "../adapter.ts";
import { checkExtent } from "../frozen/drawing/draw.ts";
import type { BasesExtent } from "../frozen/drawing/bases.ts";
import { type RandloraConfig, randloraConfig } from "./config.ts";
import type { Pairing } from "../../compute/device/pairing.ts";
import { type BasesSource, chooseBases } from "./generator.ts";
import { moduleOfMagnitude } from "../delta/magnitude/vectors.ts";
import { MAGNITUDE, type RandloraLayer, randloraLayers, randloraParameters } from "./layers.ts";
import { checkStacked, isRankR, stackedExtent } from "./rank-r/stacked.ts";
import { isBasesTensor } from "./saved.ts";

/** Everything that applying a RandLoRA adapter to a base takes, checked; no tensor has been read yet. */
export interface RandloraPlan {
  readonly adapter: Adapter;
  readonly config: RandloraConfig;
  /** alpha / r; ΔW is multiplied by it. */
  readonly scale: number;
  readonly pairing: Pairing;
  readonly layers: readonly RandloraLayer[];
  /** Where the bases come from; {@link loadBases} brings them. */
  readonly bases: BasesSource;
  /** How far the layers need them: the largest M, n and m. */
  readonly extent: BasesExtent;
  readonly replacements: readonly Replacement[];
  /** What the user should know: one line each. */
  readonly notes: readonly string[];
}

/**
 * Fits an adapter to a base: finds each adapted weight, checks every shape, decides where the bases come from.
 * Throws `RandloraError` "adapter" with the reason when it cannot be applied: module missing, shape different, bases that
 * nothing says how to draw, quantized base.
 */
export function planRandlora(
  adapter: Adapter,
  base: BaseModel,
  { generator, amongOthers = false }: PlanOptions = {},
): RandloraPlan {
  requireUnquantized(base);
  const config = randloraConfig(adapter);
  const parameters = randloraParameters(adapter, config);
  const modules = parameters.map(({ module }) => module);
  requireTargeted(adapter, config.targets, modules, base);
  const shift = findShift(modules, base, adapter.path);
  const layers = randloraLayers(adapter, config, parameters, base, shift);
  const { bases, pairing, notes } = chooseBases({ adapter, config, base, shift, layers, generator, amongOthers });
  const plain = {
    rows: Math.max(...layers.map(({ rows }) => rows)),
    bases: Math.max(...layers.map((layer) => layer.bases)),
    cols: Math.max(...layers.map(({ cols }) => cols)),
  };
  const drawn = bases.kind === "drawn" ? bases.spec : bases;
  const { max, min } = drawn;
  const rankR = isRankR(adapter);
  if (rankR) checkStacked(adapter, drawn, layers, bases.kind === "saved" || bases.record !== undefined);
  for (const layer of layers)
    checkExtent(layer, config.r, max, min, `${oneLine(adapter.file)}: ${quote(layer.module)}`);
  return {
    adapter,
    config,
    scale: config.alpha / config.r,
    pairing,
    layers,
    bases,
    extent: rankR ? stackedExtent(drawn, plain) : plain,
    replacements: findReplacements(
      adapter,
      {
        isOwn: (name) =>
          /\.randlora_(?:lambda|gamma)$/.test(name) ||
          isBasesTensor(name) ||
          (config.dora && moduleOfMagnitude(name, MAGNITUDE) !== undefined),
        modules: new Set(modules),
        modulesToSave: config.modulesToSave,
        bias: config.bias !== "none",
      },
      base,
      shift,
    ),
    notes,
  };
}
