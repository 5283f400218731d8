import { ADAPTER_SETTINGS } from "../../adapters/method/settings.ts";
import { Contradiction } from "../../files/errors.ts";
import { RUN_OPTIONS } from "../../train/settings/options.ts";
import { changeable, refuseOthers } from "../../train/settings/resume-settings.ts";
import { type FlatSettings, flagOf } from "../../train/settings/settings.ts";
import { type Comparison, familyOf } from "./types.ts";

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
