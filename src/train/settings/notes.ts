import { RUN_OPTIONS } from "./options.ts";
import { notesOfWarmup } from "./schedule.ts";
import { partOf } from "./setting.ts";
import { flagOf, type TrainSettings } from "./settings.ts";

/** For the user: options that can do nothing without validation data, and a rate that is never reached. */
export function notesOfPlan(
  settings: TrainSettings,
  { steps, validation }: { readonly steps: { readonly length: number }; readonly validation: object | undefined },
): string[] {
  const given = new Map<string, unknown>(Object.entries(settings));
  const needing = Object.entries(validation === undefined ? partOf(RUN_OPTIONS, { needs: "validation" }) : {});
  const idle = needing.filter(([key, { rule }]) => given.get(key) !== rule.usual).map(([key]) => flagOf(key));
  return [
    ...(idle.length === 0 ? [] : [`${idle.join(", ")}: nothing is validated without --valid or --valid-split`]),
    ...notesOfWarmup(settings, steps.length),
  ];
}
