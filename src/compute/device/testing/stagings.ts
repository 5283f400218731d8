import type { Device } from "../device.ts";
import type { Staging } from "../staging.ts";
import { IS_GPU, openTestDevice } from "./open.ts";

const WORKGROUP = "workgroup staging";
const INTEGER_DOTS = "integer dot products";
/** The CPU device, or a GPU within the limits that every GPU has, with and without integer dot products. */
export type StagingName = "the CPU device" | typeof WORKGROUP | typeof INTEGER_DOTS;

/** Ways in which the test device computes an op. */
export const STAGING_NAMES: readonly StagingName[] = IS_GPU ? [WORKGROUP] : ["the CPU device"];

/** The same of what reads matrices in blocks. */
export const BLOCKS_STAGING_NAMES: readonly StagingName[] = IS_GPU ? [WORKGROUP, INTEGER_DOTS] : STAGING_NAMES;

/** Is x rounded to 15 bits for products with blocks? Tolerances follow it. */
export function multipliesWholeNumbers(staging: Staging): boolean {
  return staging.kind === "cpu" || staging.integerDots === true;
}

/** Every way in which an op is computed. */
export class Stagings {
  #device: Device | undefined;

  /** Opens the device. */
  async open(): Promise<void> {
    this.#device = await openTestDevice({ limits: "guaranteed" });
  }

  get(name: StagingName): readonly [Device, Staging] {
    if (this.#device === undefined) throw new Error(`${name}: not opened`);
    if (name === "the CPU device") return [this.#device, this.#device.staging];
    return [this.#device, name === WORKGROUP ? { kind: "workgroup" } : { kind: "workgroup", integerDots: true }];
  }

  close(): void {
    this.#device?.close();
  }
}
