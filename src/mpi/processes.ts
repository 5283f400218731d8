import { Contradiction, type ErrorCode } from "../files/errors.ts";

/** The processes that share a piece of work. What all of them must do alike, in the same order, is asynchronous here. */
export interface Processes {
  /** Of this one, from 0. */
  readonly rank: number;
  readonly size: number;
  /** The same of those on this machine; `sharing`: how many of them, this one included, have the same cores. */
  readonly local: { readonly rank: number; readonly size: number; readonly sharing: number };
  /**
   * What each process gives, by rank.
   * @throws EndedByOther when another process has failed
   */
  gather(own: Uint8Array<ArrayBuffer>): Promise<readonly Uint8Array<ArrayBuffer>[]>;
  /** What this process is to give next, where that is known already; nobody needs to compute it then. */
  recall?(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /**
   * The same of values that JSON holds.
   * @throws EndedByOther when another process has failed
   */
  each<T extends string | number | boolean | null>(own: T): Promise<readonly T[]>;
  /**
   * Tells the others that this one has failed, or that the command has to begin anew ({@link Contradiction}).
   * @returns what is to be thrown: what was, or, where it is another process that says why, {@link EndedByOther}
   */
  failed(thrown: unknown): Promise<unknown>;
}

/** Another process has failed, and says why: nothing is left to say here. */
export class EndedByOther extends Error {
  override readonly name = "EndedByOther";
  /** What kind of error it says; undefined: a bug. */
  readonly code: ErrorCode | undefined;
  /** Where it is one after which the command may begin anew: then all do, or none. */
  readonly contradiction: Contradiction | undefined;

  /** @param contradicted options that exclude each other */
  constructor(code: ErrorCode | undefined, contradicted?: readonly string[]) {
    super("another process has failed");
    this.code = code;
    this.contradiction = contradicted && new Contradiction(contradicted, this.message, "");
  }
}

/** A process by itself. */
export const ALONE: Processes = {
  rank: 0,
  size: 1,
  local: { rank: 0, size: 1, sharing: 1 },
  gather: async (own) => [own],
  each: async (own) => [own],
  failed: async (thrown) => thrown,
};

/** The first of as many processes, of which all give what it gives: where memory is measured and nothing is computed. */
export function standIn({ size }: Processes): Processes {
  const all = <T>(own: T) => Array.from({ length: size }, () => own);
  return { ...ALONE, size, gather: async (own) => all(own), each: async (own) => all(own) };
}

/** Is it so on any process? */
export async function isAny(processes: Processes, own: boolean): Promise<boolean> {
  return processes.size === 1 ? own : (await processes.each(own)).includes(true);
}

/** Which of `count` pieces of work in a row are this process's. */
export function ownRange({ rank, size }: Processes, count: number): readonly [from: number, end: number] {
  return [Math.ceil((count * rank) / size), Math.ceil((count * (rank + 1)) / size)];
}

/** Numbers of each process, in the order of ranks, one after another. */
export async function gatherNumbers(processes: Processes, own: readonly number[]): Promise<number[]> {
  if (processes.size === 1) return [...own];
  return await gatherComputed(processes, async () => own);
}

/** As {@link gatherNumbers}; `compute` is not called where what this process gives is known. */
export async function gatherComputed(
  processes: Processes,
  compute: () => Promise<readonly number[]>,
): Promise<number[]> {
  const known = await processes.recall?.();
  const parts = await processes.gather(known ?? new Uint8Array(Float64Array.from(await compute()).buffer));
  return parts.flatMap((part) => [...new Float64Array(part.slice().buffer)]);
}

/** What the first process makes alone; the others begin once it is there, and theirs may find what it made. */
export async function firstThenOthers<T>(processes: Processes, work: () => Promise<T>): Promise<T> {
  if (processes.size === 1) return await work();
  if (processes.rank > 0) await processes.each(true);
  const made = await work();
  if (processes.rank === 0) await processes.each(true);
  return made;
}
