import { RandloraError } from "../../files/errors.ts";
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
  "take the program's own CPU device with --device cpu, or install a Vulkan driver: `apt-get install mesa-vulkan-drivers libvulkan1` brings the open ones and a software GPU; " +
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
 * Picks by `--device`: an index into the list, `software`, a name, or a part of one (case ignored). A number of more than two
 * digits that is no index is a part of a name: 4090.
 * @throws RandloraError `gpu` when nothing or more than one name matches
 */
export function pickGpu(list: readonly GpuEntry[], choice: string): GpuEntry {
  const hint = list.length === 0 ? DRIVER_HINT : `there are: cpu, ${numbered(list, list)}`;
  const isNumber = /^\d+$/.test(choice);
  const byIndex = isNumber ? list[Number(choice)] : undefined;
  if (byIndex !== undefined) return byIndex;
  if (isNumber && choice.length <= 2) {
    throw new RandloraError("gpu", `--device ${choice}: no GPU has this index`, hint);
  }
  const wanted = choice.toLowerCase();
  if (wanted === "software") {
    const emulated = list.find(({ software }) => software);
    if (emulated !== undefined) return emulated;
  }
  const matches = list.filter(({ name }) => name.toLowerCase().includes(wanted));
  const exact = matches.find(({ name }) => name.toLowerCase() === wanted);
  const [first] = matches;
  const found = exact ?? first;
  if (found === undefined) {
    const what = isNumber ? "no GPU has this index, or this in its name" : "no such GPU";
    throw new RandloraError("gpu", `--device ${choice}: ${what}`, hint);
  }
  if (exact === undefined && matches.some(({ name }) => name !== found.name)) {
    const message = `--device ${choice}: more than one GPU has this in its name`;
    throw new RandloraError("gpu", message, `choose one of these: ${numbered(list, matches)}`);
  }
  return found;
}

/** These of the list's, with their indices there. */
function numbered(list: readonly GpuEntry[], some: readonly GpuEntry[]): string {
  return some.map((entry) => `${list.indexOf(entry)} ${entry.name} (${entry.backend})`).join(", ");
}

/**
 * Sees that Dawn opened the GPU that was picked: it opens the first whose name contains the one that is asked for, so
 * that of a card and one called the same with more behind it ("… 4070", "… 4070 Ti") the wrong one may come. What a
 * driver calls a card when it is open may be spelled otherwise; the name of another one of the list is proof.
 * @param device as WebGPU gives it: in small letters, with hyphens for all but letters and digits; or an id, or nothing
 * @throws RandloraError `gpu` naming both
 */
export function checkOpened(list: readonly GpuEntry[], { name, backend }: GpuEntry, device: string): void {
  const opened = normalized(device);
  if (opened === normalized(name) || !list.some((other) => normalized(other.name) === opened)) return;
  throw new RandloraError(
    "gpu",
    `${name} (${backend}) was chosen, and the driver opened ${device} instead`,
    "a GPU whose name is the beginning of another's cannot be chosen beside it: hide that one from the driver",
  );
}

/** The letters and digits, which are all that WebGPU's identifiers keep of a name. */
function normalized(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, "");
}
