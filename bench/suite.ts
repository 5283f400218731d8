import type { Device } from "../src/compute/device/device.ts";

/** One thing to time. */
export interface Case {
  readonly name: string;
  /** Units of work in one run. */
  readonly amount: number;
  /** The least rate that is good enough, in the suite's unit, where there is such a target. */
  readonly target?: number;
  run(): Promise<void> | void;
}

/** Cases that belong together and share a unit. */
export interface Suite {
  readonly name: string;
  readonly title: string;
  /** What a rate is counted in: "GFLOP/s". `amount / seconds` is in it. */
  readonly unit: string;
  /**
   * Makes one case after another; what a case needs lives until the next one is asked for. Cases whose names are not
   * `wanted` may be left out: a slow preparation asks first.
   * @param open opens the device that is measured, which the suite closes
   */
  cases(wanted: (name: string) => boolean, open: () => Promise<Device>): AsyncGenerator<Case>;
}
