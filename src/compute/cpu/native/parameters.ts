import type { CpuKernel, Members } from "../parameters.ts";

/** Where each member of a kernel's parameters is, in words, and how many there are. */
export function wordsOf<M extends Members>({
  members,
}: CpuKernel<M>): { readonly [N in keyof M]: number } & { readonly count: number } {
  const names = Object.keys(members);
  const places = Object.fromEntries(names.map((name, word) => [name, word]));
  return { ...places, count: names.length } as { readonly [N in keyof M]: number } & { readonly count: number };
}
