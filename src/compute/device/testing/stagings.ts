import { CpuDevice } from "../../cpu/cpu.ts";
import { Gpu } from "../../gpu/gpu.ts";
import { openInterpreted } from "../../gpu/testing/interpreted.ts";
import { availableCodes, type CpuCode } from "../../cpu/native/choose.ts";
import type { Device } from "../device.ts";
import type { Staging } from "../staging.ts";
import { IS_GPU_ALONE, IS_INTERPRETED } from "./open.ts";

const CPU = "the CPU device";
/** One for each way in which it computes here. */
const CPUS = (IS_GPU_ALONE ? [] : availableCodes()).map((code) => [`${CPU}, ${code}`, code] as const);
const INTEGER_DOTS = "workgroup staging, integer dot products";
/** A GPU within the limits that every GPU has, with and without integer dot products; and no GPU. */
export type StagingName = "workgroup staging" | typeof INTEGER_DOTS | `${typeof CPU}, ${CpuCode}`;

const isCpu = process.env["RANDLORA_TEST_DEVICE"] === "cpu";

/** With RANDLORA_TEST_DEVICE=cpu there is no GPU. */
export const STAGING_NAMES: readonly StagingName[] = [
  ...(isCpu ? [] : (["workgroup staging"] as const)),
  ...CPUS.map(([name]) => name),
];

/** The same of what reads matrices in blocks. */
export const BLOCKS_STAGING_NAMES: readonly StagingName[] = isCpu ? STAGING_NAMES : [...STAGING_NAMES, INTEGER_DOTS];

/** Is x rounded to 15 bits for products with blocks? Tolerances follow it. */
export function multipliesWholeNumbers(staging: Staging): boolean {
  return staging.kind === "cpu" || staging.integerDots === true;
}

/** Every way in which an op is computed. */
export class Stagings {
  readonly #devices: Device[] = [];
  readonly #opened = new Map<StagingName, readonly [Device, Staging]>();

  /** Opens the devices. */
  async open(): Promise<void> {
    const opened = <D extends Device>(device: D): D => {
      this.#devices.push(device);
      return device;
    };
    for (const [name, code] of CPUS) {
      const cpu = opened(await CpuDevice.open({ threads: 2, code }));
      this.#opened.set(name, [cpu, cpu.staging]);
    }
    if (isCpu) return;
    const guaranteed = opened(IS_INTERPRETED ? openInterpreted().gpu : await Gpu.open({ limits: "guaranteed" }));
    this.#opened.set("workgroup staging", [guaranteed, { kind: "workgroup" }]);
    this.#opened.set(INTEGER_DOTS, [guaranteed, { kind: "workgroup", integerDots: true }]);
  }

  get(name: StagingName): readonly [Device, Staging] {
    const opened = this.#opened.get(name);
    if (opened === undefined) throw new Error(`${name}: not opened`);
    return opened;
  }

  close(): void {
    for (const device of this.#devices) device.close();
    this.#devices.length = 0;
    this.#opened.clear();
  }
}
