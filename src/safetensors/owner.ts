import { createHash } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { systemCode } from "./failure.ts";

/**
 * A process, told apart from later ones that get the same id: the id and, on Linux, when it started (in clock ticks
 * since boot; 0 where the system does not say).
 */
export interface Owner {
  /** The machine, or container, in which the id means it. */
  readonly place: string;
  readonly pid: number;
  readonly start: number;
}

/** This machine, or container: where process ids mean the same. */
const PLACE = createHash("sha256").update(`${hostname()} ${processNamespace()}`).digest("hex").slice(0, 8);
/** Of an owner elsewhere only its files tell; one that was silent for longer than this has ended. */
const DEAD_AFTER_MS = 3 * 60 * 1000;
const BEAT_MS = 20 * 1000;

/** This process. */
export function self(): Owner {
  return { place: PLACE, pid: process.pid, start: processStat(process.pid)?.start ?? 0 };
}

/** As a part of the names of files: `PLACE-PID-START`. */
export function ownerName({ place, pid, start }: Owner): string {
  return `${place}-${pid}-${start}`;
}

/** What {@link ownerName} made; names without a place, of earlier versions, are of this machine. */
export function parseOwner(name: string): Owner | undefined {
  const [, place = PLACE, pid, start] = /^(?:([0-9a-f]{8})-)?(\d+)-(\d+)$/.exec(name) ?? [];
  return pid === undefined ? undefined : { place, pid: Number(pid), start: Number(start) };
}

/** For messages: `process 7`, `process 7 on another machine`. */
export function describeOwner({ place, pid }: Owner): string {
  return `process ${pid}${place === PLACE ? "" : " on another machine (or in another container)"}`;
}

/** For hints that say to wait for it: how long, where it was killed and nobody here can see that. */
export function ifKilled({ place }: Owner): string {
  return place === PLACE ? "" : `; if it was killed, wait ${DEAD_AFTER_MS / 60_000} minutes`;
}

/** Tells other machines, until it is called off, that the owner of this file or folder lives: its time is kept new. */
export function keepAlive(path: string, everyMs = BEAT_MS): () => void {
  const beat = () => void utimes(path, new Date(), new Date()).catch(() => {});
  const timer = setInterval(beat, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}

/**
 * Does the process still run? When the system does not tell, yes: what it owns must not be taken from it.
 * @param changedMs when what it owns was last changed: what tells of a process elsewhere
 * @param deadAfterMs the silence after which that one has ended
 */
export function isAlive({ place, pid, start }: Owner, changedMs: number, deadAfterMs = DEAD_AFTER_MS): boolean {
  if (place !== PLACE) return Date.now() - changedMs < deadAfterMs;
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

/** On Linux, which set of process ids this process lives in; containers may share a host name. */
function processNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}
