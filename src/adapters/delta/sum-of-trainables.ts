import type { AdapterContent } from "../files/content.ts";
import type { Linears } from "../../models/blocks/linears.ts";
import type { Addend, Method, PassKind, Placement, Trainable } from "../method/training.ts";

/**
 * Several methods on the same weights: ΔW is the sum of theirs, and all parts are trained in one run. The first computes
 * the decoder's projections, the others add to what comes of it, in their order. Names of parameters, and of what the
 * methods choose for themselves, must differ.
 * @param join makes one adapter of those of the parts
 */
export function sumOfTrainables(
  first: Trainable,
  others: readonly Trainable<Addend>[],
  join: (contents: readonly AdapterContent[]) => AdapterContent,
): Trainable {
  const parts = [first, ...others];
  return {
    parameters: parts.flatMap(({ parameters }) => parameters),
    modules: joinedModules(parts),
    notes: parts.flatMap(({ notes }) => notes),
    place: (on) => place(on, first, others, join),
  };
}

/** One row a module, with the parameters of all parts. */
function joinedModules(parts: readonly Trainable[]): Trainable["modules"] {
  const rows = new Map<string, Trainable["modules"][number]>();
  for (const row of parts.flatMap(({ modules }) => modules)) {
    const before = rows.get(row.name);
    rows.set(row.name, { ...row, parameters: row.parameters + (before?.parameters ?? 0) });
  }
  return [...rows.values()];
}

async function place(
  on: Placement,
  first: Trainable,
  others: readonly Trainable<Addend>[],
  join: (contents: readonly AdapterContent[]) => AdapterContent,
): Promise<Method> {
  const base = await first.place(on);
  const addends: Addend[] = [];
  for (const other of others) addends.push(await other.place(on));
  const placed: readonly Method[] = [base, ...addends];
  const withOthers = (pass: PassKind, linears: Linears) =>
    addends.reduce((below, addend) => addend.over(pass, below), linears);
  const { over } = base;
  return {
    choices: Object.assign({}, ...placed.map(({ choices }) => choices)),
    begin: (run) => placed.forEach((method) => method.begin?.(run)),
    prepare: (run) => placed.forEach((method) => method.prepare(run)),
    watched: () => placed.flatMap((method) => method.watched()),
    linears: (pass) => withOthers(pass, base.linears(pass)),
    over: over && ((pass, below) => withOthers(pass, over(pass, below))),
    finish: (run) => placed.forEach((method) => method.finish(run)),
    content: async () => join(await Promise.all(placed.map(contentOf))),
  };
}

async function contentOf({ content }: Method): Promise<AdapterContent> {
  if (content === undefined) throw new TypeError("a part of a sum that is no adapter");
  return await content();
}
