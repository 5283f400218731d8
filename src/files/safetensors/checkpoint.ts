import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { RandloraError } from "../errors.ts";
import { naming, oneLine, quote } from "../failure.ts";
import { dividedTensor } from "./divided.ts";
import { SafetensorsFile } from "./file.ts";
import type { CheckpointTensor, TensorFile, TensorInfo, WholeTensor } from "./header.ts";
import { type CheckpointIndex, readIndex } from "./index-file.ts";
import { packedTensors } from "./packed.ts";
import { INDEX_FILE, SINGLE_FILE } from "./shards.ts";

/** Tensors that are read by ranges: a checkpoint's, or what adapters make of them. */
export interface TensorReader {
  /** The model's, for messages. */
  readonly folder: string;
  readonly tensors: ReadonlyMap<string, ReadableTensor>;
  /** The tensor called `name`. @throws RandloraError "format" when there is none */
  get(name: string): ReadableTensor;
  /** Fills all of `out` with the bytes of tensor `name` from its byte `start` on. */
  read(name: string, out: Uint8Array, start?: number): Promise<void>;
  /** The same of the blocks of a tensor that has `blocks`. */
  readBlocks(name: string, out: Uint8Array, start?: number): Promise<void>;
}

export interface ReadableTensor {
  /** Where it comes from, for messages. */
  readonly file: { readonly path: string };
  readonly info: Pick<TensorInfo, "dtype" | "shape" | "bytes" | "blocks">;
}

/** The tensors that are to be several ones, by name, and the rows of each in their order. */
export type Divisions = ReadonlyMap<string, readonly WholeTensor[]>;

/** Where a checkpoint's weights are: found without opening them. */
interface Location {
  readonly folder: string;
  readonly files: readonly string[];
  readonly index: CheckpointIndex | undefined;
  readonly indexPath: string | undefined;
}

/**
 * A model's weights, in one file or in many, as one thing. Every shard's header has been read and checked; weights are
 * read by ranges. Use with `await using`, or call {@link close}.
 */
export class Checkpoint implements TensorReader, AsyncDisposable {
  /** The folder with config.json and the tokenizer: that of the weights, as a rule. */
  readonly folder: string;
  /** The files that hold the weights, sorted by name. Others beside them belong to no checkpoint. */
  readonly files: readonly TensorFile[];
  /** Every tensor by name; in the order of the files and, inside each, of the bytes, so that reading is sequential. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** The index file of a sharded checkpoint. */
  readonly indexPath: string | undefined;
  /** `metadata` of the index file: `total_size` and whatever else; empty without one. */
  readonly indexMetadata: Readonly<Record<string, unknown>>;

  private constructor(location: Location, files: readonly TensorFile[], present: Presents) {
    this.folder = location.folder;
    this.files = files;
    this.indexPath = location.indexPath;
    this.indexMetadata = location.index?.metadata ?? {};
    this.tensors = collect(files, location, present);
  }

  /**
   * Opens a model folder, an index.json or one .safetensors file. In a folder an index decides (files that it does not
   * name are ignored); without one it is model.safetensors, else the only .safetensors file that is not an adapter.
   * Throws `RandloraError` "file" or "format": nothing found, a shard missing, a tensor not in its shard or in two.
   * @param divisions of tensors of files in this folder that are to be several
   */
  static async open(
    path: string,
    divisions: (folder: string, tensors: readonly WholeTensor[]) => Promise<Divisions> = async () => new Map(),
  ): Promise<Checkpoint> {
    const location = await locate(path);
    const files: SafetensorsFile[] = [];
    try {
      for (const name of location.files) files.push(await openShard(location, name));
      const packed = packedTensors(files);
      const read: Presents = (stored) => packed.get(stored.info.name) ?? [stored];
      const tensors = files.flatMap((file) => file.header.tensors.flatMap((info) => read({ file, info })));
      const asked = await divisions(
        location.folder,
        tensors.map(({ info }) => info),
      );
      return new Checkpoint(location, files, (stored) => divided(read(stored), asked));
    } catch (thrown) {
      await Promise.all(files.map((file) => file.close()));
      throw thrown;
    }
  }

  /** One file that is no safetensors, whose settings are in `folder`. */
  static of(folder: string, file: TensorFile): Checkpoint {
    const location = { folder, files: [], index: undefined, indexPath: undefined };
    return new Checkpoint(location, [file], (stored) => [stored]);
  }

  /** Bytes of all tensors. */
  get bytes(): number {
    let sum = 0;
    for (const { info } of this.tensors.values()) sum += info.bytes;
    return sum;
  }

  /** Every file that was read: what an output must not be. */
  get paths(): string[] {
    const shards = this.files.map((file) => file.path);
    return this.indexPath === undefined ? shards : [this.indexPath, ...shards];
  }

  /** The tensor called `name`. Throws `RandloraError` "format" when there is none. */
  get(name: string): CheckpointTensor {
    const tensor = this.tensors.get(name);
    if (tensor !== undefined) return tensor;
    const where = this.files.length === 1 ? (this.files[0]?.path ?? this.folder) : this.folder;
    throw new RandloraError("format", `${oneLine(where)}: no tensor ${quote(name)}`);
  }

  /** Fills all of `out` with the bytes of tensor `name` from its byte `start` on, as {@link SafetensorsFile.read}. */
  async read(name: string, out: Uint8Array, start = 0): Promise<void> {
    const { file, info } = this.get(name);
    await file.read(info, out, start);
  }

  /** Fills all of `out` with the blocks of a tensor that has some, from byte `start` on. */
  async readBlocks(name: string, out: Uint8Array, start = 0): Promise<void> {
    const { file, info } = this.get(name);
    if (file.readBlocks === undefined) throw new TypeError(`${name} has no blocks`);
    await file.readBlocks(info, out, start);
  }

  /** Closes every file; a second call does nothing. */
  async close(): Promise<void> {
    await Promise.all(this.files.map((file) => file.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** What stands for a tensor of a file. */
type Presents = (stored: CheckpointTensor) => readonly CheckpointTensor[];

function divided(tensors: readonly CheckpointTensor[], divisions: Divisions): CheckpointTensor[] {
  return tensors.flatMap((tensor) => {
    const parts = divisions.get(tensor.info.name);
    return parts === undefined ? [tensor] : dividedTensor(tensor, parts);
  });
}

/** All tensors by name; an index must agree with what the files hold. */
function collect(
  files: readonly TensorFile[],
  { folder, index, indexPath }: Location,
  present: Presents,
): Map<string, CheckpointTensor> {
  const tensors = new Map<string, CheckpointTensor>();
  const paths = new Map<string, string>();
  for (const file of files) {
    for (const info of file.header.byOffset) {
      paths.set(info.name, file.path);
      for (const one of present({ file, info })) {
        const other = tensors.get(one.info.name);
        if (other !== undefined) {
          const cause = `tensor ${quote(one.info.name)} is also in ${basename(other.file.path)}`;
          throw new RandloraError("format", `${oneLine(file.path)}: ${cause}`, "the index mixes two checkpoints");
        }
        tensors.set(one.info.name, one);
      }
    }
  }
  for (const [name, shard] of index?.shardOf ?? []) {
    if (paths.get(name) !== join(folder, shard)) {
      const cause = `tensor ${quote(name)} is not in ${oneLine(shard)}`;
      const hint = "the index and the shards do not belong together: download the model again";
      throw new RandloraError("format", `${oneLine(indexPath ?? "")}: ${cause}`, hint);
    }
  }
  return tensors;
}

async function openShard({ folder, indexPath }: Location, name: string): Promise<SafetensorsFile> {
  const path = join(folder, name);
  if (indexPath !== undefined && !(await isFile(path))) {
    const cause = `shard ${quote(name)} is missing`;
    throw new RandloraError("file", `${oneLine(indexPath)}: ${cause}`, "the model is incomplete: download it again");
  }
  return SafetensorsFile.open(path);
}

async function locate(path: string): Promise<Location> {
  if ((await naming(path, "read", stat(path))).isDirectory()) return locateInFolder(path);
  if (/^adapter(?:_config)?\.json$/.test(basename(path))) throw isAdapter(path);
  if (path.endsWith(".json")) return locateByIndex(path);
  const refused = refusedFormat([basename(path)]);
  if (refused !== undefined) throw new RandloraError("format", `${oneLine(path)}: ${refused.cause}`, refused.hint);
  return { folder: dirname(path), files: [basename(path)], index: undefined, indexPath: undefined };
}

async function locateByIndex(indexPath: string): Promise<Location> {
  const index = await readIndex(indexPath);
  return { folder: dirname(indexPath), files: [...new Set(index.shardOf.values())].toSorted(), index, indexPath };
}

async function locateInFolder(folder: string): Promise<Location> {
  const names = (await naming(folder, "read", readdir(folder))).toSorted();
  if (names.includes(INDEX_FILE)) return locateByIndex(join(folder, INDEX_FILE));
  const found = names.filter((name) => name.endsWith(".safetensors") && name !== "adapter_model.safetensors");
  const file = found.includes(SINGLE_FILE) ? SINGLE_FILE : found[0];
  if (file !== undefined && (file === SINGLE_FILE || found.length === 1)) {
    return { folder, files: [file], index: undefined, indexPath: undefined };
  }
  if (found.length > 0) {
    const cause = `${found.length} .safetensors files, but neither ${SINGLE_FILE} nor ${INDEX_FILE}`;
    throw new RandloraError("format", `${oneLine(folder)}: ${cause}`, "name one of the files, or an index.json");
  }
  if (names.includes("adapter_config.json") || names.includes("adapter.json")) throw isAdapter(folder);
  const refused = refusedFormat(names);
  throw new RandloraError(
    "format",
    `${oneLine(folder)}: no .safetensors weights${refused === undefined ? "" : `: ${refused.cause}`}`,
    refused?.hint ?? "name a Hugging Face model folder, an index.json or a .safetensors file",
  );
}

function isAdapter(path: string): RandloraError {
  const hint = "the model comes first, adapters after it: randlora merge BASE ADAPTER";
  return new RandloraError("format", `${oneLine(path)}: an adapter, not a model`, hint);
}

/** Why weights in another format are not taken, when one of the names is of that kind. */
function refusedFormat(names: readonly string[]): { cause: string; hint: string } | undefined {
  const pickle = names.find((name) => /\.(?:bin|pt|pth|ckpt)(?:\.index\.json)?$/.test(name));
  if (pickle !== undefined) {
    const hint = "load it with transformers and save it with save_pretrained(..., safe_serialization=True)";
    return { cause: `${oneLine(pickle)} holds pickled weights, which are not read`, hint };
  }
  const gguf = names.find((name) => name.endsWith(".gguf"));
  if (gguf === undefined) return undefined;
  return { cause: `${oneLine(gguf)} is GGUF`, hint: "name the file itself: FOLDER/FILE.gguf" };
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
