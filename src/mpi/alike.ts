import type { Processes } from "./processes.ts";

/** What a process has otherwise than the first. */
export interface Unlike {
  readonly rank: number;
  readonly key: string;
  readonly first: unknown;
  readonly other: unknown;
}

/** Compares values that JSON holds among all processes. @returns one that is not alike; undefined where all are */
export async function findUnlike(
  processes: Processes,
  own: Readonly<Record<string, unknown>>,
): Promise<Unlike | undefined> {
  if (processes.size === 1) return undefined;
  const all = await processes.each(JSON.stringify(own));
  const rank = all.findIndex((one) => one !== all[0]);
  if (rank < 0) return undefined;
  const read = (text = "{}") => JSON.parse(text) as Readonly<Record<string, unknown>>;
  const [first, other] = [read(all[0]), read(all[rank])];
  const isOther = (name: string) => JSON.stringify(first[name]) !== JSON.stringify(other[name]);
  const key = Object.keys({ ...first, ...other }).find(isOther) ?? "";
  return { rank, key, first: first[key], other: other[key] };
}
