import { Contradiction, RandloraError } from "../../files/errors.ts";
import { isGgufName } from "../../files/gguf/format.ts";
import { adapterOrModel, findKind, openAdapter } from "../formats/open.ts";
import { localPath } from "../../models/folder/local-path.ts";
import { locateModel } from "../../models/folder/locate.ts";
import type { Context } from "../../terminal/options/command.ts";
import { BytesBar } from "../../terminal/progress.ts";
import { convertAdapter } from "../formats/convert.ts";
import type { ConvertFlags } from "./convert-options.ts";
import { writeGgufAdapter } from "./gguf-adapter.ts";
import type { Outtype } from "../merge/to-files/options.ts";
import { writeModel } from "../merge/to-files/merge-command.ts";
import { methodOfAdapter } from "../methods.ts";
import { convertToLora } from "./write-lora.ts";

/** Writes an adapter in another format, or a model as GGUF. @throws RandloraError `usage` for options of other formats; as `convertAdapter` */
export async function convert(name: string, options: ConvertFlags, context: Context): Promise<void> {
  const { to, out, projections, force, outtype, pre, base, rank, energy, generator } = options;
  if (to === undefined) throw new RandloraError("usage", "--to is missing", "write --to peft, json, lora or gguf");
  if (out === undefined) {
    throw new RandloraError("usage", "--out is missing", "name a folder (peft, lora) or a file (json, gguf)");
  }
  for (const option of Object.keys(ONLY_FOR) as (keyof typeof ONLY_FOR)[]) {
    const formats = ONLY_FOR[option];
    if (formats.includes(to) || options[option] === undefined) continue;
    const hint = `leave it out, or --to ${formats.join(" or ")}`;
    throw new Contradiction([option], `--${option} is not for ${to}`, hint);
  }
  if (to === "gguf") return await toGguf(name, { out, outtype, pre, base, force }, context);
  if (to === "lora") {
    const path = await localPath(name, "adapter", context);
    return await convertToLora(path, { out, rank, energy, generator, base, force }, context);
  }
  await using adapter = await openAdapter(await localPath(name, "adapter", context));
  using bar = new BytesBar(context, "converting");
  const result = await convertAdapter(adapter, {
    to,
    out,
    projections: projections === undefined ? undefined : projections === "yes",
    force,
    signal: context.signal,
    onProgress: (read, total) => bar.update(read, total),
  }).catch((thrown: unknown) => {
    if (context.signal.aborted) context.log.info("cancelled; nothing written");
    throw thrown;
  });
  bar[Symbol.dispose]();
  for (const note of result.notes) context.log.warn(note);
  const { tensors, generator: drawnBy } = result;
  const hasBases = methodOfAdapter(adapter).shared.length > 0;
  const data: ConvertJson = {
    out: result.out,
    to,
    tensors,
    generator: drawnBy ?? null,
    projections: result.projections,
  };
  const render = () => {
    const drawn = `bases drawn by ${drawnBy ?? "an unknown generator"}`;
    const bases = !hasBases ? "no bases" : result.projections ? "bases included" : drawn;
    return `${result.out}: ${tensors} tensors, ${bases}\n`;
  };
  context.result(data, render, "files");
}

/** @json convert */
interface ConvertJson {
  readonly out: string;
  readonly to: string;
  readonly tensors: number;
  /** What draws the bases; not with --to gguf. */
  readonly generator?: string | null;
  /** Saved? Not with --to gguf. */
  readonly projections?: boolean;
}

/** Options that only some formats have. */
const ONLY_FOR: Readonly<
  Record<"projections" | "outtype" | "pre" | "base" | "rank" | "energy" | "generator", readonly string[]>
> = {
  projections: ["peft", "json"],
  outtype: ["gguf"],
  pre: ["gguf"],
  base: ["gguf", "lora"],
  rank: ["lora"],
  energy: ["lora"],
  generator: ["lora"],
};

interface GgufWish {
  readonly out: string;
  readonly outtype: Outtype | undefined;
  readonly pre: string | undefined;
  readonly base: string | undefined;
  readonly force: boolean;
}

/** A model becomes llama.cpp's model file, a LoRA its adapter file. */
async function toGguf(name: string, wish: GgufWish, context: Context): Promise<void> {
  if (!isGgufName(wish.out)) {
    throw new RandloraError("usage", `--out ${wish.out}: not named as GGUF`, "name the file: --out FILE.gguf");
  }
  const { kind, path } = await findKind(await adapterOrModel(name, "model", context));
  const { out, tensors } =
    kind === "adapter" ? await adapterToGguf(path, wish, context) : await modelToGguf(path, wish, context);
  const data: ConvertJson = { out, to: "gguf", tensors };
  context.result(data, () => `${out}: ${tensors} tensors\n`, "files");
}

async function modelToGguf(path: string, { base, ...wish }: GgufWish, context: Context) {
  if (base !== undefined)
    throw new RandloraError("usage", "--base is for an adapter", `leave it out: ${path} is a model`);
  return await writeModel(path, { ...wish, outtype: wish.outtype ?? "keep" }, context);
}

async function adapterToGguf(path: string, { out, outtype, pre, base, force }: GgufWish, context: Context) {
  if (pre !== undefined)
    throw new RandloraError("usage", "--pre is for a model", `leave it out: ${path} is an adapter`);
  await using adapter = await openAdapter(path);
  const folder = base && (await locateModel(await localPath(base, "config", context))).folder;
  return await writeGgufAdapter(adapter, { out, base: folder, outtype: outtype ?? "keep", force });
}
