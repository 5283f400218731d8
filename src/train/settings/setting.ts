import type { Option, ValueOf } from "../../terminal/options/option.ts";

/**
 * What the table of training options (options.ts, image-options.ts) says of one beside what every option says of itself.
 * Flags, help, completion, YAML keys and variables come from the option; run.json's schema, the defaults and what `--resume`
 * and `compare` do with it come from here.
 */
export interface Rule {
  /** What a run records where nothing is given; left out where the method, the model or the data decides. */
  readonly usual?: unknown;
  /** Whether null may be recorded where `usual` does not say so. */
  readonly orNull?: true;
  /** What runs of earlier versions had, which do not record it. */
  readonly earlier?: unknown;
  /** A resumed run may have another value; "both": a resumed comparison, too. */
  readonly resume?: "run" | "both";
  /** All runs of a comparison share it, or each method may have its own (`randlora+sparse`); left out: neither. */
  readonly compare?: "all" | "method";
  /** Has no meaning with images. */
  readonly only?: "texts";
  /** Does nothing without validation data, which a run says. */
  readonly needs?: "validation";
}

/** An option of the table. */
export type Setting<T = unknown, R extends Rule = Rule> = Option<T> & { readonly rule: R };
export type Settings = Readonly<Record<string, Setting>>;

/** An option and what a run makes of it. */
export function setting<T, const R extends Rule>(option: Option<T>, rule: R): Setting<T, R> {
  const { usual } = rule;
  const isShown = option.absentText === "" && usual !== undefined && usual !== null && option.kind.type !== "flag";
  return { ...option, rule, absentText: isShown ? String(usual) : option.absentText };
}

type OrNull<R> = R extends { readonly usual: null } | { readonly orNull: true } ? null : never;

/** What a run records of a part of the table. */
export type Recorded<S extends Settings> = {
  readonly [K in keyof S]: Exclude<ValueOf<S[K]>, undefined> | OrNull<S[K]["rule"]>;
};

/** The part of the table whose rules include `R`. */
export type Part<S extends Settings, R extends Rule> = {
  readonly [K in keyof S as S[K]["rule"] extends R ? K : never]: S[K];
};

/** @returns the options of which all that `rule` says is true */
export function partOf<S extends Settings, const R extends Rule>(settings: S, rule: R): Part<S, R> {
  const wanted = Object.entries(rule);
  const found = Object.entries(settings).filter(([, option]) => {
    const own = new Map<string, unknown>(Object.entries(option.rule));
    return wanted.every(([key, value]) => own.get(key) === value);
  });
  // The same test as the type's.
  return Object.fromEntries(found) as Part<S, R>;
}

/** As {@link Recorded}; what has no usual value may be undefined, and is decided elsewhere. */
type WithUsual<S extends Settings> = {
  readonly [K in keyof S]: Recorded<S>[K] | (S[K]["rule"] extends { readonly usual: unknown } ? never : undefined);
};

/** What was asked for, else the usual value. */
export function withUsual<S extends Settings>(settings: S, asked: object): WithUsual<S> {
  const given = new Map<string, unknown>(Object.entries(asked));
  const values = Object.entries(settings).map(([key, { rule }]) => [key, given.get(key) ?? rule.usual]);
  // What was asked for was read by these options.
  return Object.fromEntries(values) as WithUsual<S>;
}
