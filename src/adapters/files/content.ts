import type { JsonObject } from "../../files/lossless-json.ts";
import type { Adapter, AdapterTensor } from "./adapter.ts";

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
