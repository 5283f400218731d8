import { rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { GeneratorName } from "../../compute/random/names.ts";
import { Publication } from "../../files/publish.ts";
import { MAX_SETTINGS_BYTES, readWhole } from "../../files/read-whole.ts";
import { oneLine, naming } from "../../files/failure.ts";
import { modelFolderObjection } from "../../files/model-files.ts";
import type { Adapter, AdapterContent, AdapterTensor } from "../files/adapter.ts";
import { beginClassesBeside, CLASSES_FILE, classesText } from "../files/classes-file.ts";
import { writeJson } from "./json.ts";
import { methodOfAdapter } from "../methods.ts";
import { type ConversionWish, type ConvertedContent, isInPeft, type MethodDefinition } from "../method/method.ts";
import { parseRepository } from "../../files/hub/name.ts";
import { SafetensorsWriter } from "../../files/safetensors/writer.ts";
import { stringifyLossless } from "../../files/lossless-json.ts";
import { BASES_KEY, PEFT_CONFIG, PEFT_PREFIX, PEFT_WEIGHTS } from "./peft.ts";
import { sharedName } from "../files/tensors.ts";

/** What to convert to, and where. */
export interface ConvertOptions extends ConversionWish {
  /** A folder (`peft`) or a file (`json`). */
  readonly out: string;
  /** Replace an existing output. */
  readonly force?: boolean;
  /** Told how many bytes have been read, of those of all tensors. */
  readonly onProgress?: (read: number, total: number) => void;
}

/** What was written. */
export interface Conversion {
  /** Absolute path. */
  readonly out: string;
  readonly to: "peft" | "json";
  /** Number of tensors, the bases included where they were written. */
  readonly tensors: number;
  /** What draws the bases, where that is known. */
  readonly generator: GeneratorName | undefined;
  /** Whether the bases themselves were written. */
  readonly projections: boolean;
  readonly notes: readonly string[];
}

/**
 * Writes an adapter in the other format, or the same one, losing nothing: every tensor bit for bit, every key of its
 * configuration, and beside it the names of its head's classes. The output appears when it is complete. Throws `RandloraError`.
 */
export async function convertAdapter(adapter: Adapter, options: ConvertOptions): Promise<Conversion> {
  const { to } = options;
  const method = methodOfAdapter(adapter);
  let converted: ConvertedContent | undefined;
  const written = await writeAdapter(adapter, { ...options, method, readme: await ownReadme(adapter) }, async () => {
    converted = await method.convert(adapter, options);
    return converted.content;
  });
  const { generator, projections = false, notes = [] } = converted ?? {};
  const foreign = to === "peft" && !isInPeft(method, adapter.config) ? [notInPeft(adapter)] : [];
  return { ...written, to, generator, projections, notes: [...notes, ...foreign] };
}

function notInPeft({ path, config }: Adapter): string {
  const type = typeof config["peft_type"] === "string" ? config["peft_type"] : "";
  return `${oneLine(path)}: PEFT has no ${type} and cannot load the folder; --to lora makes a LoRA, which it loads`;
}

/** What is written, beside the content: where, and as what. */
export interface WriteOptions extends Pick<ConvertOptions, "to" | "out" | "force" | "signal" | "onProgress"> {
  /** Of what is written. */
  readonly method: Parameters<typeof writePeft>[2];
  /** Of a PEFT folder; undefined: one that says what is there. */
  readonly readme?: string | undefined;
}

/**
 * Writes what was made of an adapter, which is never replaced by it, and beside it the names of its head's classes.
 * @param make gives the content, once it is known that it can be written
 * @returns the absolute path of the output and its number of tensors
 * @throws RandloraError `file`, and as `make` does
 */
export async function writeAdapter(
  adapter: Adapter,
  { to, out, force = false, signal, onProgress, method, readme }: WriteOptions,
  make: () => Promise<AdapterContent>,
): Promise<Pick<Conversion, "out" | "tensors">> {
  const inputs = [...new Set([adapter.file, adapter.configFile])];
  const kind = to === "peft" ? "folder" : "file";
  await using publication = await Publication.begin(out, { kind, force, inputs, objection: modelFolderObjection });
  const made = await make();
  const total = made.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  let read = 0;
  const onRead = (bytes: number) => onProgress?.((read += bytes), total);
  const content = { ...made, tensors: made.tensors.map((tensor) => watched(tensor, onRead, signal)) };
  const classes = await classesText(adapter);
  await using beside =
    to === "json" && classes !== undefined ? await beginClassesBeside(publication.target, classes) : undefined;
  if (to === "json") await writeJson(publication.partPath, content);
  else {
    await writePeft(publication.partPath, content, method, readme);
    if (classes !== undefined) await writeFile(join(publication.partPath, CLASSES_FILE), classes);
  }
  signal?.throwIfAborted();
  // The adapter last: it never appears without its classes.
  await beside?.commit();
  try {
    await publication.commit();
  } catch (thrown) {
    if (beside !== undefined) await rm(beside.target, { force: true });
    throw thrown;
  }
  return { out: publication.target, tensors: content.tensors.length };
}

/** A tensor that is not read on, piece by piece, once the signal is aborted: saved bases may be gigabytes. */
function watched(
  tensor: AdapterTensor,
  onRead: (bytes: number) => void,
  signal: AbortSignal | undefined,
): AdapterTensor {
  const { name, dtype, shape, bytes } = tensor;
  const read = async (out: Uint8Array, start?: number): Promise<void> => {
    signal?.throwIfAborted();
    await tensor.read(out, start);
    onRead(out.length);
  };
  return { name, dtype, shape, bytes, read, readAll: () => tensor.readAll() };
}

/** The model card of a PEFT folder, which belongs to the adapter. */
async function ownReadme(adapter: Adapter): Promise<string | undefined> {
  if (adapter.format !== "peft") return undefined;
  try {
    return new TextDecoder().decode(
      await readWhole(join(dirname(adapter.configFile), "README.md"), MAX_SETTINGS_BYTES),
    );
  } catch {
    return undefined;
  }
}

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
