import { CpuDevice } from "../../cpu/cpu.ts";
import { Gpu } from "../../gpu/gpu.ts";
import type { Device } from "../device.ts";
import type { Staging } from "../staging.ts";

const CPU = "the CPU device";
/** A GPU's own staging; the one of real GPUs, which must fit into the limits that every GPU has; and no GPU. */
type StagingName = "this GPU's staging" | "workgroup staging" | typeof CPU;

/** With RANDLORA_TEST_DEVICE=cpu there is no GPU. */
export const STAGING_NAMES: readonly StagingName[] =
  process.env["RANDLORA_TEST_DEVICE"] === "cpu" ? [CPU] : ["this GPU's staging", "workgroup staging", CPU];

/** Every way in which an op is computed. */
export class Stagings {
  readonly #opened = new Map<StagingName, readonly [Device, Staging]>();

  /** Opens the devices. */
  async open(): Promise<void> {
    for (const name of STAGING_NAMES) {
      const device =
        name === CPU
          ? await CpuDevice.open({ threads: 2 })
          : await Gpu.open(name === "workgroup staging" ? { limits: "guaranteed" } : {});
      this.#opened.set(name, [device, name === "workgroup staging" ? { kind: "workgroup" } : device.staging]);
    }
  }

  get(name: StagingName): readonly [Device, Staging] {
    const opened = this.#opened.get(name);
    if (opened === undefined) throw new Error(`${name}: not opened`);
    return opened;
  }

  close(): void {
    for (const [device] of this.#opened.values()) device.close();
    this.#opened.clear();
  }
}
