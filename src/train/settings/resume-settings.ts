import { Contradiction } from "../../files/errors.ts";
import { shellWord } from "../../files/failure.ts";
import { IMAGE_OPTIONS } from "./image-options.ts";
import { RUN_OPTIONS } from "./options.ts";
import type { Recorded, Settings } from "./setting.ts";
import {
  asGiven,
  type FlatSettings,
  flagOf,
  flatSettings,
  inWords,
  isOff,
  optionsOf,
  same,
  type TrainSettings,
} from "./settings.ts";

/**
 * The settings of a run that is resumed: the recorded ones, with what may change. How many steps a run of epochs has only
 * its data tell: see `refuseShorter`.
 * @param path its folder, for hints
 * @throws RandloraError `usage` naming the flag that contradicts the run
 */
export function resumeSettings(recorded: TrainSettings, asked: Partial<FlatSettings>, path = "RUN"): TrainSettings {
  const { images } = recorded;
  const run = changeable(RUN_OPTIONS, asked, "run");
  const ofImages = images === null ? {} : changeable(IMAGE_OPTIONS, asked, "run");
  const isLonger = recorded.schedule === "constant" && (asked.steps ?? 0) > (recorded.steps ?? 0);
  const longer = recorded.adapter === null ? `${shellWord(path)} as its MODEL` : `--init-adapter ${shellWord(path)}`;
  refuseOthers(recorded, asked, (key) => key in run || key in ofImages || (key === "steps" && isLonger), {
    what: "run",
    other: `start a new run (${longer} continues from this one's weights)`,
  });
  return {
    ...recorded,
    ...run,
    images: images && { ...images, ...ofImages },
    steps: asked.steps ?? recorded.steps,
    epochs: asked.steps === undefined ? recorded.epochs : null,
  };
}

/** What was asked for of the settings that a resumed run, or a resumed comparison, may change. */
export function changeable<S extends Settings>(
  settings: S,
  asked: Partial<FlatSettings>,
  of: "run" | "comparison",
): Partial<Recorded<S>> {
  const found = Object.entries(asked).filter(([key, value]) => {
    const resume = settings[key]?.rule.resume;
    return value !== undefined && (resume === "both" || resume === of);
  });
  // Keys of the table, as asked for.
  return Object.fromEntries(found) as Partial<Recorded<S>>;
}

/**
 * Refuses settings that contradict those of what is resumed, a `what`; `other` says what to do in place of that.
 * @throws RandloraError `usage` naming the flag
 */
export function refuseOthers(
  recorded: TrainSettings,
  asked: Partial<FlatSettings>,
  mayChange: (key: keyof FlatSettings) => boolean,
  { what, other = `start a new ${what}` }: { readonly what: string; readonly other?: string },
): void {
  const flat: Partial<FlatSettings> = flatSettings(recorded);
  for (const key of Object.keys(asked) as (keyof FlatSettings)[]) {
    const wanted = asked[key];
    if (wanted === undefined || mayChange(key) || same(key, wanted, flat[key])) continue;
    if (isOff(wanted) && flat[key] === undefined) continue;
    const had = `it had ${inWords(key, flat[key])}`;
    const cause = `${asGiven(key, wanted)}: the ${what} cannot be resumed with another value; ${had}`;
    const hint = `leave ${flagOf(key, wanted)} out, or ${other}`;
    throw new Contradiction([...optionsOf(key), "resume"], cause, hint);
  }
}
