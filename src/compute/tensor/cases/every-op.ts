import type { Op, Roles } from "../op.ts";
import { OPS } from "../ops/index.ts";
import type { OpCase } from "./case.ts";
import { CASES } from "./cases.ts";

/** What is done with an op and its cases; the types of both stay together. */
export type Visit = <I extends Roles, A, O extends Roles>(op: Op<I, A, O>, cases: readonly OpCase<I, A>[]) => void;

/** Visits every op of the registry. `CASES` has those of each op: that they belong together is what its type says. */
export function visitOps(visit: Visit): void {
  const cases: Readonly<Record<string, readonly OpCase<Roles, object>[]>> = CASES;
  for (const [name, op] of Object.entries<Op<Roles, object, Roles>>(OPS)) visit(op, cases[name] ?? []);
}
