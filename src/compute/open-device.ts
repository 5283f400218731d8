import { CpuDevice } from "./cpu/cpu.ts";
import type { Device, DeviceInfo } from "./device/device.ts";
import { RandloraError } from "../files/errors.ts";
import { Gpu } from "./gpu/gpu.ts";

/** What is asked of a device. */
export interface DeviceOptions {
  /**
   * `--device`: `cpu`, the program's own; a GPU's name or index; or `software`, Vulkan's CPU driver. Undefined takes the
   * fastest real GPU, and the CPU device where there is none.
   */
  readonly choice?: string | undefined;
  /** Of the CPU device: one for each core by default. */
  readonly threads?: number | undefined;
  /** `--memory`: bytes that its buffers may take together. */
  readonly memory?: number | undefined;
  /** Time every kernel. */
  readonly profile?: boolean | undefined;
  /** Told of each device that is opened. */
  readonly onOpen?: ((info: DeviceInfo) => void) | undefined;
  /** Told what of the CPU device's machine code computes otherwise than WebAssembly here, and is not used. */
  readonly onFault?: ((fault: string) => void) | undefined;
}

/** Whether this choice is the program's own CPU device, which no GPU library is loaded for. */
export function isCpu(choice: string | undefined): boolean {
  return choice?.toLowerCase() === "cpu";
}

/**
 * Opens what the program computes on. Everything else knows it as a {@link Device}.
 * @throws RandloraError `gpu` when the choice matches none, or when its driver fails; `memory`
 */
export async function openDevice(options: DeviceOptions = {}): Promise<Device> {
  const device = await open(options);
  options.onOpen?.(device.info);
  return device;
}

async function open({ choice, threads, onFault, ...options }: DeviceOptions): Promise<Device> {
  const { memory, profile } = options;
  if (choice !== undefined && !isCpu(choice)) return await Gpu.open({ choice, memory, profile });
  const gpu = choice === undefined ? await realGpu({ memory, profile }) : undefined;
  return gpu ?? (await CpuDevice.open({ threads, memory, profile, onFault }));
}

/** Nobody asked for a GPU, so a driver that fails is no more to them than one that is missing. */
async function realGpu(options: Pick<DeviceOptions, "memory" | "profile">): Promise<Gpu | undefined> {
  try {
    return await Gpu.openReal(options);
  } catch (thrown) {
    if (thrown instanceof RandloraError && thrown.code === "gpu") return undefined;
    throw thrown;
  }
}
