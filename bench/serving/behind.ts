import { SOFTWARE_BLOCK } from "../../src/chat/generation/running.ts";
import { ask } from "./client.ts";
import { quantile } from "./load.ts";

/** Tokens of a prompt that comes while a long one is read. */
export const SHORT = 10;

/**
 * How long short prompts wait that come while a long one is read by the CPU device.
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
    (await ask(address, model, { ...request, prompt: makePrompt(tokens, number) })).first;
  // The last pieces take longest: attention looks at all that is before them.
  const tail = Math.ceil(longest / 4);
  const tails: number[] = [];
  for (let round = 0; round < 3; round++) {
    tails.push((await read(longest, -1 - 2 * round)) - (await read(longest - tail, -2 - 2 * round)));
  }
  const piece = quantile(tails, 0.5) / (tail / SOFTWARE_BLOCK);
  const alone = await read(SHORT, 3);
  const waits: number[] = [];
  const state = { isRead: false };
  const long = read(longest, 4).finally(() => (state.isRead = true));
  for (let number = 5; !state.isRead; number++) {
    // At another moment within a piece each time.
    await Bun.sleep(1000 * piece * (0.3 + (number % 5) / 5));
    const seconds = await read(SHORT, number);
    if (!state.isRead) waits.push(seconds - alone);
  }
  await long;
  return waits.length === 0 ? NaN : Math.max(...waits) / piece;
}
