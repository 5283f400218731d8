import type { BigIntStats, Dirent } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { RandloraError } from "./errors.ts";
import { found } from "./disk.ts";
import { naming, oneLine } from "./failure.ts";

/** What an output needs to know before it is begun. */
export interface PublicationOptions {
  readonly kind: "file" | "folder";
  /** Replace an output that exists. */
  readonly force?: boolean;
  /** Other processes may write the same bytes at the same time: the output is the first one's, and that is no failure. */
  readonly alike?: boolean;
  /** Why a folder with these entries may not be replaced; undefined where it may, as an empty one always may. */
  readonly objection?: (entries: readonly Dirent[]) => string | undefined;
  /** Files and folders that are read meanwhile: the output may be none of them, nor a file in one of them. */
  readonly inputs?: readonly string[];
}

/**
 * Refuses an output that must not be begun: one that exists (without `force`), is of the other kind, is or holds an
 * input, or is a folder that may not be replaced. Throws `RandloraError` "file".
 * @param target absolute, without symbolic links
 */
export async function checkTarget(target: string, options: PublicationOptions): Promise<void> {
  const { kind, force, alike, objection = () => undefined } = options;
  const there = await refuseInputs(target, options);
  if (there === undefined) return;
  refuseOtherKind(target, kind, there);
  if (force !== true) {
    if (alike === true) return;
    throw existing(target);
  }
  if (kind === "folder" && isInside(process.cwd(), target)) {
    throw refusal(target, "it holds the current folder", "choose another output");
  }
  if (kind === "file") return;
  const entries = await naming(target, "read", readdir(target, { withFileTypes: true }));
  const cause = entries.length === 0 ? undefined : objection(entries);
  if (cause !== undefined) throw refusal(target, cause, "remove it yourself, or choose another output");
}

/**
 * Refuses an output that is, holds, or lies in an input. Throws `RandloraError` "file".
 * @param target absolute, without symbolic links
 * @returns what is there
 */
export async function refuseInputs(
  target: string,
  { kind, inputs = [] }: Pick<PublicationOptions, "kind" | "inputs">,
): Promise<BigIntStats | undefined> {
  const there = await found(target);
  const inputStats = await Promise.all(inputs.map((input) => naming(input, "read", stat(input, { bigint: true }))));
  for (const [i, input] of inputs.entries()) {
    if (there === undefined) break;
    const inputStat = inputStats[i];
    if (inputStat !== undefined && same(inputStat, there)) throw isInput(target, `it is the input ${oneLine(input)}`);
    if (inputStat?.isDirectory() === true && kind === "file") {
      const isBelow = isInside(target, await realpath(input));
      if (isBelow || (await entriesOf(input)).some((entry) => same(entry, there))) {
        throw isInput(target, `it is a file of the input ${oneLine(input)}`);
      }
    }
    if (kind === "folder" && (await leadsThrough(input, target))) {
      throw refusal(target, `it holds the input ${oneLine(input)}`, "choose another output");
    }
  }
  return there;
}

/** Refuses to replace a folder by a file or the reverse, and devices. Throws `RandloraError` "file". @param there what is there */
export function refuseOtherKind(
  target: string,
  kind: PublicationOptions["kind"],
  there: Pick<BigIntStats, "isDirectory" | "isFile">,
): void {
  if (kind === "folder" && !there.isDirectory()) throw refusal(target, "it exists and is not a folder", "remove it");
  if (kind === "file" && !there.isFile()) throw refusal(target, "it exists and is not a file", "name another output");
}

async function entriesOf(folder: string): Promise<BigIntStats[]> {
  const names = await readdir(folder);
  const stats = await Promise.allSettled(names.map((name) => stat(join(folder, name), { bigint: true })));
  return stats.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
}

function same(a: BigIntStats, b: BigIntStats): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

/** Is `path` below `folder`, or `folder` itself? */
export function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : `${folder}${sep}`);
}

/** Is `path` in `folder`, or does a link lead through it or out of it? */
async function leadsThrough(path: string, folder: string): Promise<boolean> {
  for (let at = resolve(path); ; at = dirname(at)) {
    if (isInside(await realpath(at), folder)) return true;
    if (at === dirname(at)) return false;
  }
}

function isInput(target: string, cause: string): RandloraError {
  return refusal(target, cause, "choose another output: the input is never changed");
}

/** The output exists, and `--force` was not given. */
export function existing(target: string): RandloraError {
  return refusal(target, "it exists already", "name another output, or replace it with --force");
}

/** Why `target` cannot be written, and what to do. */
export function refusal(target: string, cause: string, hint: string): RandloraError {
  return new RandloraError("file", `cannot write ${oneLine(target)}: ${cause}`, hint);
}
