import { type DeviceOptions, openDevice } from "../../compute/open-device.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { ModulesBar, type WorkSurface } from "../../terminal/progress.ts";
import type { FindBase } from "../base/named-base.ts";
import { type Conversion, writeAdapter } from "../formats/convert.ts";
import { lora } from "../lora/method.ts";
import { openDeltas } from "../merge/in-memory/deltas.ts";
import { openAdapter } from "../formats/open.ts";
import type { Kept } from "./best-factors.ts";
import { type LoraOfDeltas, loraOfDeltas, loraWork, refuseAllExperts, replacesModules } from "./to-lora.ts";

/** What to make a LoRA of, and where to put it. */
export interface WriteLoraOptions extends Kept {
  readonly out: string;
  readonly force: boolean;
  /** Undefined: the model that the adapter names. */
  readonly base: FindBase | undefined;
  readonly generator: GeneratorName | undefined;
  readonly device: DeviceOptions;
}

/** What was written. */
export interface WrittenLora extends Omit<LoraOfDeltas, "content">, Pick<Conversion, "out" | "tensors"> {}

/**
 * Writes the LoRA that is nearest to an adapter's ΔW as a PEFT folder, which appears when it is complete.
 * @param path of the adapter
 * @throws RandloraError as `openDeltas` and `writeAdapter`; the signal's reason when it is aborted
 */
export async function writeLora(
  path: string,
  { out, force, base, generator, device: options, ...kept }: WriteLoraOptions,
  surface: WorkSurface,
  signal: AbortSignal,
): Promise<WrittenLora> {
  await using adapter = await openAdapter(path);
  refuseAllExperts(adapter);
  const choice = { generator, layers: [], base, onBase: replacesModules(adapter) };
  await using resources = new AsyncDisposableStack();
  let made: Omit<LoraOfDeltas, "content"> | undefined;
  const written = await writeAdapter(adapter, { to: "peft", out, force, signal, method: lora }, async () => {
    const device = await openDevice(options);
    resources.defer(() => device.close());
    // Open until all is written: tensors are copied from its file.
    const deltas = resources.use(await openDeltas(device, path, choice, signal));
    for (const note of deltas.plan.notes) surface.log.warn(note);
    const total = { modules: deltas.chosen.length, operations: loraWork(deltas, kept) };
    using bar = new ModulesBar(surface, "singular values", total);
    const { content, ...rest } = await loraOfDeltas(deltas, kept, bar, signal);
    made = rest;
    if (rest.all.norm === 0) surface.log.warn("ΔW is zero: the adapter was not trained, or its best step is 0");
    return content;
  });
  if (made === undefined) throw new TypeError(`${out} was written without content`);
  return { ...written, ...made };
}
