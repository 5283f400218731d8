import { coreCount } from "../../compute/cpu/cores.ts";
import { joinProcesses } from "../../mpi/join.ts";
import type { Processes } from "../../mpi/processes.ts";
import { silentProgress } from "../progress.ts";
import { SILENT } from "../screen.ts";
import type { Context } from "./command.ts";

/**
 * Work that processes of a launcher share: all do it, and the first one alone shows something. Where one fails, all end, and
 * the one that failed says why.
 */
export async function shared<T>(
  context: Context,
  work: (processes: Processes, own: Context) => Promise<T>,
): Promise<T> {
  const processes = await joinProcesses();
  try {
    const own = processes.rank === 0 ? context : silent(context);
    return await work(processes, { ...own, device: { ...own.device, threads: threadsOf(context, processes) } });
  } catch (thrown) {
    throw await processes.failed(thrown);
  }
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
