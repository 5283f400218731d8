import * as v from "valibot";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import type { WrittenSettings } from "../files/adapter.ts";
import {
  biasKey,
  dropoutShare,
  finiteNumber,
  LAYER_KEYS,
  layerSettings,
  type LayerSettings,
  parseSettings,
  positiveInteger,
} from "../base/config-keys.ts";
import type { UsualSettings } from "../method/method.ts";

/** PEFT's names of a method's settings. */
export interface PeftKeys<O extends v.ObjectEntries> {
  /** Of the rank; "r" where it is left out. */
  readonly rank?: string;
  /** Of dropout; left out where PEFT has none for it. */
  readonly dropout?: string;
  /** What `bias` is where the biases of adapted layers are trained; left out where PEFT has no such key. */
  readonly bias?: string;
  /** Its other keys that decide something, with PEFT's defaults: a new adapter has these. */
  readonly keys: O;
  /** Why an adapter with such settings cannot be applied, if so. */
  refusal?(own: Own<O>): string | undefined;
  /** PEFT's merge rounds ΔW to the weight's dtype before it is added. */
  readonly roundsDelta?: true;
}

type Own<O extends v.ObjectEntries> = v.InferOutput<v.ObjectSchema<O, undefined>>;

/** What the tensors of an adapter depend on. */
export interface Sizes<O extends v.ObjectEntries = Record<never, never>> {
  readonly r: number;
  /** PEFT's further keys. */
  readonly own: Own<O>;
}

/** The settings of such an adapter, in PEFT's manner. */
export interface FormulaConfig<O extends v.ObjectEntries> extends LayerSettings, Sizes<O> {
  /** ΔW is scaled by α/r. */
  readonly alpha: number;
}

/** What of a method decides how its configuration is read. */
export interface ConfigRules<O extends v.ObjectEntries> {
  /** What PEFT's configuration says of it; left out where PEFT has no such method. */
  readonly peft?: PeftKeys<O>;
  readonly usual: UsualSettings;
}

/** @throws RandloraError `format` for a value that makes no sense, `adapter` for a variant that cannot be applied */
export function readConfig<O extends v.ObjectEntries>(
  method: ConfigRules<O>,
  { settings, configFile }: WrittenSettings,
): FormulaConfig<O> {
  const { peft, usual } = method;
  const own = ownKeys(method, settings, configFile);
  const cause = peft?.refusal?.(own);
  if (cause !== undefined) {
    throw new RandloraError("adapter", `${oneLine(configFile)}: ${cause}`, "merge it with PEFT: merge_and_unload()");
  }
  // What nobody else writes has no default where it decides about ΔW.
  const usually = <S extends v.GenericSchema<number>>(of: S, value: number) =>
    peft === undefined ? of : v.optional(of, value);
  const number = (key: string, of: v.GenericSchema<number | undefined, number>) =>
    parseSettings(v.object({ [key]: of }), settings, configFile)[key] ?? NaN;
  const r = number(peft?.rank ?? "r", usually(positiveInteger, usual.rank));
  const { alphaPerRank } = usual;
  const alpha = alphaPerRank === null ? r : number("alpha", usually(finiteNumber, alphaPerRank * usual.rank));
  parseSettings(v.object(dropoutKeys(method, dropoutShare)), settings, configFile);
  const schema = v.object({ bias: biasKey(peft?.bias ?? "none"), ...LAYER_KEYS });
  const layers = parseSettings(schema, settings, configFile);
  return { r, alpha, own, ...layerSettings(layers, configFile) };
}

export function ownKeys<O extends v.ObjectEntries>(
  { peft }: Pick<ConfigRules<O>, "peft">,
  settings: WrittenSettings["settings"],
  file: string,
): Own<O> {
  return parseSettings(v.object(peft?.keys ?? ({} as O)), settings, file);
}

/** What the configuration says of dropout: nothing where PEFT has none. */
export function dropoutKeys<S>({ peft }: { readonly peft?: { readonly dropout?: string } | undefined }, value: S) {
  const key = peft === undefined ? "dropout" : peft.dropout;
  return key === undefined ? {} : { [key]: value };
}
