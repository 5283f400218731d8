import type { Adapter, AdapterContent } from "../files/adapter.ts";
import type { Linears } from "../../models/blocks/linears.ts";
import type { Addend, Method, PassKind, Placement, Trainable } from "../method/training.ts";
import { itemAt } from "../../files/item-at.ts";
import type { AdapterPlan, DeltasOnGpu, DeltaSource, LayerDelta } from "../method/plan.ts";
import { deltaSource } from "./on-device.ts";

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

/** Of each layer of a sum: its number in each of the parts, -1 where a part has no such. */
type Indices = readonly (readonly number[])[];

/**
 * One adapter whose ΔW is the sum of those of its parts, which were fitted to the same base. The parts' ΔW form one after
 * the other in the same f32 target. PEFT has no such adapters, hence no rounding of theirs that could be followed.
 */
export function sumOfPlans(adapter: Adapter, parts: readonly AdapterPlan[]): AdapterPlan {
  const byModule = new Map(parts.flatMap(({ layers }) => layers.map((layer) => [layer.module, layer])));
  const layers = [...byModule.values()];
  const indices = layers.map(({ module }) =>
    parts.map((part) => part.layers.findIndex((one) => one.module === module)),
  );
  return {
    adapter,
    layers,
    replacements: parts.flatMap(({ replacements }) => replacements),
    notes: parts.flatMap(({ notes }) => notes),
    bases: parts.find(({ bases }) => bases !== "none")?.bases ?? "none",
    roundsDelta: false,
    async load(signal) {
      const sources: DeltaSource[] = [];
      for (const part of parts) sources.push(await part.load(signal));
      return sumOfSources(sources, indices);
    },
  };
}

function sumOfSources(sources: readonly DeltaSource[], layers: Indices): DeltaSource {
  return deltaSource(layers, {
    async share(gpu, staging) {
      const parts: DeltasOnGpu[] = [];
      for (const source of sources) parts.push(await source.upload(gpu, staging));
      return parts;
    },
    async place(indices, parts, { owner, factor, weight }) {
      const deltas: LayerDelta[] = [];
      for (const [part, index] of partsOf(parts, indices)) {
        const delta = await part.layer(index, factor, weight);
        owner.defer(() => delta.release());
        deltas.push(delta);
      }
      return (run, block) => {
        for (const [at, { form }] of deltas.entries()) form(run, at === 0 ? block : { ...block, accumulate: true });
      };
    },
    async reference(indices, { factor, sample, weight }) {
      const sum = new Float64Array(sample.rows.length * sample.cols.length);
      for (const [source, index] of partsOf(sources, indices)) {
        const delta = await source.reference(index, factor, sample, weight);
        delta.forEach((value, at) => (sum[at] = itemAt(sum, at) + value));
      }
      return sum;
    },
  });
}

/** Those that have the layer, with its number there. */
function partsOf<T>(parts: readonly T[], indices: readonly number[]): (readonly [T, number])[] {
  return parts.flatMap((part, at) => {
    const index = indices[at] ?? -1;
    return index < 0 ? [] : [[part, index] as const];
  });
}
