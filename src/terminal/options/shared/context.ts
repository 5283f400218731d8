import { count } from "../command.ts";

/** `--context` of every command that has one: one grammar, since RANDLORA_CONTEXT and a configuration file reach all. */
export function contextOption(spec: { readonly topic: string; readonly help: string; readonly defaultText: string }) {
  return count({ short: "c", value: "N", min: 2, ...spec });
}
