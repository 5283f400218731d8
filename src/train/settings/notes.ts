import { RUN_OPTIONS } from "./options.ts";
import { notesOfWarmup } from "./schedule.ts";
import { partOf } from "./setting.ts";
import { flagOf, type TrainSettings } from "./settings.ts";

/**
 * For the user: options that can do nothing, without validation data or as rarely as it is looked at, and a rate that is never reached.
 * @param interval steps between validations; undefined: there are none
 */
export function notesOfPlan(settings: TrainSettings, steps: number, interval: number | undefined): string[] {
  const given = new Map<string, unknown>(Object.entries(settings));
  const needing = Object.entries(interval === undefined ? partOf(RUN_OPTIONS, { needs: "validation" }) : {});
  const idle = needing.filter(([key, { rule }]) => given.get(key) !== rule.usual).map(([key]) => flagOf(key));
  return [
    ...(idle.length === 0 ? [] : [`${idle.join(", ")}: nothing is validated without --valid or --valid-split`]),
    ...(interval === undefined || settings.earlyStop * interval < steps
      ? []
      : [
          `--early-stop ${settings.earlyStop}: with ${Math.ceil(steps / interval)} validations the run cannot end early`,
        ]),
    ...notesOfWarmup(settings, steps),
  ];
}
