import { RandloraError } from "../../files/errors.ts";

/**
 * The error of a run whose loss or gradients are not finite.
 * @param kept the step of the state that stays; undefined where there is none, or only one that makes the loss what it is
 * @param updated has a step been taken before it was seen?
 */
export function diverged(step: number, what: string, kept: number | undefined, updated = step > 1): RandloraError {
  return new RandloraError("numeric", `step ${step}: ${what}`, hintOf(updated, kept));
}

function hintOf(updated: boolean, kept: number | undefined): string {
  // Nothing was trained yet: no learning rate is at fault.
  if (!updated)
    return "the model holds NaN, or numbers that are too large for 16 bits: fetch it again, or try --dtype f32";
  if (kept === undefined)
    return "no good state was saved: start anew with a lower --learning-rate or a longer --warmup";
  return `what was saved at step ${kept} is kept; try a lower --learning-rate or a longer --warmup`;
}
