import * as v from "valibot";
import type { Option } from "../../terminal/options/option.ts";
import type { Setting, Settings } from "./setting.ts";

/** What run.json may hold of a part of the table: what the flags take, and the usual values. */
export function entriesOf(settings: Settings): v.ObjectEntries {
  return Object.fromEntries(Object.entries(settings).map(([key, option]) => [key, schemaOf(option)]));
}

function schemaOf(option: Setting): v.GenericSchema | v.OptionalSchema<v.GenericSchema, unknown> {
  const { usual, orNull, earlier } = option.rule;
  const value = valueOf(option);
  // `--early-stop` takes 1 and more; 0, never, is what it is without.
  const more = typeof usual === "number" && !v.is(value, usual) ? v.union([value, v.literal(usual)]) : value;
  const all = usual === null || orNull === true ? v.nullable(more) : more;
  return earlier === undefined ? all : v.optional(all, earlier);
}

function valueOf({ kind, choices }: Option<unknown>): v.GenericSchema {
  const { type, min = -Infinity, max = Infinity, above = -Infinity, length = 0 } = kind;
  const number = v.pipe(v.number(), v.finite(), v.minValue(min), v.maxValue(max), v.gtValue(above));
  switch (type) {
    case "flag":
      return v.boolean();
    case "choice":
      return v.picklist(choices);
    case "number":
      return number;
    case "integer":
      return v.pipe(v.number(), v.safeInteger(), v.minValue(min), v.maxValue(max));
    case "numbers":
      return v.pipe(v.array(number), v.length(length));
    case "text":
      return v.pipe(v.string(), v.minLength(1));
    case "json":
      return v.record(v.string(), v.unknown());
  }
}
