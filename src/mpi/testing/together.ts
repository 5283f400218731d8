// Processes of one launcher, played within this one: what is exchanged goes through memory.
import { ALONE, EndedByOther, type Processes } from "../processes.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** So many processes, by rank. */
export function together(size: number): Processes[] {
  let failed = -1;
  let waiting: { readonly own: (Bytes | undefined)[]; readonly done: PromiseWithResolvers<void> } | undefined;
  const exchange = async (rank: number, bytes: Bytes | undefined): Promise<readonly Bytes[]> => {
    const round = (waiting ??= { own: [], done: Promise.withResolvers<void>() });
    round.own[rank] = bytes;
    if (bytes === undefined && (failed < 0 || rank < failed)) failed = rank;
    if (Object.keys(round.own).length === size) {
      waiting = undefined;
      round.done.resolve();
    }
    await round.done.promise;
    if (failed >= 0 && failed !== rank) throw new EndedByOther("file");
    return round.own.map((own) => own?.slice() ?? new Uint8Array());
  };
  return Array.from({ length: size }, (_, rank): Processes => {
    const gather = (own: Bytes) => exchange(rank, own.slice());
    return {
      ...ALONE,
      rank,
      size,
      gather,
      async each<T extends string | number | boolean | null>(own: T) {
        const parts = await gather(new TextEncoder().encode(JSON.stringify(own)));
        return parts.map((part) => JSON.parse(new TextDecoder().decode(part)) as T);
      },
      async failed(thrown) {
        if (thrown instanceof EndedByOther) return thrown;
        return await exchange(rank, undefined).then(
          () => thrown,
          (other: unknown) => other,
        );
      },
    };
  });
}
