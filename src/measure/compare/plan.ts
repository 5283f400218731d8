import type { BaseModel } from "../../adapters/base/base.ts";
import { nearestSize } from "../../adapters/budget.ts";
import { methodNamed } from "../../adapters/methods.ts";
import type { AdapterTraining, ModuleShape } from "../../adapters/method/method.ts";
import { ADAPTER_SETTINGS } from "../../adapters/method/settings.ts";
import { findTargets } from "../../adapters/base/target-modules.ts";
import { RandloraError } from "../../files/errors.ts";
import { formatNumber } from "../../terminal/format.ts";
import { typedCount } from "../../terminal/options/values.ts";
import { laterSeed } from "../../compute/random/seed.ts";
import { FAIR_DISTANCE } from "./contest.ts";
import type { FindShapes } from "../../adapters/base/named-base.ts";
import { type AskedSettings, type ModelFacts, resolveSettings } from "../../train/settings/resolve-settings.ts";
import { flagOf, type FlatSettings, flatSettings } from "../../train/settings/settings.ts";
import type { Comparison, Contender, PlannedRun, Wish } from "./types.ts";

/** Where a setting has no end of its own: each costs as much as a whole model's worth of random numbers a step. */
const MOST = 1024;
/** A budget that every method misses by so much, as a factor, is one that was not meant. */
const FAR = 2;

/** What is to be compared, before sizes are known. */
export interface ComparisonWish {
  readonly wishes: readonly Wish[];
  /** Wanted numbers of trained parameters; or what another method trains; undefined: what the first one usually trains, about. */
  readonly budgets: readonly number[] | LikeWish | undefined;
  readonly seeds: number;
  /** Tokens to measure forgetting on. */
  readonly forgetting: number;
  /** Learning rates that were not given are the usual ones, or this where it is more. */
  readonly leastRate: number;
  /** Settings of all runs. */
  readonly common: AskedSettings;
  readonly facts: ModelFacts;
  readonly base: BaseModel;
}

/** The budget is what a method trains at this size; undefined: at its usual one. */
export interface LikeWish {
  readonly wish: Wish;
  readonly size: number | undefined;
}

/**
 * Chooses the size of each method.
 * @throws RandloraError as `resolveSettings` and `findTargets`; `usage` where no method comes near the budget, and where
 *   the method of `--like` trains the model itself
 */
export function planComparison(asked: ComparisonWish): Comparison {
  const { wishes, seeds, forgetting, common } = asked;
  const seed = common.seed ?? 0;
  const budgets = budgetsOf(asked);
  const contenders = budgets.flatMap((budget) => {
    return wishes.flatMap((wish): Contender[] => {
      const sized = sizing(asked, wish);
      if (sized === undefined) return [];
      const { training, modules, given } = sized;
      const { setting } = training.capacity;
      const most = mostOf(training.capacity.most(modules));
      const { value } = nearestSize(training.capacity, modules, budget, given, most);
      return [{ label: wish.label, budget, settings: settingsOf(asked, wish, { [setting]: value }) }];
    });
  });
  const references = wishes
    .filter((wish) => trainingOf(wish) === undefined)
    .map((wish): Contender => ({ label: wish.label, budget: null, settings: settingsOf(asked, wish, {}) }));
  for (const budget of budgets) refuseUnreachable(asked, budget, contenders);
  const like = asked.budgets !== undefined && "wish" in asked.budgets ? likeText(asked.budgets) : null;
  const all = [...contenders, ...references];
  return { budgets, like, contenders: all, seed, seeds, forgetting, looks: [], dropped: [] };
}

/** As `--like` has it. */
function likeText({ wish, size }: LikeWish): string {
  return size === undefined ? wish.label : `${wish.label}:${size}`;
}

/** Every run, the first seed of all methods first: a comparison that is stopped has about as many runs of each. */
export function plannedRuns({ budgets, contenders, seed, seeds }: Comparison): readonly PlannedRun[] {
  return Array.from({ length: seeds }, (_, at) => laterSeed(seed, at)).flatMap((of) =>
    contenders.map((contender) => {
      const { label, budget } = contender;
      const size = budgets.length > 1 && budget !== null ? `-${budget}` : "";
      const name = `${label.replaceAll(/[^A-Za-z0-9._+=-]/g, "_")}${size}-seed-${of}`;
      return { name, contender, settings: { ...contender.settings, seed: of } };
    }),
  );
}

/** The numbers that a contender trains, as its method counts them; undefined for one that trains the model itself. */
export function plannedParameters({ settings, label }: Contender, base: BaseModel): number | undefined {
  const { training } = methodNamed(settings.method);
  if (training.result !== "adapter") return undefined;
  const { adapter } = settings;
  if (adapter === null) throw new TypeError(`${label} without settings of an adapter`);
  const { capacity } = training;
  return capacity.count(
    findTargets(base, adapter, { parameters: training.adaptsParameters }).modules,
    sizeOf(settings, capacity.setting),
    adapter,
  );
}

/** The setting that says how large a method is, and its value; undefined for one that trains the model itself. */
export function sizeIn({ settings }: Contender): { readonly setting: string; readonly value: number } | undefined {
  const { training } = methodNamed(settings.method);
  if (training.result !== "adapter") return undefined;
  const { setting } = training.capacity;
  return { setting, value: sizeOf(settings, setting) };
}

function sizeOf(settings: Contender["settings"], setting: "rank" | "bases"): number {
  const value: unknown = Object.entries(settings.adapter ?? {}).find(([key]) => key === setting)?.[1];
  if (typeof value !== "number") throw new TypeError(`${settings.method} without ${setting}`);
  return value;
}

function trainingOf({ method }: Pick<Wish, "method">): AdapterTraining | undefined {
  const { training } = methodNamed(method);
  return training.result === "adapter" ? training : undefined;
}

/** A method's settings at a size. */
function settingsOf(
  { common, facts, base, leastRate }: ComparisonWish,
  wish: Wish,
  size: Partial<FlatSettings>,
): Contender["settings"] {
  const { method, flags, learningRate } = wish;
  const asked = trainingOf(wish) === undefined ? withoutAdapters(common) : common;
  const shapes: FindShapes = (wanted) => findTargets(base, wanted, { parameters: true }).modules;
  const own = { ...asked, ...flags, ...size, method, ...(learningRate === undefined ? {} : { learningRate }) };
  const settings = resolveSettings(own, { ...facts, shapes });
  return { ...settings, learningRate: learningRate ?? Math.max(settings.learningRate, leastRate) };
}

/** What says how an adapter is made says nothing of a run that makes none. */
function withoutAdapters(common: AskedSettings): AskedSettings {
  const entries = Object.entries(common).filter(([key]) => !(key in ADAPTER_SETTINGS));
  return { model: common.model, data: common.data, ...Object.fromEntries(entries) };
}

interface Sizing {
  readonly training: AdapterTraining;
  readonly modules: readonly ModuleShape[];
  /** Its settings but the size. */
  readonly given: Partial<FlatSettings>;
}

function sizing(asked: ComparisonWish, wish: Wish): Sizing | undefined {
  const training = trainingOf(wish);
  if (training === undefined) return undefined;
  const { setting } = training.capacity;
  if (setting in wish.flags) {
    const cause = `${wish.label}: ${flagOf(setting)} follows from the number of parameters`;
    throw new RandloraError("usage", cause, `leave it out, or say --like ${wish.method}:${setting.toUpperCase()}`);
  }
  const { adapter } = settingsOf(asked, wish, {});
  if (adapter === null) throw new TypeError(`${wish.label} without settings of an adapter`);
  const { modules } = findTargets(asked.base, adapter, { parameters: training.adaptsParameters });
  return { training, modules, given: { ...asked.common, ...wish.flags } };
}

function budgetsOf(asked: ComparisonWish): readonly number[] {
  const { budgets, wishes } = asked;
  if (budgets !== undefined && !("wish" in budgets)) return [...new Set(budgets)].toSorted((a, b) => a - b);
  const like = budgets;
  const wish = like?.wish ?? wishes.find((one) => trainingOf(one) !== undefined);
  const sized = wish && sizing(asked, wish);
  if (wish === undefined || sized === undefined) {
    const cause = `${like === undefined ? "--methods" : "--like"}: no method that trains less than the whole model`;
    throw new RandloraError("usage", cause, "name one whose size can be chosen");
  }
  const { training, modules, given } = sized;
  const { capacity } = training;
  const usual = flatSettings(settingsOf(asked, wish, {}));
  const size = like?.size ?? Number(Object.entries(usual).find(([key]) => key === capacity.setting)?.[1]);
  const most = capacity.most(modules);
  if (like?.size !== undefined && size > most) {
    const cause = `--like ${likeText(like)}: its largest ${capacity.setting} for these modules is ${most}`;
    throw new RandloraError("usage", cause, `give at most ${most}`);
  }
  const budget = capacity.count(modules, Math.min(size, most), given);
  if (!Number.isFinite(budget)) {
    const flag = like === undefined ? "--methods" : `--like ${likeText(like)}`;
    const cause = `${flag}: these modules have no ${wish.label} of ${capacity.setting} ${size}`;
    throw new RandloraError("usage", cause, `give another ${capacity.setting}, or --params N`);
  }
  return [like === undefined ? reachable(asked, budget) : budget];
}

/** A budget that nobody asked for moves to a size near it at which more methods are in the contest. */
function reachable(asked: ComparisonWish, budget: number): number {
  const sized = asked.wishes.flatMap((wish) => sizing(asked, wish) ?? []);
  const sizesAt = (wanted: number) =>
    sized.map(({ training: { capacity }, modules, given }) => {
      return nearestSize(capacity, modules, wanted, given, mostOf(capacity.most(modules))).parameters;
    });
  const isWithin = (count: number, wanted: number, part: number) => Math.abs(count - wanted) <= part * wanted;
  const inContest = (wanted: number) =>
    sizesAt(wanted).filter((count) => isWithin(count, wanted, FAIR_DISTANCE)).length;
  const near = sizesAt(budget).filter(
    (count) => isWithin(count, budget, 2 * FAIR_DISTANCE) && !isWithin(count, budget, FAIR_DISTANCE),
  );
  const [best] = [budget, ...new Set(near)]
    .map((wanted) => ({ wanted, methods: inContest(wanted) }))
    .toSorted((a, b) => b.methods - a.methods);
  return best?.wanted ?? budget;
}

/** Where a setting has no end of its own. */
function mostOf(most: number): number | undefined {
  return Number.isFinite(most) ? undefined : MOST;
}

/** Some methods end before a large budget; where none comes near it there is nothing to compare. */
function refuseUnreachable({ base }: ComparisonWish, budget: number, contenders: readonly Contender[]): void {
  const counts = contenders
    .filter((one) => one.budget === budget)
    .flatMap((contender) => {
      const count = plannedParameters(contender, base);
      return count === undefined ? [] : [{ label: contender.label, count }];
    });
  const far = ({ count }: { readonly count: number }) => count > FAR * budget || count * FAR < budget;
  if (counts.some((one) => !far(one)) || counts.length === 0) return;
  const [nearest] = counts.toSorted((a, b) => Math.abs(a.count - budget) - Math.abs(b.count - budget));
  const cause = `--params ${typedCount(budget)}: no method has about so many trainable parameters in these modules`;
  throw new RandloraError("usage", cause, `the nearest is ${nearest?.label} with ${formatNumber(nearest?.count ?? 0)}`);
}
