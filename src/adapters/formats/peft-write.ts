import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { naming } from "../../files/failure.ts";
import { SafetensorsWriter } from "../../files/safetensors/writer.ts";
import type { AdapterContent } from "../files/content.ts";
import { stringifyLossless } from "../../files/lossless-json.ts";
import type { MethodDefinition } from "../method/method.ts";
import { peftReadme } from "./readme.ts";
import { BASES_KEY, PEFT_CONFIG, PEFT_PREFIX, PEFT_WEIGHTS } from "./peft.ts";
import { sharedName } from "../files/shared-tensors.ts";

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
