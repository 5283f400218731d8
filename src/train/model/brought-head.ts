import { dirname } from "node:path";
import { itemAt } from "../../files/item-at.ts";
import { openAdapter } from "../../adapters/formats/open.ts";
import type { Adapter } from "../../adapters/files/adapter.ts";
import { classesBeside } from "../../adapters/merge/new-head.ts";

/** The module that transformers calls a head. */
export const HEAD = "classifier";

/** The head that an adapter brings: `linear` has a bias, `cls` none. */
export interface BroughtHead {
  readonly kind: "linear" | "cls";
  readonly classes: number;
}

/** Undefined for an adapter without a head. */
export function headOf({ tensors }: Adapter): BroughtHead | undefined {
  const weight = tensors.get(`${HEAD}.weight`);
  if (weight === undefined) return undefined;
  return { kind: tensors.has(`${HEAD}.bias`) ? "linear" : "cls", classes: itemAt(weight.shape, 0) };
}

/**
 * The names of the classes that an adapter's head knows, in the order of its rows; undefined without a head, and where
 * nothing names them.
 * @throws RandloraError `file`, `format`: names that do not fit the head among them
 */
export async function classesOf(path: string): Promise<readonly string[] | undefined> {
  await using adapter = await openAdapter(path);
  const head = headOf(adapter);
  return head && (await classesBeside(dirname(adapter.file), head.classes));
}
