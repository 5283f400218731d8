import type { Grammar } from "../grammar.ts";
import { Automaton, DEAD } from "../automaton.ts";
import { statesOf } from "../states.ts";

/** Does a text follow a grammar? */
export function follows(grammar: Grammar, value: string): boolean {
  const automaton = new Automaton(statesOf(grammar));
  let state = automaton.start();
  for (const byte of new TextEncoder().encode(value)) {
    state = automaton.step(automaton.tidy(state), byte);
    if (state === DEAD) return false;
  }
  return automaton.accepts(state);
}

/**
 * A text that follows a grammar, its bytes chosen at random, and after `most` of them on the shortest way to its end.
 * @param random from 0 up to 1
 */
export function writeRandomly(grammar: Grammar, random: () => number, most: number): string {
  const automaton = new Automaton(statesOf(grammar));
  const bytes: number[] = [];
  let state = automaton.start();
  for (;;) {
    state = automaton.tidy(state);
    const all = Array.from({ length: 256 }, (_, byte) => ({ byte, to: automaton.step(state, byte) }));
    const possible = all.filter(({ to }) => to !== DEAD);
    if (automaton.accepts(state) && (possible.length === 0 || bytes.length >= most || random() < 0.2)) break;
    const shorter = possible.filter(({ to }) => automaton.shortest(to) < automaton.shortest(state));
    const from = bytes.length < most ? possible : shorter;
    const chosen = from[Math.floor(random() * from.length)];
    if (chosen === undefined) throw new Error("there is no way on");
    bytes.push(chosen.byte);
    state = chosen.to;
  }
  return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
}
