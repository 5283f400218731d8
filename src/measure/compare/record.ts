import * as v from "valibot";
import { RandloraError, Contradiction } from "../../files/errors.ts";
import { brief, oneLine, quote } from "../../files/failure.ts";
import type { SourceHashes } from "../../train/model/same-sources.ts";
import { formatSettings, parseTrainSettings, type FlatSettings, flagOf } from "../../train/settings/settings.ts";
import { plannedRuns } from "./plan.ts";
import { MOST_DRAWN, MOST_SEEDS, type RunResult } from "./options.ts";
import { type Comparison, type DrawnByBase, familyOf } from "./types.ts";
import { ADAPTER_SETTINGS } from "../../adapters/method/settings.ts";
import { RUN_OPTIONS } from "../../train/settings/options.ts";
import { changeable, refuseOthers } from "../../train/settings/resume-settings.ts";

/** What compare.json holds: what is compared, on what, and what came of it so far. */
export interface ComparisonRecord {
  readonly comparison: Comparison;
  /** Of the base, and of the data as runs of the first seed have them; comparisons of earlier versions have none. */
  readonly sources?: SourceHashes | undefined;
  readonly results: readonly RunResult[];
}

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const positive = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const amount = v.nullable(v.pipe(v.number(), v.finite()));
const label = v.pipe(v.string(), v.minLength(1), v.maxLength(200));

const RESULT = v.strictObject({
  method: label,
  budget: v.nullable(positive),
  seed: count,
  parameters: v.nullable(positive),
  steps: count,
  loss: amount,
  valid_loss_before: v.optional(amount),
  valid_loss: amount,
  best_valid_loss: amount,
  accuracy: amount,
  forgetting: v.optional(amount),
  forgetting_error: v.optional(amount),
  seconds: v.pipe(v.number(), v.finite(), v.minValue(0)),
  peak_bytes: v.nullable(count),
  error: v.nullable(v.string()),
});

const hash = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));

const RECORD = v.strictObject({
  format: v.literal("randlora-comparison"),
  version: v.literal(1),
  budgets: v.array(positive),
  like: v.nullable(v.string()),
  seed: count,
  seeds: v.pipe(positive, v.maxValue(MOST_SEEDS)),
  looks: v.optional(v.array(positive), []),
  dropped: v.optional(v.array(label), []),
  forgetting: v.optional(v.pipe(count, v.maxValue(MOST_DRAWN)), 0),
  sha256: v.optional(
    v.strictObject({ data: hash, pixels: v.optional(hash), base: v.optional(hash), config: v.optional(hash) }),
  ),
  methods: v.pipe(
    v.array(v.strictObject({ method: label, budget: v.nullable(positive), settings: v.unknown() })),
    v.minLength(1),
  ),
  results: v.array(RESULT),
});

/** The text of compare.json. */
export function formatRecord({ comparison, sources: sha256, results }: ComparisonRecord): string {
  const { budgets, like, contenders, seed, seeds, looks, dropped, forgetting } = comparison;
  const methods = contenders.map(({ label: method, budget, settings }) => {
    return { method, budget, settings: formatSettings(settings) };
  });
  const what = { format: "randlora-comparison", version: 1, budgets, like, seed, seeds, looks, dropped, forgetting };
  return `${JSON.stringify({ ...what, sha256, methods, results }, undefined, 2)}\n`;
}

/** Reads what {@link formatRecord} made. `file` is named in errors. @throws RandloraError `format` naming the key */
export function parseRecord(json: unknown, file: string): ComparisonRecord {
  const found = v.safeParse(RECORD, json);
  if (!found.success) {
    const [issue] = found.issues;
    throw damaged(file, `${quote(v.getDotPath(issue) ?? "")}: ${brief(issue.message)}`);
  }
  const { budgets, like, seed, seeds, looks, dropped, forgetting, sha256: sources, methods, results } = found.output;
  const contenders = methods.map(({ method, budget, settings }) => {
    return { label: method, budget, settings: parseTrainSettings(settings, `${file}: ${oneLine(method)}`) };
  });
  const comparison = { budgets, like, contenders, seed, seeds, looks, dropped, forgetting };
  refuseForeign(comparison, results, file);
  return { comparison, sources, results };
}

/** Reads a result that stands alone. `file` is named in errors. @throws RandloraError `format` */
export function parseResult(json: unknown, file: string): RunResult {
  const read = v.safeParse(RESULT, json);
  if (read.success) return read.output;
  throw damaged(file, brief(read.issues[0].message));
}

const loss = v.pipe(v.number(), v.finite());
const DRAWN = v.pipe(
  v.strictObject({
    texts: v.array(v.array(count)),
    base: v.object({ nll: loss, sums: v.array(v.strictObject({ nll: loss, tokens: count })) }),
  }),
  v.check(
    ({ texts, base: { sums } }) =>
      sums.length === texts.length && sums.every(({ tokens }, at) => tokens + 1 === texts[at]?.length),
    "its losses are not those of its texts",
  ),
);

/** Reads the texts that the base drew. `file` is named in errors. @throws RandloraError `format` */
export function parseDrawn(json: unknown, file: string): DrawnByBase {
  const read = v.safeParse(DRAWN, json);
  if (read.success) return read.output;
  throw damaged(file, brief(read.issues[0].message));
}

/** What belongs to no run, or to a run twice, came from elsewhere. */
function refuseForeign(comparison: Comparison, results: readonly RunResult[], file: string): void {
  const runs = plannedRuns(comparison);
  if (new Set(runs.map(({ name }) => name)).size < runs.length) throw damaged(file, "two methods of one name");
  const known = new Set(runs.map(({ contender, settings }) => keyOf(contender.label, contender.budget, settings.seed)));
  for (const { method, budget, seed } of results) {
    if (!known.delete(keyOf(method, budget, seed))) {
      throw damaged(file, `"results": ${quote(method)} with seed ${seed} is no run of it, or is there twice`);
    }
  }
}

/** Tells the runs of a comparison apart. */
export function keyOf(method: string, budget: number | null, seed: number): string {
  return JSON.stringify([method, budget, seed]);
}

function damaged(file: string, cause: string): RandloraError {
  const hint = "the file was changed, or another version of randlora wrote it: start a new comparison";
  return new RandloraError("format", `${oneLine(file)}: ${cause}`, hint);
}

/** What was given when a comparison is resumed; undefined where nothing was. */
export interface Given {
  readonly labels: readonly string[] | undefined;
  readonly budgets: readonly number[] | undefined;
  readonly like: string | undefined;
  readonly seeds: number | undefined;
  readonly forgetting: number | undefined;
  /** By label. */
  readonly rates: ReadonlyMap<string, readonly number[]>;
  readonly alphas: ReadonlyMap<string, readonly number[]>;
  readonly common: Partial<FlatSettings>;
}

/**
 * What a comparison that is resumed compares: what it did, with as many seeds or more, perhaps without some methods.
 * @throws RandloraError `usage` naming the flag that contradicts it
 */
export function resumedComparison(recorded: Comparison, given: Given): Comparison {
  const { labels, budgets, like, seeds = recorded.seeds, forgetting = recorded.forgetting, common } = given;
  const had = [...new Set(recorded.contenders.map(({ label }) => label))];
  const isOther = (wanted: readonly unknown[], own: readonly unknown[]) =>
    JSON.stringify(wanted.toSorted()) !== JSON.stringify(own.toSorted());
  // A method's name means all values that were swept.
  const isNamed = (label: string) => labels?.some((name) => name === label || name === familyOf(label)) ?? true;
  if (labels?.some((name) => !had.some((label) => name === label || name === familyOf(label))) === true)
    throw contradiction("methods", labels.join(","), had.join(","));
  if (budgets !== undefined && isOther([...new Set(budgets)], recorded.budgets)) {
    throw contradiction("params", budgets.join(","), recorded.budgets.join(","));
  }
  if (like !== undefined && like !== recorded.like) throw contradiction("like", like, recorded.like ?? "none");
  if (forgetting !== recorded.forgetting) {
    throw contradiction("forgetting", String(forgetting), String(recorded.forgetting));
  }
  if (seeds < recorded.seeds) throw contradiction("seeds", String(seeds), String(recorded.seeds));
  for (const { label, settings } of recorded.contenders) {
    const family = recorded.contenders.filter((one) => familyOf(one.label) === familyOf(label));
    const swept = [
      ["learningRate", given.rates.get(label), settings.learningRate, family.map((one) => one.settings.learningRate)],
      ["alpha", given.alphas.get(label), settings.adapter?.alpha, family.map((one) => one.settings.adapter?.alpha)],
    ] as const;
    for (const [key, values, own, all] of swept) {
      if (own === undefined || values === undefined) continue;
      if (values.includes(own) && values.every((value) => all.some((one) => one === value))) continue;
      throw contradiction(key, `${label}=${values.join(",")}`, [...new Set(all)].join(","));
    }
    // A method that trains the model itself has no settings of adapters.
    const isForeign = (key: string) => settings.adapter === null && key in ADAPTER_SETTINGS;
    const changed = changeable(RUN_OPTIONS, common, "comparison");
    refuseOthers(settings, common, (key) => key in changed || isForeign(key), { what: "comparison" });
  }
  const dropped = had.filter((label) => !isNamed(label));
  const contenders = recorded.contenders.filter(({ label }) => !dropped.includes(label));
  return { ...recorded, contenders, seeds, dropped: [...recorded.dropped, ...dropped] };
}

function contradiction(key: string, wanted: string, had: string): Contradiction {
  const flag = flagOf(key);
  const cause = `${flag} ${wanted}: the comparison cannot be resumed with another value; it had ${had}`;
  return new Contradiction([key, "resume"], cause, `leave ${flag} out, or start a new comparison`);
}
