import { type BaseModel, isOfExpert } from "../../base/base.ts";
import { isExpertParameter } from "../../base/experts.ts";
import { methodOfAdapter } from "../../methods.ts";
import { withoutReplacements } from "../../base/replacements.ts";
import { settingsAsIs } from "../../method/fit.ts";
import type { Method, Placement, SharedParts } from "../../method/training.ts";
import { Parameters } from "../../method/parameters.ts";
import type { Adapter } from "../../files/adapter.ts";
import type { Device } from "../../../compute/device/device.ts";
import { ownedBy } from "../../../compute/device/owned.ts";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { formatBytes } from "../../../terminal/format.ts";
import type { OutputTensor } from "../plan.ts";
import type { Decoder } from "../../../models/decoder/decoder.ts";
import { type AdapterLinears, type Linears, PLAIN_LINEARS } from "../../../models/blocks/linears.ts";
import { isOfOtherPart } from "../../../models/decoder/config.ts";
import { plannedMatrices } from "../../../models/decoder/weight-plan.ts";
import type { GeneratorName } from "../../../compute/random/names.ts";
import { Run } from "../../../compute/tensor/run.ts";
import { type AdapterChoice, MergedCheckpoint } from "../merged-checkpoint.ts";

/** What is left of a method once it is placed. */
type PlacedMethod = Pick<Method, "over" | "linears" | "joint">;

export interface UnmergedOptions {
  readonly generator?: GeneratorName | undefined;
  readonly signal?: AbortSignal | undefined;
  /** They are for some rows of a pass: what they replace whole would be everybody's, and is refused. */
  readonly forRows?: boolean | undefined;
  /** Where they find what they have in common with others of the decoder's device. */
  readonly shared?: SharedParts | undefined;
}

/**
 * Adapters beside weights that stay what they are, because they are quantized, or others' rows go through them as well: y = x Wᵀ + x ΔWᵀ, the second product in f32
 * and through the factors, as training computes it; ΔW itself is held only where it has none. Tensors that adapters replace whole are not its affair: see
 * `ApplyOptions.beside`.
 */
export interface UnmergedAdapters extends Disposable {
  /** The decoder's projections with all of them. */
  readonly linears: Linears;
  /** The same over what others compute. */
  readonly over: AdapterLinears;
  /** For the user: one line each. */
  readonly notes: readonly string[];
}

/**
 * Checks the adapters, and places them on the decoder's device.
 * @param path of the checkpoint that the decoder was loaded from
 * @throws RandloraError `adapter` for what does not fit the model, or cannot be added without being merged; `file`,
 *   `format`, `memory`; the signal's reason when it is aborted
 */
export async function placeUnmerged(
  decoder: Decoder,
  path: string,
  choices: readonly AdapterChoice[],
  options: UnmergedOptions = {},
): Promise<UnmergedAdapters> {
  await using adapters = await open(decoder, path, choices, options);
  const { opened, merged, notes, adaptsExperts } = adapters;
  const { base } = merged.base;
  using owner = new DisposableStack();
  const gpu = ownedBy(owner, decoder.gpu);
  const placed: PlacedMethod[] = [];
  for (const { adapter, factor } of opened) {
    options.signal?.throwIfAborted();
    placed.push(await placeOne({ gpu, owner }, decoder, { path, base }, adapter, factor, options));
  }
  await gpu.idle();
  const over = overAll(placed, adaptsExperts);
  const held = owner.move();
  return { linears: over(PLAIN_LINEARS), over, notes, [Symbol.dispose]: () => held.dispose() };
}

/** Finds out whether `placeUnmerged` would take these. @returns notes for the user. @throws RandloraError as that */
export async function checkUnmerged(
  decoder: Decoder,
  path: string,
  choices: readonly AdapterChoice[],
  options: UnmergedOptions = {},
): Promise<readonly string[]> {
  await using opened = await open(decoder, path, choices, options);
  return opened.notes;
}

/** Opens the adapters and the base, and refuses what has no place beside weights that nothing is merged into. */
async function open(
  { config, weights }: Decoder,
  path: string,
  choices: readonly AdapterChoice[],
  { generator, forRows = false }: UnmergedOptions,
) {
  await using resources = new AsyncDisposableStack();
  const merged = resources.use(await MergedCheckpoint.open(path, choices, { generator }));
  const { plans, changes } = merged;
  const notes = [...merged.notes];
  for (const { adapter, layers, rescales } of plans) {
    if (rescales === true && plans.length > 1) {
      throw refusal(adapter, "its ΔW depends on the weights, which the other adapters change");
    }
    const { title, training } = methodOfAdapter(adapter);
    if (training.formsWhole === true) {
      if (forRows) throw refusal(adapter, `${title}'s ΔW has no factors, and would be held whole by each adapter`);
      const bytes = layers.reduce((sum, { out, in: input }) => sum + 4 * out * input, 0);
      notes.push(`${title}'s ΔW has no factors: it is held in f32 beside the weights, ${formatBytes(bytes)}`);
    }
    const other = layers.find(({ tensor }) => !weights.projected.has(tensor) && !isOfOtherPart(config, tensor));
    if (other !== undefined) {
      throw refusal(adapter, `its ΔW of ${quote(other.tensor)} is of no matrix within a layer`);
    }
  }
  // What replaces a quantized matrix within a layer would be rounded, and what is added to one that another adapter replaces is not
  // W's. The embedding and the output matrix get memory of their own.
  const isReplaced = ({ work }: OutputTensor) => work.kind !== "merge" || work.source.fromAdapter;
  const replaced = changes.find((change) => isReplaced(change) && (forRows || weights.projected.has(change.name)));
  const [first] = plans;
  if (replaced !== undefined && first !== undefined) {
    throw refusal(first.adapter, `${quote(replaced.name)} is replaced whole`);
  }
  const kept = resources.move();
  return {
    merged,
    opened: plans.flatMap(({ adapter, layers, replacements }, index) => {
      const factor = choices[index]?.scale ?? 1;
      return layers.length === 0 ? [] : [{ adapter: withoutReplacements(adapter, replacements), factor }];
    }),
    notes,
    adaptsExperts: plans.some(({ layers }) => layers.some(({ module }) => isAnyExpert(module))),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Is ΔW of one expert's matrix, or of those of all experts of a layer? */
function isAnyExpert(module: string): boolean {
  return isOfExpert(module) || isExpertParameter(module);
}

function refusal({ path }: Adapter, cause: string): RandloraError {
  const hint = "merge it (randlora merge), and give the merged model --quantize";
  return new RandloraError("adapter", `${oneLine(path)}: cannot be added without being merged: ${cause}`, hint);
}

async function placeOne(
  { gpu, owner }: { readonly gpu: Device; readonly owner: DisposableStack },
  { config, weights }: Decoder,
  { path, base }: { readonly path: string; readonly base: BaseModel },
  adapter: Adapter,
  factor: number,
  { generator, signal, shared }: UnmergedOptions,
): Promise<PlacedMethod> {
  const { training } = methodOfAdapter(adapter);
  const matrices = plannedMatrices(config);
  const input = { base, matrices, model: path, dtype: "keep", seed: 0, began: undefined, signal } as const;
  const trainable = await training.open(input, settingsAsIs(training, adapter, generator), adapter);
  const parameters = new Parameters(gpu, trainable.parameters, undefined, false);
  // Nothing is planned by sizes of a pass: there is one way beside weights.
  const sizes = { tokens: 1, microBatches: 1, budget: 0 };
  const place = { ...sizes, staging: gpu.staging, beside: true, choices: undefined } as const;
  const { tensors } = weights;
  const share: Placement["share"] = shared && ((key, make) => shared.take(owner, key, make));
  const method = await trainable.place({ gpu, parameters, tensors, factor, place, share });
  using run = new Run(gpu);
  method.prepare(run);
  await run.submit();
  // Not what a run would save, which keeps the bases in the host's memory.
  const { over, linears, joint } = method;
  return { over, linears, joint };
}

/** x Wᵀ + Σ x ΔWᵀ: each adds its share, or where it does more than add it is alone, and computes all of it. */
function overAll(placed: readonly PlacedMethod[], adaptsExperts: boolean): AdapterLinears {
  const pass = { kind: "evaluate" } as const;
  const over = (linears: Linears) =>
    placed.reduce((below, method) => method.over?.(pass, below) ?? method.linears(pass), linears);
  return Object.assign(over, { joint: placed.length === 1 ? placed[0]?.joint : undefined, adaptsExperts });
}
