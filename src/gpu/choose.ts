import { RandloraError } from "../errors.ts";
import { createInstance, releaseInstance } from "./dawn.ts";

/** One GPU as Dawn lists it. */
export interface GpuEntry {
  readonly name: string;
  /** `vulkan`, `metal`, `d3d12`, … */
  readonly backend: string;
  /** A CPU that plays a GPU: right answers, slowly. */
  readonly software: boolean;
}

/** Shown wherever no GPU can be opened. */
export const DRIVER_HINT =
  "install a Vulkan driver: `apt-get install mesa-vulkan-drivers libvulkan1` brings the open ones and a software GPU; " +
  "`randlora doctor` shows what is found";

const SOFTWARE = /llvmpipe|lavapipe|swiftshader|basic render|\bcpu\b/i;

/** A name no GPU has: Dawn answers it with the list of those that exist (there is no call for that). */
const NOBODY = "adapter=randlora asks for the list";

/** Whether a GPU of this name is emulated on the CPU. */
export function isSoftware(name: string): boolean {
  return SOFTWARE.test(name);
}

/**
 * Lists the GPUs of this machine, in Dawn's order. The text that Dawn prints is parsed: `* backend: 'B', name: 'N'`.
 * @returns an empty list where there is no driver
 */
export async function listGpus(): Promise<GpuEntry[]> {
  const gpu = createInstance([NOBODY]);
  try {
    await gpu.requestAdapter();
    return [];
  } catch (error) {
    return parseGpuList(error instanceof Error ? error.message : String(error));
  } finally {
    releaseInstance(gpu);
  }
}

/** The list inside Dawn's error text, without duplicates. */
export function parseGpuList(text: string): GpuEntry[] {
  const entries = new Map<string, GpuEntry>();
  for (const [, backend = "", name = ""] of text.matchAll(/backend: '([^']*)', name: '([^\n]*)'/g)) {
    entries.set(`${backend} ${name}`, { name, backend, software: isSoftware(name) });
  }
  return [...entries.values()];
}

/** What opens this GPU: one card may be listed under several backends. Equal cards of one backend cannot be told apart. */
export function adapterFlags({ backend, name }: GpuEntry): string[] {
  return [`backend=${backend}`, `adapter=${name}`];
}

/**
 * Picks by `--gpu`: an index into the list, `software`, or a part of a name (case ignored).
 * @throws RandloraError `gpu` when nothing or more than one name matches
 */
export function pickGpu(list: readonly GpuEntry[], choice: string): GpuEntry {
  const names = list.map((entry, index) => `${index} ${entry.name} (${entry.backend})`).join(", ");
  const hint = list.length === 0 ? DRIVER_HINT : `there are: ${names}`;
  if (/^\d+$/.test(choice)) {
    const entry = list[Number(choice)];
    if (entry === undefined) throw new RandloraError("gpu", `--gpu ${choice}: no GPU has this index`, hint);
    return entry;
  }
  const wanted = choice.toLowerCase();
  const matches = list.filter((entry) =>
    wanted === "software" ? entry.software : entry.name.toLowerCase().includes(wanted),
  );
  const [first, second] = matches;
  if (first === undefined) throw new RandloraError("gpu", `--gpu ${choice}: no such GPU`, hint);
  if (second !== undefined && second.name !== first.name && wanted !== "software") {
    throw new RandloraError("gpu", `--gpu ${choice}: more than one GPU has this in its name`, hint);
  }
  return first;
}
