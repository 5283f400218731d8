import * as v from "valibot";
import { SOFTWARE_BLOCK } from "../../src/chat/generation/running.ts";
import { ask } from "./client.ts";

/** Tokens of a prompt that comes while a long one is read. */
export const SHORT = 10;
/** Short prompts that come while a long one is read. */
const COMING = 16;

const Slots = v.array(
  v.object({ n_prompt_tokens: v.optional(v.number()), n_prompt_tokens_processed: v.optional(v.number()) }),
);

/**
 * How long short prompts wait that come while a long one is read by the CPU device, counted in what is read of the long one between a short
 * one's request and its token. So nothing else that the machine does is counted.
 * @param address of a server with `--slots`
 * @param longest tokens of the long one
 * @param makePrompt a prompt of so many tokens, another one for each number
 * @returns the longest wait, in pieces of the long prompt; NaN where it was read too soon
 */
export async function piecesWaited(
  address: string,
  { model, longest }: { readonly model: string; readonly longest: number },
  makePrompt: (tokens: number, number: number) => readonly number[],
): Promise<number> {
  const request = { model: 0, maxTokens: 1, temperature: 0, seed: 0, leavesAfter: undefined };
  const read = async (tokens: number, number: number): Promise<number> =>
    (await ask(address, model, { ...request, prompt: makePrompt(tokens, number) })).seconds;
  /** Tokens of the long prompt that have been read. */
  const readSoFar = async (): Promise<number | undefined> => {
    const slots = v.parse(Slots, await (await fetch(`${address}/slots`)).json());
    return slots.find(({ n_prompt_tokens: tokens }) => tokens === longest)?.n_prompt_tokens_processed;
  };
  const seconds = await read(longest, 0);
  const waits: number[] = [];
  const long = read(longest, 1);
  for (let number = 2; number < 2 + COMING; number++) {
    // At another moment within a piece each time.
    await Bun.sleep((1000 * seconds * Math.random()) / COMING);
    const before = await readSoFar();
    await read(SHORT, number);
    const after = await readSoFar();
    if (before !== undefined && after !== undefined) waits.push((after - before) / SOFTWARE_BLOCK);
  }
  await long;
  return waits.length === 0 ? NaN : Math.max(...waits);
}
