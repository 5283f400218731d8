import { itemAt } from "../../files/item-at.ts";
import type { Device } from "../../compute/device/device.ts";
import type { AdapterLinears } from "../blocks/linears.ts";
import type { Batch, PieceResult, PromptPiece } from "../decoder/cache/batch.ts";

/** A prompt, and what it goes through. */
export interface MixedText {
  readonly adapter?: AdapterLinears | undefined;
  readonly ids: readonly number[];
}

const WANTS = { top: 3, all: true, lse: true };

/** What is in one pass: each piece alone, pieces with each other, or also with a token of each text. */
export type Mixture = "alone" | "pieces" | "all";

/** Those that a device has. */
export const mixturesOf = ({ mixesRows }: Device): readonly Mixture[] =>
  mixesRows ? ["alone", "pieces", "all"] : ["alone", "pieces"];

/** Tokens of a prompt that a pass of several has. */
const PART = 200;

/**
 * What comes of prompts that are read together, and of one more that is read in pieces, beside another one, while their texts are written.
 * @param sizes of the pieces; what is left but the last token is one more
 */
export async function readBeside(
  batch: Batch,
  written: readonly MixedText[],
  { adapter, ids }: MixedText,
  sizes: readonly number[],
  mixture: Mixture,
): Promise<readonly unknown[]> {
  const passes = async (pieces: readonly PromptPiece[]): Promise<readonly PieceResult[]> => {
    if (mixture !== "alone") return (await batch.pass([], ...pieces)).pieces;
    const results: PieceResult[] = [];
    for (const piece of pieces) results.push(...(await batch.pass([], piece)).pieces);
    return results;
  };
  const slots = written.map((text) => batch.pool.acquire(text.adapter));
  const found: unknown[] = [];
  const longest = Math.max(...written.map((text) => text.ids.length));
  for (let at = 0; at < longest; at += PART) {
    const pieces = written.flatMap((text, number) => {
      const some = text.ids.slice(at, at + PART);
      const scoring = number % 2 === 0 ? { next: text.ids.slice(at + 1, at + 1 + some.length), top: 2 } : undefined;
      const piece = { slot: itemAt(slots, number), ids: some, sequenceLength: text.ids.length, scoring };
      return some.length === 0 ? [] : [{ ...piece, wantsHidden: number % 2 === 1 }];
    });
    found.push(await passes(pieces));
  }
  const step = (number: number) =>
    slots.map((slot, at) => ({ slot, id: itemAt(ids, (3 * number + at) % ids.length), ...WANTS }));
  /** In an order in which nothing else is computed between a text's tokens. */
  const pass = async (tokens: ReturnType<typeof step>, pieces: readonly PromptPiece[]) => {
    if (mixture === "all") return await batch.pass(tokens, ...pieces);
    const next = [];
    for (const token of tokens.toReversed()) next.unshift(...(await batch.pass([token])).next);
    return { next, pieces: await passes(pieces) };
  };
  const [slot, other] = [adapter, written[0]?.adapter].map((of) => batch.pool.acquire(of));
  if (slot === undefined || other === undefined) throw new Error("no slots");
  const pieceOf = (first: number, end: number) => ({ slot, ids: ids.slice(first, end), sequenceLength: ids.length });
  const beside = (number: number) => ({ slot: other, ids: ids.slice(7 * number, 7 * number + 7), sequenceLength: 99 });
  let first = 0;
  for (const [number, size] of sizes.entries()) {
    const end = first + size;
    const scoring = number % 2 === 0 ? { next: ids.slice(first + 1, end + 1), top: 2 } : undefined;
    const piece = { ...pieceOf(first, end), scoring, wantsHidden: number % 2 === 1 };
    found.push(await pass(step(number), number === 2 ? [piece] : [piece, beside(number)]));
    first = end;
  }
  const last = { slot, id: itemAt(ids, ids.length - 1), ...WANTS };
  const rest = pieceOf(first, ids.length - 1);
  const tokens = step(sizes.length);
  if (mixture === "all" && !batch.pool.keepsStates)
    found.push((await batch.pass([...tokens, last], beside(sizes.length), rest)).next);
  else {
    const { next } = await pass(tokens, [beside(sizes.length), rest]);
    found.push([...next, ...(await batch.pass([last])).next]);
  }
  found.push((await batch.pass([...step(sizes.length + 1), { ...last, id: itemAt(ids, 0) }])).next);
  for (const one of [...slots, slot, other]) batch.pool.release(one);
  return found;
}
