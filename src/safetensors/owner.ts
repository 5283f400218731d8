import { readFileSync } from "node:fs";
import { systemCode } from "./failure.ts";

/**
 * A process, told apart from later ones that get the same id: the id and, on Linux, when it started (in clock ticks
 * since boot; 0 where the system does not say).
 */
export interface Owner {
  readonly pid: number;
  readonly start: number;
}

/** This process. */
export function self(): Owner {
  return { pid: process.pid, start: processStat(process.pid)?.start ?? 0 };
}

/** Does the process still run? When the system does not tell, yes: what it owns must not be taken from it. */
export function isAlive({ pid, start }: Owner): boolean {
  try {
    process.kill(pid, 0);
  } catch (thrown) {
    // Anything but "no such process" (another user's, for one) means that there is one.
    if (systemCode(thrown) === "ESRCH") return false;
  }
  const found = processStat(pid);
  if (found === undefined) return true;
  // Z and X: it has ended, only its parent has not asked yet.
  return found.state !== "Z" && found.state !== "X" && (start === 0 || start === found.start);
}

/** State and start of a process as Linux' /proc tells; `undefined` elsewhere or when it may not be read. */
function processStat(pid: number): { state: string; start: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    // proc_pid_stat(5): the name in parentheses may hold anything; after it come field 3, the state, and field 22.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0] ?? "", start: Number(fields[19]) };
  } catch {
    return undefined;
  }
}
