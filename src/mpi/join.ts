import { launched } from "./launcher.ts";
import type { JoinedProcesses } from "./joined.ts";
import { ALONE, type Processes } from "./processes.ts";

let joined: Promise<JoinedProcesses> | undefined;

/**
 * The processes that a launcher (`mpirun`, `srun`) started together with this one; a process alone loads no MPI.
 * @throws RandloraError `file` where there is a launcher and no MPI library for it
 */
export async function joinProcesses(environment = process.env): Promise<Processes> {
  const by = launched(environment);
  if (by === undefined) return ALONE;
  const { JoinedProcesses: Joined } = await import("./joined.ts");
  if (joined === undefined) {
    // Of a program that uses the library: the launcher would take an end without the others for a crash.
    process.once("beforeExit", () => void endJoined(Number(process.exitCode ?? 0)));
    joined = Joined.join(by);
  }
  return await joined;
}

/** Ends a process that has joined others, which waits for them; returns in one that has not. */
export async function endJoined(status: number): Promise<void> {
  const processes = await joined?.catch(() => undefined);
  if (processes === undefined) return;
  // C's exit waits for no pipe.
  for (const stream of [process.stdout, process.stderr]) await new Promise((done) => stream.write("", done));
  await processes.end(status);
}
