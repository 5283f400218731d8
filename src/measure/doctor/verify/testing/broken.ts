import { overlaid } from "../../../../compute/device/owned.ts";
import type { Device, Recording } from "../../../../compute/device/device.ts";
import type { Families } from "../../../../compute/device/families.ts";

type Compute = (family: keyof Families, operands: Families[keyof Families]) => void;

/** The same device with another way to compute: what `change` does with each command instead. */
export function broken(device: Device, change: (compute: Compute, ...command: Parameters<Compute>) => void): Device {
  return overlaid(device, {
    recording(memory, staging) {
      const recording = device.recording(memory, staging);
      const compute: Compute = (family, operands) => recording.compute(family, operands);
      return overlaid<Recording>(recording, { compute: (family, operands) => change(compute, family, operands) });
    },
  });
}

/** Forgets the bias of products. */
export function withoutBias(compute: Compute, ...[family, operands]: Parameters<Compute>): void {
  compute(family, family === "linear" ? { ...operands, bias: undefined } : operands);
}
