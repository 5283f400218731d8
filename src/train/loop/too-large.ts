import type { Device, DeviceInfo } from "../../compute/device/device.ts";
import { machineMemory } from "../../compute/device/machine-memory.ts";
import { megabytes, sharesMachine } from "../../compute/device/memory-limit.ts";
import { RandloraError } from "../../files/errors.ts";
import { shellWord } from "../../files/failure.ts";
import type { SavedState } from "../../models/folder/run-states.ts";
import { ALONE, type Processes, standIn } from "../../mpi/processes.ts";
import type { Subject, TrainingSource } from "../model/subject.ts";
import { type Chosen, chooseOptions } from "./choose-options.ts";

/**
 * How a run computes that the memory suffices for.
 * @throws RandloraError as `chooseOptions`; `memory` where it does not
 */
export async function chooseWhatFits<Batch>(
  gpu: Device,
  source: TrainingSource<Batch>,
  { subject, processes = ALONE }: { readonly subject: Subject<Batch>; readonly processes?: Processes | undefined },
  state: SavedState | undefined,
  warn: (line: string) => void,
): Promise<Chosen> {
  const { settings } = source;
  const chosen = await chooseOptions(gpu, source, subject.plan(settings, processes), state, warn, { processes });
  refuseTooLarge(gpu, chosen.bytes, await smallerThan(chosen));
  return chosen;

  /** What takes less memory; under `--memory` what of it suffices. */
  async function smallerThan({ bytes }: Chosen): Promise<string> {
    const { smaller } = source;
    if (bytes <= gpu.memory.limit) return smaller;
    const quantized = settings.quantize === null && settings.adapter !== null ? ", or --quantize q4" : "";
    for (let batchSize = Math.floor(settings.batchSize / 2); batchSize >= 1; batchSize = Math.floor(batchSize / 2)) {
      const plan = subject.plan({ ...settings, batchSize });
      const less = await chooseOptions(gpu, source, plan, state, () => {}, { processes: standIn(processes) });
      if (less.bytes > gpu.memory.limit) continue;
      return `${smaller} (--batch-size ${batchSize} takes about ${megabytes(less.bytes)})${quantized}`;
    }
    return `${smaller}${quantized}`;
  }
}

/**
 * Refuses what `--memory` does not allow, and what this machine cannot hold where the device has no memory of its own: such a run
 * would not fail, but be killed.
 * @param bytes that it takes at most
 * @param smaller what takes less, for the hint
 * @throws RandloraError `memory`
 */
export function refuseTooLarge(
  { info, memory }: Pick<Device, "info" | "memory">,
  bytes: number,
  smaller: string,
  { total } = machineMemory(),
): void {
  const allowed = memory.limit - memory.liveBytes;
  const there = sharesMachine(info) ? total : Infinity;
  if (bytes <= Math.min(allowed, there)) return;
  const [needed, most] = [bytes, Math.min(memory.limit, there)].map(megabytes);
  const isLimit = memory.limit < there;
  const cause = `about ${needed} of memory are needed, and ${isLimit ? "--memory allows" : "this machine has"} ${most}`;
  const other = isLimit ? "raise --memory" : "choose a GPU with --device";
  throw new RandloraError("memory", cause, `give a smaller rank or ${smaller}, or ${other}`);
}

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
