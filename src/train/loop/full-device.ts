import type { DeviceInfo } from "../../compute/device/device.ts";
import { shellWord } from "../../files/failure.ts";

interface FullRun {
  /** What makes a micro-batch smaller. */
  readonly smaller: string;
  /** Where the run can go on; undefined where nothing was saved. */
  readonly resume: { readonly step: number; readonly path: string; readonly checkpointing: boolean } | undefined;
}

/** What helps a run whose device is full. One that computes on the processor has the machine's memory, and no other has more. */
export function hintOfFullDevice({ software }: Pick<DeviceInfo, "software">, { smaller, resume }: FullRun): string {
  const others = software ? "close other programs that take memory" : "close other programs that use the GPU";
  if (resume === undefined) {
    return software
      ? `${others}, or give ${smaller}`
      : `${others}, choose another device with --device, or give ${smaller}`;
  }
  const { step, path, checkpointing } = resume;
  const flag = checkpointing ? "" : " --checkpoint-activations";
  return `${others}, then go on from step ${step}: --resume ${shellWord(path)}${flag}; a new run takes less with ${smaller}`;
}
