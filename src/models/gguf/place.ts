// Where the weights of a module of a checkpoint are in a GGUF file.
import type { Norm } from "../blocks/norm.ts";
import type { PlannedMatrix } from "../tensor-plan.ts";
import type { Order } from "./order.ts";

/** Rows of a tensor of a checkpoint that lie together in one of a GGUF file, which has the rows of others, too. */
export interface Strip {
  readonly name: string;
  /** Of the file's whole tensor, outermost first. */
  readonly shape: readonly number[];
  /** Rows before it there, and its own: elements, where the tensor has one axis. */
  readonly first: number;
  readonly rows: number;
}

/** What is done to each number of a tensor, and back. */
export interface Numbers {
  readonly to: (x: number) => number;
  readonly from: (x: number) => number;
}

/** Where a module of a checkpoint, or a tensor of it, goes, and what is done to its elements. */
export interface GgufPlace {
  readonly name: string;
  /** What stands behind the module's name in the tensor's; `.weight` by default. */
  readonly suffix?: string;
  /** One after another, what a file has in several tensors, or with others; undefined: the tensor is one there as well. */
  readonly strips?: readonly Strip[] | undefined;
  /** Matrices that are never rounded. */
  readonly exact?: boolean;
  /** A matrix that the checkpoint stores transposed, and the file does not. */
  readonly transposed?: boolean;
  readonly order?: Order;
  readonly numbers?: Numbers;
}

export type Named = [module: string, place: GgufPlace];

/** Gemma's norms, and others, store their weights without an offset, and a file has them with it. */
export function normNamed(norm: Norm<PlannedMatrix> | undefined, name: string): Named[] {
  const offset = norm?.kind === "rms" ? norm.offset : 0;
  const numbers = { to: (x: number) => x + offset, from: (x: number) => x - offset };
  return named(norm?.weight, [name], offset === 0 ? {} : { numbers });
}

/** @param place what holds of all of its tensors */
export function named(
  matrix: PlannedMatrix | undefined,
  names: readonly string[],
  place: Partial<GgufPlace> = {},
): Named[] {
  const turned = matrix?.transposed === true ? { transposed: true } : {};
  return (matrix?.parts ?? []).map((part, at): Named => {
    return [part.name.replace(/\.weight$/, ""), { ...place, name: names[at] ?? "", ...turned }];
  });
}
