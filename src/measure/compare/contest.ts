import { detectable, pairedP, pairsToTell, type Spread, spreadOf } from "./statistics.ts";
import { itemAt } from "../../files/item-at.ts";
import type { Contest, Measure, MethodSummary, RunResult } from "./options.ts";
import { type Comparison, type Contender, familyOf, isReference } from "./types.ts";

/** Distance of the trainable parameters from the budget, as a part of it, up to which a method is in the contest. */
export const FAIR_DISTANCE = 0.25;
/** The most that the chance may be to name a winner among methods that are equal. */
const LEVEL = 0.05;
/** The part of it that the first look at the results spends; each later one spends half of what is left. */
const FIRST_LOOK = 0.8;
/** Seeds beyond which nobody is told how many it takes. */
const MOST_SEEDS = 100;

/** The results of one contender, in the order of seeds. */
export function resultsOf({ label, budget }: Contender, results: readonly RunResult[]): readonly RunResult[] {
  return results
    .filter((one) => one.method === label && one.budget === budget)
    .toSorted((one, other) => one.seed - other.seed);
}

/** Means over the seeds, of every contender in the order of the comparison. */
export function summaries({ contenders }: Comparison, results: readonly RunResult[]): readonly MethodSummary[] {
  return contenders.map((contender) => {
    const own = resultsOf(contender, results);
    const good = own.filter(({ error }) => error === null);
    const of = (
      key: Measure | "valid_loss_before" | "valid_loss" | "accuracy" | "forgetting" | "forgetting_error" | "seconds",
    ): Spread | null => {
      const values = good.flatMap(({ [key]: value }) => value ?? []);
      return values.length < own.length ? null : (spreadOf(values) ?? null);
    };
    const parameters = good[0]?.parameters ?? null;
    const { label: method, budget } = contender;
    return {
      method,
      budget,
      parameters,
      distance: parameters === null || budget === null ? null : (parameters - budget) / budget,
      runs: own.length,
      failed: own.length - good.length,
      loss: of("loss"),
      valid_loss_before: of("valid_loss_before"),
      valid_loss: of("valid_loss"),
      best_valid_loss: of("best_valid_loss"),
      accuracy: of("accuracy"),
      forgetting: of("forgetting"),
      seconds: of("seconds"),
      forgetting_error: of("forgetting_error")?.mean ?? null,
      peak_bytes: good.reduce<number | null>((most, { peak_bytes: bytes }) => largest(most, bytes), null),
    };
  });
}

/** The larger one; what was not measured says nothing. */
function largest(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.max(one, other);
}

/** What these results are judged by. */
export function measureOf(results: readonly RunResult[]): Measure {
  return results.some(({ best_valid_loss: loss }) => loss !== null) ? "best_valid_loss" : "loss";
}

/**
 * The winner at each budget, where there is one: the method of the lowest mean, if it is lower than that of each other one
 * by Student's paired t test (seeds are the pairs: data and order are the same), at {@link levelOf}. Among methods that are
 * equal a winner is named in at most 5 % of comparisons, whatever their budgets and however often more seeds were added.
 * Of a method that is swept any value may win: each counts in the level, as it could be best by chance, but is no rival of the
 * others, as the best one is chosen.
 */
export function contests(comparison: Comparison, results: readonly RunResult[]): readonly Contest[] {
  return comparison.budgets.map((budget) => {
    const judged_by = measureOf(results);
    const contenders = comparison.contenders.filter((one) => one.budget === budget && !isReference(one));
    const left_out = contenders
      .filter((contender) => resultsOf(contender, results).some((one) => one.error !== null || !isAtBudget(one)))
      .map(({ label }) => label);
    return { budget, judged_by, ...judge(contenders, results, judged_by, comparison), left_out };
  });
}

/**
 * The level of each test, two-sided: each of `methods` could be best by chance, at each budget, at each look (Bonferroni).
 * @param look from 0, how often more seeds were asked for once all were done
 */
function levelOf({ budgets, dropped }: Comparison, methods: number, look: number): number {
  const share = look === 0 ? FIRST_LOOK : (1 - FIRST_LOOK) / 2 ** look;
  return (2 * LEVEL * share) / ((methods + dropped.length) * budgets.length);
}

/** The difference that all seeds can tell, in standard deviations of the differences between two methods; none for one seed. */
export function toldBySeeds(comparison: Comparison): number | undefined {
  const { budgets, contenders, seeds, looks } = comparison;
  const methods = contenders.filter((one) => one.budget === budgets[0]).length;
  return seeds < 2 || methods < 2 ? undefined : detectable(seeds, levelOf(comparison, methods, looks.length));
}

interface Standing {
  readonly label: string;
  readonly values: readonly number[];
  readonly mean: number;
}

function judge(
  contenders: readonly Contender[],
  results: readonly RunResult[],
  measure: Measure,
  comparison: Comparison,
): Pick<Contest, "winner" | "reason" | "among"> {
  const { seeds, looks } = comparison;
  let among: readonly string[] = [];
  const none = (reason: string) => ({ winner: null, reason, among });
  const runs = contenders.map((contender) => resultsOf(contender, results));
  if (runs.some((own) => own.length < seeds)) return none("not all runs are done");
  if (seeds < 2) return none("one seed says nothing of the spread");
  const standings: Standing[] = [];
  for (const [at, own] of runs.entries()) {
    const values = own.flatMap(({ [measure]: value }) => (value === null ? [] : [value]));
    const mean = spreadOf(values)?.mean;
    if (values.length < seeds || mean === undefined || !own.every(isAtBudget)) continue;
    standings.push({ label: contenders[at]?.label ?? "", values, mean });
  }
  const ranked = standings.toSorted((one, other) => one.mean - other.mean);
  among = ranked.map(({ label }) => label);
  const [best, ...others] = ranked;
  if (best === undefined) return none("no method came near the budget, and to its end, with every seed");
  // A sweep of a single method compares its values.
  const isSingle = others.every(({ label }) => familyOf(label) === familyOf(best.label));
  const rivals = others.filter(({ label }) => isSingle || familyOf(label) !== familyOf(best.label));
  const [second] = rivals;
  if (second === undefined) return none(`${best.label} alone came near the budget, and to its end, with every seed`);
  const level = levelOf(comparison, standings.length, looks.length);
  for (const { label, values } of rivals) {
    const differences = values.map((value, seed) => value - itemAt(best.values, seed));
    const p = pairedP(differences);
    if (!(p < level)) {
      const difference = `${best.label} has the lowest mean, but its distance to ${label} may be chance`;
      const next = levelOf(comparison, standings.length, looks.length + 1);
      return none(`${difference} (p = ${inWords(p)}, below ${inWords(level)} would tell): ${wayOn(differences, next)}`);
    }
  }
  const margin = second.mean - best.mean;
  const each = rivals.length === others.length ? "each other one" : "each of other methods";
  return {
    winner: best.label,
    reason: `${margin.toPrecision(3)} lower than ${second.label}; lower than ${each} with p < ${inWords(level)}`,
    among,
  };
}

/** How many seeds would tell, if the difference is what it seems. */
function wayOn(differences: readonly number[], level: number): string {
  const { mean, deviation } = spreadOf(differences) ?? { mean: 0, deviation: null };
  const seeds = pairsToTell(Math.abs(mean) / (deviation ?? NaN), level, MOST_SEEDS);
  return seeds === undefined
    ? `${MOST_SEEDS} seeds would not tell it`
    : `if it is real, about ${seeds} seeds would tell`;
}

function isAtBudget({ parameters, budget }: RunResult): boolean {
  return parameters !== null && budget !== null && Math.abs(parameters - budget) <= FAIR_DISTANCE * budget;
}

function inWords(p: number): string {
  return p < 0.001 ? p.toExponential(1) : String(Number(p.toPrecision(2)));
}
