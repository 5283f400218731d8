import { closeSync, existsSync, openSync, readFileSync, readSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { decode } from "./rounding.ts";

const Entry = v.object({
  dtype: v.string(),
  shape: v.array(v.number()),
  data_offsets: v.tuple([v.number(), v.number()]),
});
const Header = v.record(v.string(), v.unknown());
const Index = v.object({ weight_map: v.record(v.string(), v.string()) });

/** A tensor of a file on disk, read when asked for. */
export interface StoredTensor {
  dtype: string;
  shape: number[];
  bytes(): Uint8Array;
  values(): Float32Array | Float64Array;
}

/**
 * All tensors of one `.safetensors` file, or of a model folder, by name. Kept apart from `src/files/safetensors`, so that a
 * mistake there cannot hide itself; it trusts its input and checks only what a comparison would not notice.
 */
export function openTensors(path: string): Map<string, StoredTensor> {
  if (statSync(path).isFile()) return new Map(tensorsOf(path));
  const index = join(path, "model.safetensors.index.json");
  if (!existsSync(index)) return new Map(tensorsOf(join(path, "model.safetensors")));
  const { weight_map: map } = v.parse(Index, JSON.parse(readFileSync(index, "utf8")));
  const files = readdirSync(path).filter((name) => name.endsWith(".safetensors"));
  const found = new Map<string, StoredTensor>();
  for (const file of files) {
    for (const [name, tensor] of tensorsOf(join(path, file))) {
      if (map[name] !== file) throw new Error(`${index} does not say that ${name} is in ${file}`);
      found.set(name, tensor);
    }
  }
  for (const name of Object.keys(map))
    if (!found.has(name)) throw new Error(`${index} names ${name}, which no shard holds`);
  return found;
}

function* tensorsOf(file: string): Generator<[string, StoredTensor]> {
  const length = Number(new DataView(read(file, 0, 8).buffer).getBigUint64(0, true));
  const header = v.parse(Header, JSON.parse(new TextDecoder().decode(read(file, 8, 8 + length))));
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const { dtype, shape, data_offsets: offsets } = v.parse(Entry, value);
    const bytes = (): Uint8Array => read(file, 8 + length + offsets[0], 8 + length + offsets[1]);
    yield [name, { dtype, shape, bytes, values: () => decode(dtype, bytes()) }];
  }
}

function read(file: string, start: number, end: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(end - start);
  const descriptor = openSync(file, "r");
  try {
    for (let done = 0; done < bytes.length;) {
      const count = readSync(descriptor, bytes, done, bytes.length - done, start + done);
      if (count === 0) throw new Error(`${file} ends early`);
      done += count;
    }
  } finally {
    closeSync(descriptor);
  }
  return bytes;
}
