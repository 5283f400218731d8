import { createInstance } from "../dawn.ts";
import { Gpu } from "../gpu.ts";
import { type Finding, interpretingDevice, type Watcher } from "./wgsl/device.ts";

/** A GPU whose kernels are interpreted and checked, and what was found in them. */
export interface InterpretedGpu {
  readonly gpu: Gpu;
  readonly findings: readonly Finding[];
}

/**
 * Opens one. What is found also fails it, as an error of a real GPU does.
 * @param dispatching sees each dispatch before it runs
 */
export function openInterpreted(dispatching?: Watcher["dispatching"]): InterpretedGpu {
  const findings: Finding[] = [];
  const found = (finding: Finding): void => void findings.push(finding);
  const device = interpretingDevice(dispatching === undefined ? { found } : { found, dispatching });
  const info = {
    name: "interpreter",
    vendor: "",
    architecture: "",
    driver: "",
    software: true,
    features: [],
    subgroupMinSize: 0,
    subgroupMaxSize: 0,
    integerDots: false,
  };
  // The addon brings WebGPU's constants.
  return { gpu: Gpu.on({ instance: createInstance([]), device, info }), findings };
}
