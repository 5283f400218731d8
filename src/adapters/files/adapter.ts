import type { JsonObject } from "../../files/lossless-json.ts";
import type { Dtype } from "../../files/safetensors/dtype.ts";

/** What an adapter file will hold, whatever its format. An open {@link Adapter} has all of it but the order. */
export interface AdapterContent {
  /** PEFT's configuration, with the keys in the order in which they are written. */
  readonly config: JsonObject;
  readonly bases: JsonObject | undefined;
  /** In the order in which they are written; named as in {@link Adapter.tensors}. */
  readonly tensors: readonly AdapterTensor[];
  readonly metadata: ReadonlyMap<string, string>;
}

/** All that an open adapter holds. */
export function contentOf(adapter: Adapter): AdapterContent {
  const { config, bases, tensors, metadata } = adapter;
  return { config, bases, tensors: [...tensors.values()], metadata };
}

/** The keys of a configuration with numbers of JavaScript; integers that a double cannot hold are bigints. */
export type PlainConfig = Readonly<Record<string, unknown>>;

/** An adapter's settings and the file that they are from, for messages. */
export type WrittenSettings = Pick<Adapter, "settings" | "configFile">;

/** A tensor of an adapter: its description in memory, its bytes read when asked for. */
export interface AdapterTensor {
  /** PEFT's name without `base_model.model.`; the shared bases are `base_model.randlora_A` and `…_B`. */
  readonly name: string;
  readonly dtype: Dtype;
  /** Sizes of the dimensions, outermost first; elements are row-major and little-endian. */
  readonly shape: readonly number[];
  readonly bytes: number;
  /** Fills all of `out` from byte `start` on. Throws `RangeError` outside the tensor, `RandloraError` "file". */
  read(out: Uint8Array, start?: number): Promise<void>;
  /** All bytes in a new array: for small ones. */
  readAll(): Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * An adapter, whatever file it came from. Nothing but headers and configuration is in memory (an `adapter.json` apart,
 * which is small). Use with `await using`, or call {@link close}.
 */
export interface Adapter extends AsyncDisposable {
  /** What the user named, for messages. */
  readonly path: string;
  /** The file that holds the tensors, for messages. */
  readonly file: string;
  /** The file that holds the configuration, for messages. */
  readonly configFile: string;
  readonly format: "peft" | "json";
  /** The keys of PEFT's adapter_config.json as they were written, unknown ones too. */
  readonly config: JsonObject;
  /** The same with plain numbers: what a method checks and understands. */
  readonly settings: PlainConfig;
  /** `bases` of adapter.json or `randlora_bases` of the metadata, as written; see `parseBasesRecord`. */
  readonly bases: JsonObject | undefined;
  /** Every tensor but PEFT's copies of the shared bases, one a layer; in the order of the file. */
  readonly tensors: ReadonlyMap<string, AdapterTensor>;
  /** Whatever else the file's metadata says (`format` and `randlora_bases` left out). */
  readonly metadata: ReadonlyMap<string, string>;
  close(): Promise<void>;
}
