import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { coreCount } from "../../compute/cpu/cores.ts";
import type { Device } from "../../compute/device/device.ts";
import { RandloraError } from "../../files/errors.ts";
import { oneLine } from "../../files/failure.ts";
import { RepositoryFolder } from "../../files/hub/layout.ts";
import { parseHubName } from "../../files/hub/name.ts";
import { hubSettings, type HubSettings } from "../../files/hub/settings.ts";
import { findUnlike } from "../../mpi/alike.ts";
import { joinProcesses } from "../../mpi/join.ts";
import { ALONE_VARIABLE } from "../../mpi/launcher.ts";
import type { Processes } from "../../mpi/processes.ts";
import { silentProgress } from "../progress.ts";
import { SILENT } from "../screen.ts";
import type { Context } from "./command.ts";
import { flagName } from "./names.ts";

/** Where each process has options from, beside the command line. */
export const OTHER_OPTIONS_HINT = `give all of them the same options; the environment and randlora.yaml of each machine have some, too; where each is to work by itself: ${ALONE_VARIABLE}=0`;

/** Options that name what the first process writes. */
const WRITTEN: ReadonlySet<string> = new Set(["out", "svg", "parts"]);
const MODEL_FILE = /\.(?:safetensors|gguf|json|jinja|model)$/;
/** Files of up to twice as much are compared as a whole. */
const END_BYTES = 2 ** 20;

/**
 * Work that processes of a launcher share: all do it, and the first one alone shows something. Where one fails, all end, and
 * the one that failed says why. Each is given the result.
 * @param asked arguments and options, which all must have alike; empty where the work itself compares them
 * @throws RandloraError `usage` naming what one of them was told otherwise
 */
export async function shared(
  context: Context,
  asked: Readonly<Record<string, unknown>>,
  work: (processes: Processes, own: Context) => Promise<void>,
): Promise<void> {
  const processes = await joinProcesses();
  try {
    await refuseOtherOptions(processes, asked);
    await refuseOtherFiles(processes, asked);
    const own = processes.rank === 0 ? context : silent(context);
    const device = { ...own.device, threads: threadsOf(context, processes) };
    if (processes.size === 1) return await work(processes, { ...own, device });
    let found: string | null = null;
    const result: Context["result"] = (data, ...how) => {
      found = JSON.stringify(data);
      own.result(data, ...how);
    };
    await work(processes, { ...own, device, result });
    // What the first one tells is known to all: each may be a program that goes on with it.
    const [told = null] = await processes.each(found);
    if (processes.rank > 0 && told !== null) context.result(JSON.parse(told), undefined, "shared");
  } catch (thrown) {
    throw await processes.failed(thrown);
  }
}

export async function refuseOtherOptions(
  processes: Processes,
  asked: Readonly<Record<string, unknown>>,
): Promise<void> {
  const unlike = await findUnlike(processes, asked);
  if (unlike === undefined) return;
  const { key, rank, first, other } = unlike;
  const said = (value: unknown) => oneLine(typeof value === "string" ? value : (JSON.stringify(value) ?? "none"));
  const cause = `${inHelp(key)}: process ${rank} has ${said(other)}, process 0 ${said(first)}`;
  throw new RandloraError("usage", cause, OTHER_OPTIONS_HINT);
}

/**
 * Refuses processes that find other files under the paths that they were given: a disk of their own may hold an older copy.
 * Of names on the Hub, commits in the caches are compared where all are offline: else the Hub is yet to say which it is.
 * @throws RandloraError `model` naming the first such file
 */
export async function refuseOtherFiles(
  processes: Processes,
  asked: Readonly<Record<string, unknown>>,
  hub = hubSettings(),
): Promise<void> {
  if (processes.size === 1) return;
  const own: Record<string, string> = {};
  for (const [key, value] of Object.entries(asked)) {
    if (typeof value !== "string" || WRITTEN.has(key)) continue;
    for (const [name, digest] of Object.entries(await contentsOf(value, hub))) own[`${inHelp(key)}: ${name}`] = digest;
  }
  const unlike = await findUnlike(processes, own);
  if (unlike === undefined) return;
  const cause = `${oneLine(unlike.key)}: process ${unlike.rank} has another file there than process 0, or none`;
  throw new RandloraError("model", cause, "give all of them the same files, on a disk that they share or in copies");
}

/** Digests of a file, or of a folder's files that a model or an adapter is made of, by name; a cached repository's commit. */
async function contentsOf(path: string, hub: HubSettings): Promise<Record<string, string>> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile() === true) return { [basename(path)]: await digestOf(path, found.size) };
  if (found === undefined && hub.offline) {
    const name = parseHubName(path);
    const commit = name && (await new RepositoryFolder(hub.cacheDir, name.repo).commitOf(name.revision));
    return commit === undefined ? {} : { [`${path} in the Hub's cache`]: commit };
  }
  if (found?.isDirectory() !== true) return {};
  const contents: Record<string, string> = {};
  for (const name of (await readdir(path)).filter((one) => MODEL_FILE.test(one)).toSorted()) {
    const file = await stat(join(path, name));
    if (file.isFile()) contents[name] = await digestOf(join(path, name), file.size);
  }
  return contents;
}

/** Of a large file its size and its two ends: what is between costs as long as loading it. */
async function digestOf(path: string, size: number): Promise<string> {
  const hash = createHash("sha256").update(String(size));
  hash.update(await Bun.file(path).slice(0, END_BYTES).bytes());
  if (size > END_BYTES)
    hash.update(
      await Bun.file(path)
        .slice(Math.max(END_BYTES, size - END_BYTES), size)
        .bytes(),
    );
  return hash.digest("hex");
}

function inHelp(key: string): string {
  return /^[A-Z]/.test(key) ? key : `--${flagName(key)}`;
}

/** Refuses processes whose numbers differ in the last bits. @throws RandloraError `gpu` for another device than the first's */
export async function refuseOtherDevice(
  processes: Processes,
  { info, staging }: Pick<Device, "info" | "staging">,
): Promise<void> {
  const device = `${info.name}, ${info.driver}, ${JSON.stringify(staging)}`;
  const unlike = await findUnlike(processes, { device });
  if (unlike === undefined) return;
  const { rank, first, other } = unlike;
  const cause = `process ${rank} computes on ${other}, process 0 on ${first}: their sums differ in the last bits`;
  throw new RandloraError(
    "gpu",
    cause,
    "start all on the same kind of device, or choose one that all have: --device cpu",
  );
}

/** Those that the launcher did not bind to cores of their own share what they have. */
function threadsOf({ device }: Context, { local }: Processes): number | undefined {
  if (device.threads !== undefined || local.sharing === 1) return device.threads;
  return Math.max(1, Math.floor(coreCount() / local.sharing));
}

/** Shows nothing. What stops it, and what it computes on, are the same. */
function silent(context: Context): Context {
  const nothing = () => undefined;
  const log = { ...context.log, info: nothing, warn: nothing, verbose: nothing, announce: nothing };
  return { ...context, log, print: nothing, result: nothing, progress: silentProgress, screen: SILENT };
}
