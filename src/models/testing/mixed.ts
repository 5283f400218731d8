import { itemAt } from "../../files/item-at.ts";
import type { AdapterLinears } from "../blocks/linears.ts";
import type { Batch } from "../decoder/cache/batch.ts";
import type { Slot } from "../decoder/cache/slot.ts";

/** A prompt, and what it goes through. */
export interface MixedText {
  readonly adapter?: AdapterLinears | undefined;
  readonly ids: readonly number[];
}

const WANTS = { top: 3, all: true, lse: true };

/**
 * What comes of a prompt that is read in pieces while others' texts are written, and of these.
 * @param sizes of the pieces; what is left but the last token is one more
 * @param isMixed each piece is in one pass with a token of each text, else all of them, and each piece, are in passes of their own
 */
export async function readBeside(
  batch: Batch,
  written: readonly MixedText[],
  { adapter, ids }: MixedText,
  sizes: readonly number[],
  isMixed: boolean,
): Promise<readonly unknown[]> {
  const slots: Slot[] = [];
  for (const text of written) {
    const slot = batch.pool.acquire(text.adapter);
    for (let at = 0; at < text.ids.length; at += 500)
      await batch.pass([], { slot, ids: text.ids.slice(at, at + 500), sequenceLength: text.ids.length });
    slots.push(slot);
  }
  const step = (number: number) =>
    slots.map((slot, at) => ({ slot, id: itemAt(ids, (3 * number + at) % ids.length), ...WANTS }));
  /** In an order in which nothing else is computed between a text's tokens. */
  const pass = async (tokens: ReturnType<typeof step>, ...piece: [Parameters<Batch["pass"]>[1]]) => {
    if (isMixed) return await batch.pass(tokens, ...piece);
    const next = [];
    for (const token of tokens.toReversed()) next.unshift(...(await batch.pass([token])).next);
    return { ...(await batch.pass([], ...piece)), next };
  };
  const slot = batch.pool.acquire(adapter);
  const pieceOf = (first: number, end: number) => ({ slot, ids: ids.slice(first, end), sequenceLength: ids.length });
  const found: unknown[] = [];
  let first = 0;
  for (const [number, size] of sizes.entries()) {
    const end = first + size;
    const scoring = number % 2 === 0 ? { next: ids.slice(first + 1, end + 1), top: 2 } : undefined;
    found.push(await pass(step(number), { ...pieceOf(first, end), scoring, wantsHidden: number % 2 === 1 }));
    first = end;
  }
  const last = { slot, id: itemAt(ids, ids.length - 1), ...WANTS };
  const rest = pieceOf(first, ids.length - 1);
  if (isMixed && !batch.pool.keepsStates) found.push((await batch.pass([...step(sizes.length), last], rest)).next);
  else {
    const { next } = await pass(step(sizes.length), rest);
    found.push([...next, ...(await batch.pass([last])).next]);
  }
  found.push((await batch.pass([...step(sizes.length + 1), { ...last, id: itemAt(ids, 0) }])).next);
  for (const one of [...slots, slot]) batch.pool.release(one);
  return found;
}
