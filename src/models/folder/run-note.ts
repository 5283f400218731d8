import { existsSync } from "node:fs";
import { join } from "node:path";
import { oneLine } from "../../files/failure.ts";
import { modelOfRun } from "./locate.ts";
import { SETTINGS_FILE } from "../../files/run-names.ts";
import { newestState, type Progress } from "./run-states.ts";

/**
 * Which weights a run's folder stands for, where these are not its last: of a run with validation data the best ones.
 * @returns one line for the user; undefined for any other run or path
 */
export async function noteOfRun(path: string): Promise<string | undefined> {
  const has = (...names: string[]) => existsSync(join(path, ...names));
  const isRun = has(SETTINGS_FILE) && !has("adapter_config.json");
  if (!isRun || (!has("best", "adapter_config.json") && !has("best", "config.json"))) return undefined;
  const last = join(path, modelOfRun(path) === undefined ? "adapter" : "model");
  // Without its states the run still has its best weights.
  const state = await newestState(join(path, "state")).catch(() => undefined);
  if (state !== undefined && state.progress.best?.step === state.progress.step) return undefined;
  return `${oneLine(path)}: ${inWords(state?.progress, oneLine(last))}`;
}

function inWords(progress: Progress | undefined, last: string): string {
  const best = progress?.best ?? undefined;
  if (progress === undefined || best === undefined) return `its best step; the last one is ${last}`;
  const loss = `validation loss ${best.validLoss.toFixed(4)}`;
  const rest = `the last one is ${last}`;
  if (best.step > 0) return `its best step, ${best.step} of ${progress.step} (${loss}); ${rest}`;
  return `step 0, as it was before training: no later step had a lower loss (${loss}); ${rest}`;
}
