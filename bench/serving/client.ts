import * as v from "valibot";
import type { LoadRequest } from "./load.ts";

/** What a client saw of its answer; times in seconds. */
export interface Seen {
  readonly text: string;
  /** Tokens, as far as it took them. */
  readonly tokens: number;
  /** From the request to the first token; NaN where none came. */
  readonly first: number;
  /** Between tokens. */
  readonly gaps: readonly number[];
  readonly seconds: number;
  /** Why there is no answer; undefined: there is, or the client left. */
  readonly failure: string | undefined;
}

const Chunk = v.object({
  choices: v.optional(v.array(v.object({ text: v.string(), finish_reason: v.nullish(v.string()) }))),
  error: v.optional(v.object({ message: v.string() })),
});

/** Asks a server, reads its stream, and leaves where the request says so. @param key of the API; "": none */
export async function ask(address: string, model: string, request: LoadRequest, key = ""): Promise<Seen> {
  const { prompt, maxTokens, temperature, seed, leavesAfter } = request;
  const body = { model, prompt, max_tokens: maxTokens, temperature, seed, stream: true };
  const leaving = new AbortController();
  const start = performance.now();
  let [text, tokens, first, last] = ["", 0, NaN, NaN];
  const gaps: number[] = [];
  let failure: string | undefined;
  try {
    const headers: Record<string, string> = key === "" ? {} : { authorization: `Bearer ${key}` };
    const init = { method: "POST", headers, body: JSON.stringify(body), signal: leaving.signal };
    const answer = await fetch(`${address}/v1/completions`, init);
    if (!answer.ok) throw new Error(`status ${answer.status}: ${(await answer.text()).slice(0, 200)}`);
    if (leavesAfter === 0) leaving.abort();
    for await (const { choices, error } of chunksOf(answer)) {
      if (error !== undefined) throw new Error(error.message);
      const [choice] = choices ?? [];
      // The last one says why the answer ended, and brings no token.
      if (choice === undefined || (typeof choice.finish_reason === "string" && choice.text === "")) continue;
      const now = performance.now();
      if (tokens === 0) first = (now - start) / 1000;
      else gaps.push((now - last) / 1000);
      last = now;
      tokens += 1;
      text += choice.text;
      if (tokens === leavesAfter) leaving.abort();
    }
  } catch (error) {
    if (!leaving.signal.aborted) failure = error instanceof Error ? error.message : String(error);
  }
  return { text, tokens, first, gaps, seconds: (performance.now() - start) / 1000, failure };
}

/** The events of a stream up to `[DONE]`. */
async function* chunksOf(answer: Response) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of answer.body ?? []) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      yield v.parse(Chunk, JSON.parse(line.slice("data: ".length)));
    }
  }
}
