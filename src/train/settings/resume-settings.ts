import { Contradiction } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
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

/** Settings that a resumed run may change. `steps` too, to a larger number, where the schedule does not depend on it. */
const CHANGEABLE: ReadonlySet<keyof FlatSettings> = new Set([
  "evalEvery",
  "saveEvery",
  "keep",
  "checkpointActivations",
  // What was learnt so far had no bad images.
  "skipBadImages",
] as const);

/**
 * The settings of a run that is resumed: the recorded ones, with what may change. How many steps a run of epochs has only
 * its data tell: see `refuseShorter`.
 * @param run its folder, for hints
 * @throws RandloraError `usage` naming the flag that contradicts the run
 */
export function resumeSettings(recorded: TrainSettings, asked: Partial<FlatSettings>, run = "RUN"): TrainSettings {
  const mayChange = (key: keyof FlatSettings) =>
    CHANGEABLE.has(key) && (key !== "skipBadImages" || recorded.images !== null);
  const isLonger = recorded.schedule === "constant" && (asked.steps ?? 0) > (recorded.steps ?? 0);
  const longer = recorded.adapter === null ? `${oneLine(run)} as its MODEL` : `--init-adapter ${oneLine(run)}`;
  refuseOthers(recorded, asked, (key) => mayChange(key) || (key === "steps" && isLonger), {
    what: "run",
    other: `start a new run (${longer} continues from this one's weights)`,
  });
  const { images } = recorded;
  return {
    ...recorded,
    evalEvery: asked.evalEvery ?? recorded.evalEvery,
    saveEvery: asked.saveEvery ?? recorded.saveEvery,
    keep: asked.keep ?? recorded.keep,
    checkpointActivations: asked.checkpointActivations ?? recorded.checkpointActivations,
    images: images && { ...images, skipBadImages: asked.skipBadImages ?? images.skipBadImages },
    steps: asked.steps ?? recorded.steps,
    epochs: asked.steps === undefined ? recorded.epochs : null,
  };
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
