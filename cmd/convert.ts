import {
  choice,
  type Context,
  defineCommand,
  flag,
  integer,
  number,
  required,
  text,
} from "../src/terminal/options/command.ts";
import { BytesBar } from "../src/terminal/progress.ts";
import { OUTTYPES, type Outtype } from "../src/adapters/merge/outtypes.ts";
import { GENERATOR_NAMES } from "../src/compute/random/names.ts";

/** `randlora convert ADAPTER|MODEL --to peft|json|lora|gguf --out PATH`. */
export const command = defineCommand({
  name: "convert",
  otherNames: ["export"],
  summary:
    "Write an adapter as a PEFT folder, an adapter.json or a LoRA; a model or a LoRA as GGUF for llama.cpp and Ollama",
  example: "randlora convert my-model --to gguf --out my-model.gguf",
  arguments: {
    adapter: required(
      "ADAPTER",
      "an adapter: a PEFT folder, an adapter.json, a run folder, or a name on the Hub; for gguf also a MODEL",
    ),
  },
  options: {
    to: choice(["peft", "json", "lora", "gguf"], {
      topic: "Output",
      help: "format to write; lora: the LoRA nearest to any method's ΔW, a PEFT folder",
    }),
    out: text({
      value: "PATH",
      short: "o",
      topic: "Output",
      help: "output: a folder (peft, lora) or a file (json, gguf)",
    }),
    rank: integer({
      value: "R",
      min: 1,
      topic: "LoRA",
      help: "lora: rank of each module, or the highest beside --energy",
    }),
    energy: number({
      value: "E",
      above: 0,
      max: 1,
      topic: "LoRA",
      help: "lora: part of ‖ΔW‖² that each module keeps, by the lowest rank that does; 1 keeps all",
    }),
    generator: choice(GENERATOR_NAMES, {
      value: "NAME",
      topic: "LoRA",
      help: `lora: random generator of the bases, if the adapter does not record it: ${GENERATOR_NAMES.join(", ")}`,
    }),
    projections: choice(["yes", "no"], {
      topic: "Output",
      help: "save the random bases, or leave them to be generated again",
      defaultText: "yes for peft; for json only when nothing can draw them again",
    }),
    outtype: choice(OUTTYPES, {
      topic: "Output",
      help: "gguf: storage type of the matrices",
      defaultText: "keep",
    }),
    pre: text({
      value: "NAME",
      topic: "Output",
      help: "gguf: llama.cpp's name of the pre-tokenizer, if the tokenizer is unknown",
    }),
    base: text({
      value: "MODEL",
      topic: "Output",
      help: "base model; gguf: of a LoRA, of which config.json suffices; lora: of an adapter",
      defaultText: "as the adapter says",
    }),
    force: flag({ topic: "Output", help: "replace an existing output" }),
  },
  async run({ adapter: name }, options, context) {
    const { Contradiction, RandloraError } = await import("../src/files/errors.ts");
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
      const { localPath } = await import("../src/models/folder/local-path.ts");
      const { convertToLora } = await import("../src/adapters/svd/convert-command.ts");
      const path = await localPath(name, "adapter", context);
      return await convertToLora(path, { out, rank, energy, generator, base, force }, context);
    }
    const { localPath } = await import("../src/models/folder/local-path.ts");
    const { openAdapter } = await import("../src/adapters/open.ts");
    const { methodOfAdapter } = await import("../src/adapters/methods.ts");
    const { convertAdapter } = await import("../src/adapters/convert.ts");
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
    const data = {
      out: result.out,
      to,
      tensors,
      generator: drawnBy ?? null,
      projections: result.projections,
    };
    context.result(data, () => {
      const drawn = `bases drawn by ${drawnBy ?? "an unknown generator"}`;
      const bases = !hasBases ? "no bases" : result.projections ? "bases included" : drawn;
      return `${result.out}: ${tensors} tensors, ${bases}\n`;
    });
  },
});

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
  const { RandloraError } = await import("../src/files/errors.ts");
  const { isGgufName } = await import("../src/files/gguf/format.ts");
  if (!isGgufName(wish.out)) {
    throw new RandloraError("usage", `--out ${wish.out}: not named as GGUF`, "name the file: --out FILE.gguf");
  }
  const { adapterOrModel } = await import("../src/measure/analyze/adapter-or-model.ts");
  const { findKind } = await import("../src/measure/inspect/find-kind.ts");
  const { kind, path } = await findKind(await adapterOrModel(name, "model", context));
  const { out, tensors } =
    kind === "adapter" ? await adapterToGguf(path, wish, context) : await modelToGguf(path, wish, context);
  context.result({ out, to: "gguf", tensors }, () => `${out}: ${tensors} tensors\n`);
}

async function modelToGguf(path: string, { base, ...wish }: GgufWish, context: Context) {
  const { RandloraError } = await import("../src/files/errors.ts");
  if (base !== undefined)
    throw new RandloraError("usage", "--base is for an adapter", `leave it out: ${path} is a model`);
  const { writeModel } = await import("../src/adapters/merge/to-files/merge-command.ts");
  return await writeModel(path, { ...wish, outtype: wish.outtype ?? "keep" }, context);
}

async function adapterToGguf(path: string, { out, outtype, pre, base, force }: GgufWish, context: Context) {
  const { RandloraError } = await import("../src/files/errors.ts");
  if (pre !== undefined)
    throw new RandloraError("usage", "--pre is for a model", `leave it out: ${path} is an adapter`);
  const { localPath } = await import("../src/models/folder/local-path.ts");
  const { locateModel } = await import("../src/models/folder/locate.ts");
  const { openAdapter } = await import("../src/adapters/open.ts");
  const { writeGgufAdapter } = await import("../src/adapters/gguf-adapter.ts");
  await using adapter = await openAdapter(path);
  const folder = base && (await locateModel(await localPath(base, "config", context))).folder;
  return await writeGgufAdapter(adapter, { out, base: folder, outtype: outtype ?? "keep", force });
}
