import type { Device } from "../../../device/device.ts";
import { ownedBy } from "../../../device/owned.ts";
import type { Staging } from "../../../device/staging.ts";
import { Run } from "../../run.ts";
import { type Comparison, RESULT_TOLERANCE } from "../compare.ts";
import { relativeError, take } from "../placed.ts";
import { BASIS_CASES } from "./bases.ts";
import type { FamilyCase } from "./case.ts";
import { ELEMENTWISE_CASES } from "./elementwise.ts";
import { OPTIMIZER_CASES } from "./optimizer.ts";
import { RECURRENT_CASES } from "./recurrent.ts";
import { WEIGHT_CASES } from "./weights.ts";

export type { FamilyCase } from "./case.ts";

/** Every family that is no op and no part of one. */
export const FAMILY_CASES: readonly FamilyCase[] = [
  ...BASIS_CASES,
  ...WEIGHT_CASES,
  ...ELEMENTWISE_CASES,
  ...RECURRENT_CASES,
  ...OPTIMIZER_CASES,
];

/** Runs a case on a device, beside its f64 reference. @throws RandloraError `gpu`, `memory` */
export async function compareFamily(
  { record }: FamilyCase,
  device: Device,
  staging: Staging = device.staging,
): Promise<Comparison[]> {
  using operands = new DisposableStack();
  using run = new Run(ownedBy(operands, device), staging);
  const left = record(run);
  await run.submit();
  const found: Comparison[] = [];
  for (const { of, tensor, wanted, tolerance = RESULT_TOLERANCE } of left) {
    const { values } = await take(device, tensor);
    found.push({ of, error: relativeError(values, wanted.data), tolerance, isPadded: true });
  }
  return found;
}
