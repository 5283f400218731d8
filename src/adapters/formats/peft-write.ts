import { parseRepository } from "../../files/hub/name.ts";
import type { AdapterContent } from "../files/adapter.ts";
import { isInPeft, type MethodDefinition } from "../method/method.ts";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { naming } from "../../files/failure.ts";
import { SafetensorsWriter } from "../../files/safetensors/writer.ts";
import { stringifyLossless } from "../../files/lossless-json.ts";
import { BASES_KEY, PEFT_CONFIG, PEFT_PREFIX, PEFT_WEIGHTS } from "./peft.ts";
import { sharedName } from "../files/shared-tensors.ts";

/** The README.md of a PEFT folder: a model card as the Hub reads it, and how to use what is there. */
export function peftReadme(
  content: AdapterContent,
  method: Pick<MethodDefinition, "title" | "ownTypes" | "peftWarning">,
): string {
  const { title, peftWarning } = method;
  const { config, bases } = content;
  const inPeft = isInPeft(method, config);
  const base = config["base_model_name_or_path"];
  const onHub = typeof base === "string" && parseRepository(base) !== undefined;
  const loads = inPeft
    ? `PEFT loads this folder${onHub ? ` on top of \`${base}\`` : ""}`
    : "PEFT, which has no such adapters, cannot load it";
  const generator = bases?.["generator"];
  const warning = inPeft ? peftWarning?.(content) : undefined;
  return [
    "---",
    ...(inPeft ? ["library_name: peft"] : []),
    ...(onHub ? [`base_model: ${base}`] : []),
    "tags:",
    "  - randlora",
    "---",
    "",
    `# ${title} adapter`,
    "",
    `Written by randlora. ${loads}; \`randlora merge BASE .\` adds it to the weights.`,
    ...(warning === undefined ? [] : ["", warning]),
    ...(typeof generator === "string" ? ["", `Its random bases are drawn by \`${generator}\`.`] : []),
    "",
  ].join("\n");
}

const PIECE = 8 << 20;

/**
 * Writes the files of a PEFT folder into `folder`, which must exist and be empty: give it a temporary name first
 * (Publication). One pair of bases is written, or none: PEFT loads either. `readme` is the text of README.md.
 * Throws `RandloraError` "file".
 */
export async function writePeft(
  folder: string,
  content: AdapterContent,
  method: Pick<MethodDefinition, "title" | "shared" | "ownTypes" | "peftWarning">,
  readme = peftReadme(content, method),
): Promise<void> {
  const configPath = join(folder, PEFT_CONFIG);
  await naming(configPath, "write", writeFile(configPath, `${stringifyLossless(content.config)}\n`));
  const readmePath = join(folder, "README.md");
  await naming(readmePath, "write", writeFile(readmePath, readme));
  await writeWeights(join(folder, PEFT_WEIGHTS), content, new Set(method.shared.map(sharedName)));
}

/** @param wrappers the tensors that hang on PEFT's own wrapper; everything else is on the base model below it */
async function writeWeights(
  path: string,
  { tensors, bases, metadata }: AdapterContent,
  wrappers: ReadonlySet<string>,
): Promise<void> {
  const named = tensors.map((tensor) => ({
    tensor,
    name: wrappers.has(tensor.name) ? tensor.name : PEFT_PREFIX + tensor.name,
  }));
  const planned = named.map(({ tensor: { dtype, shape }, name }) => ({ name, dtype, shape }));
  const written = new Map([["format", "pt"], ...metadata]);
  if (bases !== undefined) written.set(BASES_KEY, stringifyLossless(bases, 0));
  await using writer = await SafetensorsWriter.create(path, planned, written);
  for (const { tensor, name } of named) {
    for (let start = 0; start < tensor.bytes; start += PIECE) {
      const piece = new Uint8Array(Math.min(PIECE, tensor.bytes - start));
      await tensor.read(piece, start);
      await writer.append(name, piece);
    }
  }
  await writer.finish();
}
