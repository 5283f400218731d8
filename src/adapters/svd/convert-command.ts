import type { GeneratorName } from "../../compute/random/names.ts";
import { RandloraError } from "../../files/errors.ts";
import { visible } from "../../files/visible.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { formatAmount, formatMeasure, formatNumber, formatShare } from "../../terminal/format.ts";
import type { Context } from "../../terminal/options/command.ts";
import { formatTable } from "../../terminal/table.ts";
import { openModel } from "../base/named-base.ts";
import type { Kept } from "./best-factors.ts";
import type { KeptShare } from "./to-lora.ts";
import { writeLora, type WrittenLora } from "./write-lora.ts";

/** What `randlora convert --to lora` is told. */
export interface LoraFlags extends Kept {
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
