import { RandloraError } from "./errors.ts";
import { escaped, visible } from "./visible.ts";

const CAUSES: Readonly<Record<string, readonly [message: string, hint: string]>> = {
  ENOENT: ["no such file or folder", "check the path"],
  EACCES: ["permission denied", "check who may read and write there"],
  EPERM: ["operation not permitted", "check who may read and write there"],
  ENOSPC: ["the disk is full", "free some space, or write to another disk"],
  EDQUOT: ["the disk quota is used up", "free some space, or write to another disk"],
  EFBIG: [
    "the file would be larger than the file system, or the limit of this process (ulimit -f), allows",
    "raise the limit (ulimit -f unlimited), or write smaller files or to another disk",
  ],
  EROFS: ["the file system is read-only", "write to another folder"],
  ENOTDIR: ["a part of this path is a file, not a folder", "check the path"],
  EISDIR: ["this is a folder, not a file", "check the path"],
  EEXIST: ["it exists already", ""],
  ENAMETOOLONG: ["the name is too long", "choose a shorter name"],
  EMFILE: ["too many open files", "raise the limit (ulimit -n)"],
  ENFILE: ["too many open files", "close other programs, then try again"],
  ELOOP: ["symbolic links form a loop", "check the path"],
  EIO: ["the disk reported an error", "check the disk"],
  EBUSY: ["it is in use", "close what uses it, then try again"],
};

/** The system's code (`ENOENT`, `ENOSPC`, …) of a thrown value, or `undefined` when it has none. */
export function systemCode(thrown: unknown): string | undefined {
  if (thrown instanceof Error && "code" in thrown && typeof thrown.code === "string") return thrown.code;
  return undefined;
}

/** A system error as a {@link RandloraError} that names `path`. One that already is a RandloraError passes through. */
export function fileError(thrown: unknown, path: string, doing: "read" | "write"): RandloraError {
  if (thrown instanceof RandloraError) return thrown;
  const code = systemCode(thrown) ?? "";
  const [cause, hint] = CAUSES[code] ?? [thrown instanceof Error ? thrown.message : String(thrown), ""];
  return new RandloraError("file", `cannot ${doing} ${oneLine(path)}: ${cause}`, hint, { cause: thrown });
}

/** Waits for `work`, turning what it throws into a {@link RandloraError} that names `path`. */
export async function naming<T>(path: string, doing: "read" | "write", work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (thrown) {
    throw fileError(thrown, path, doing);
  }
}

/** A path as a shell takes it, in a command that may be copied. */
export function shellWord(path: string): string {
  const line = oneLine(path);
  return /^[\p{L}\p{N}_.,:=@%+/-]+$/u.test(line) ? line : `'${line.replaceAll("'", String.raw`'\''`)}'`;
}

/** A name from a file in double quotes, on one line and not longer than a line: files may hold anything. */
export function quote(name: string): string {
  const characters = [...name];
  return escaped(characters.length > 200 ? `${characters.slice(0, 200).join("")}…` : name);
}

/** What a check says of a value that a file holds, on one line and not longer than a line. */
export function brief(text: string): string {
  return visible(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}

/** A path without characters that would break the line it is printed on. */
export function oneLine(path: string): string {
  return visible(path);
}
