import type { AdapterTraining, OpenInput, TrainedMethod } from "../../adapters/method/method.ts";
import { isAdapterMethod } from "../../adapters/methods.ts";
import type { Trainable } from "../../adapters/method/training.ts";
import type { Adapter } from "../../adapters/files/adapter.ts";
import { isOfExpert } from "../../adapters/base/base.ts";
import { isExpertParameter } from "../../adapters/base/experts.ts";
import { findTargets } from "../../adapters/base/target-modules.ts";
import { NAMED_BLOCKS } from "../../compute/device/dtype.ts";
import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";
import { NAMED_DTYPES } from "../../files/safetensors/dtype.ts";
import type { WeightOptions } from "../../models/weight-format.ts";
import { openInitial } from "./init-adapter.ts";
import { type AllAdapterSettings, asGiven, flagOf, type TrainSettings } from "../settings/settings.ts";

/** What is trained, and the adapter that it goes on from, which is open until the run is over. */
export interface OpenedAdapter {
  readonly trainable: Trainable;
  readonly adapter: Adapter | undefined;
}

/**
 * Opens what is trained of an adapter.
 * @param training the method's
 * @param own the part of an adapter to go on from that is the method's own
 * @throws RandloraError `usage` for a rank that is too large for the adapted layers; as `openInitial` and the method
 */
export async function openAdapted(
  method: TrainedMethod,
  training: AdapterTraining,
  { adapter: settings }: TrainSettings,
  input: OpenInput,
  own: (adapter: Adapter) => Adapter = (adapter) => adapter,
): Promise<OpenedAdapter> {
  if (settings === null) throw new TypeError(`${method.name} without settings of an adapter`);
  const { initAdapter, initSha256 } = settings;
  const others = isAdapterMethod(method) ? method.beginsWith : undefined;
  const wanted = { method: method.name, initSha256 };
  const adapter = initAdapter === null ? undefined : await openInitial(initAdapter, wanted, others);
  try {
    if (adapter === undefined) refuseLargeRank(training, settings, input);
    const trainable = await training.open(input, settings, adapter && own(adapter));
    refuseDropout(trainable, settings);
    return { trainable, adapter };
  } catch (thrown) {
    await adapter?.close();
    throw thrown;
  }
}

/** PEFT has no dropout where it adapts parameters of experts; neither have the methods that PEFT does not support there. */
function refuseDropout({ modules }: Trainable, { dropout }: AllAdapterSettings): void {
  const ofExpert = modules.find(({ name }) => isOfExpert(name) || isExpertParameter(name));
  if (dropout === 0 || ofExpert === undefined) return;
  const cause = `--dropout ${dropout}: adapters of experts (${quote(ofExpert.name)}) have none`;
  throw new RandloraError("usage", cause, "leave --dropout out, or experts out of --targets");
}

/** A rank that is never refused: PEFT takes any, and what is drawn at this one is small. */
const SMALL_RANK = 1024;

/**
 * Refuses a rank above the longest side of all adapted layers (and above {@link SMALL_RANK}), before anything of that
 * size is drawn.
 */
function refuseLargeRank(
  { adaptsParameters }: AdapterTraining,
  settings: AllAdapterSettings,
  { base }: OpenInput,
): void {
  const { modules } = findTargets(base, settings, { parameters: adaptsParameters });
  const longest = Math.max(SMALL_RANK, ...modules.flatMap(({ out, in: input }) => [out, input]));
  for (const key of ["rank", "loraRank"] as const) {
    const rank = settings[key] ?? 0;
    if (rank <= longest) continue;
    const [widest] = modules.toSorted((a, b) => Math.max(b.out, b.in) - Math.max(a.out, a.in));
    const cause = `${asGiven(key, rank)}: the largest adapted layer is ${widest?.out} × ${widest?.in}`;
    throw new RandloraError("usage", cause, `give ${flagOf(key)} ${longest} or less`);
  }
}

/** How the settings hold a frozen base. */
export function heldAs({ dtype, quantize }: TrainSettings): Pick<WeightOptions, "dtype" | "quantize"> {
  return {
    dtype: dtype === "keep" ? undefined : NAMED_DTYPES[dtype],
    quantize: quantize === null ? undefined : NAMED_BLOCKS[quantize],
  };
}
