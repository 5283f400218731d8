import type { Machine, Word } from "../machine.ts";

/** What a routine takes: an address in the heap, a whole number, or the bits of an f32, which stay where they are. */
export type Arguments = Readonly<Record<string, "address" | "number" | "f32">>;

/** The routine's registers: those of its arguments, by name, and `more` others. */
export function registers<A extends Arguments>(
  m: Machine,
  names: A,
  more = 0,
): { readonly [N in keyof A]: Word } & { readonly others: readonly Word[] } {
  let next: Word = 0;
  const taken: Record<string, Word> = {};
  Object.entries(names).forEach(([name, kind], index) => {
    if (kind === "f32") return;
    taken[name] = next;
    if (kind === "address") m.address(next, index);
    else m.argument(next, index);
    next++;
  });
  const others = Array.from({ length: more }, () => next++);
  if (next > m.words) throw new Error(`a routine needs ${next} registers of ${m.words}`);
  return { ...taken, others } as { readonly [N in keyof A]: Word } & { readonly others: readonly Word[] };
}

/** Where an argument is in the list. */
export function indexOf(names: Arguments, name: string): number {
  return Object.keys(names).indexOf(name);
}
