import { createHash } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { systemCode } from "./failure.ts";

/**
 * A process, told apart from later ones that get the same id: the id and, on Linux, when it started (in clock ticks
 * since boot; 0 where the system does not say).
 */
export interface Owner {
  /** Where the id means it: 8 digits for the running kernel, 4 for the container. */
  readonly place: string;
  readonly pid: number;
  readonly start: number;
}

const KERNEL_DIGITS = 8;
const PLACE = digits(kernel(), KERNEL_DIGITS) + digits(processNamespace(), 4);

/** This process. */
export function self(): Owner {
  return { place: PLACE, pid: process.pid, start: processStat(process.pid)?.start ?? 0 };
}

/** As a part of the names of files: `PLACE-PID-START`. */
export function ownerName({ place, pid, start }: Owner): string {
  return `${place}-${pid}-${start}`;
}

/** What {@link ownerName} made. Two numbers without a place may be in any name of the user's, and are nobody's. */
export function parseOwner(name: string): Owner | undefined {
  const [, place, pid, start] = /^([0-9a-f]{8,12})-(\d+)-(\d+)$/.exec(name) ?? [];
  return place === undefined ? undefined : { place, pid: Number(pid), start: Number(start) };
}

/** For messages: `process 7`, `process 7 on another machine`. */
export function describeOwner({ place, pid }: Owner): string {
  return `process ${pid}${place === PLACE ? "" : " on another machine (or in another container)"}`;
}

/** Does the owner live under the kernel that runs this process, be it in another container? Not after a restart. */
export function hasSameKernel({ place }: Owner): boolean {
  return place.slice(0, KERNEL_DIGITS) === PLACE.slice(0, KERNEL_DIGITS);
}

/** Does a process of this place still run? `undefined` for one elsewhere, whose id says nothing here. */
export function isRunning({ place, pid, start }: Owner): boolean | undefined {
  if (place !== PLACE) return undefined;
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

/** What tells this kernel from others, and from itself before a restart; without /proc the machine's name. */
function kernel(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1");
  } catch {
    return hostname();
  }
}

/** On Linux, which set of process ids this process lives in. */
function processNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}

function digits(text: string, count: number): string {
  return createHash("sha256").update(text).digest("hex").slice(0, count);
}
