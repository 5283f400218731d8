import { type DeviceOptions, openDevice } from "../../compute/open-device.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import { RandloraError } from "../../files/errors.ts";
import { visible } from "../../files/visible.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { formatAmount, formatMeasure, formatNumber, formatShare } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { ModulesBar, type WorkSurface } from "../../terminal/progress.ts";
import { formatTable } from "../../terminal/table.ts";
import { type FindBase, openModel } from "../base/named-base.ts";
import { type Conversion, writeAdapter } from "../formats/convert.ts";
import { lora } from "../lora/method.ts";
import { openDeltas } from "../merge/in-memory/deltas.ts";
import { openAdapter } from "../formats/open.ts";
import {
  type Kept,
  type KeptShare,
  type LoraOfDeltas,
  loraOfDeltas,
  loraWork,
  refuseAllExperts,
  replacesModules,
} from "./to-lora.ts";

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

/** What `randlora convert --to lora` is told. */
interface LoraFlags extends Kept {
  readonly out: string;
  readonly base: string | undefined;
  readonly generator: GeneratorName | undefined;
  readonly force: boolean;
}

/** A LoRA that keeps less of ‖ΔW‖² is another adapter rather than the same one in other files. */
const ENOUGH = 0.9;

/** Writes the LoRA that is nearest to an adapter's ΔW, and shows how near that is. @param path of the adapter */
export async function convertToLora(path: string, { base, ...wish }: LoraFlags, context: Context): Promise<void> {
  if (wish.rank === undefined && wish.energy === undefined) {
    const hint = "give --rank R, or the part of ‖ΔW‖² to keep: --energy 0.99 (1 keeps all)";
    throw new RandloraError("usage", "--to lora needs --rank or --energy", hint);
  }
  const ofBase = base && (await localPath(base, "model", context));
  const findBase = ofBase === undefined ? undefined : async () => await openModel(ofBase, base);
  try {
    const options = { ...wish, base: findBase, device: context.device };
    const written = await writeLora(path, options, context, context.signal);
    const { energy } = written.all;
    if (wish.rank !== undefined && energy < Math.min(ENOUGH, wish.energy ?? 1)) {
      const cause = `--rank ${wish.rank} keeps ${formatShare(energy)} of ‖ΔW‖²: the LoRA differs from the adapter`;
      context.log.warn(`${cause}; a higher --rank keeps more`);
    }
    context.result(loraJson(written), () => loraText(written, context), "files");
  } catch (thrown) {
    if (context.signal.aborted) context.log.info("cancelled; nothing written");
    throw thrown;
  }
}

interface KeptJson {
  /** Part of ‖ΔW‖² that is kept. */
  readonly energy: number;
  /** Norm of what is left out. */
  readonly frobenius_error: number;
  readonly frobenius_norm: number;
}

/** @json convert --to lora */
interface LoraJson extends KeptJson {
  readonly out: string;
  readonly to: "lora";
  readonly tensors: number;
  /** The highest. */
  readonly rank: number;
  /** module, rank and the same figures. */
  readonly modules: readonly object[];
}

function loraJson({ out, tensors, modules, all }: WrittenLora): LoraJson {
  const figures = ({ energy, error, norm }: KeptShare): KeptJson => ({
    energy,
    frobenius_error: error,
    frobenius_norm: norm,
  });
  return {
    out,
    to: "lora",
    tensors,
    rank: Math.max(...modules.map(({ rank }) => rank)),
    ...figures(all),
    modules: modules.map((one) => ({ module: one.module, rank: one.rank, ...figures(one) })),
  };
}

function loraText({ out, modules, all }: WrittenLora, { columns, style }: Context): string {
  const row = (name: string, rank: string, { energy, error, norm }: KeptShare) => [
    name,
    rank,
    formatMeasure(norm),
    formatMeasure(error),
    formatShare(energy),
  ];
  const byLayer = new Intl.Collator("en", { numeric: true });
  const sorted = modules.toSorted((a, b) => byLayer.compare(a.module, b.module));
  const rows = sorted.map((one) => row(visible(one.module), formatNumber(one.rank), one));
  const head = ["ΔW of", "rank", "norm", "error", "energy kept"];
  const table = formatTable([...rows, row("all", "", all)], { head, align: "lrrrr", columns, markHead: style.dim });
  return `${table}\n${style.bold(out)}: a LoRA of ${formatAmount(modules.length, "module")}\n`;
}
