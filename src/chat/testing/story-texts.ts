import { afterAll, beforeAll } from "bun:test";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import type { Decoder } from "../../models/decoder/decoder.ts";
import type { DecodeLoop } from "../generation/decode-loop.ts";
import type { SampledOptions } from "../generation/sampled-sequence.ts";
import { decode, loadStories, type Made } from "./decoder.ts";

/** A text that a loop writes. */
export interface Text {
  readonly made: Made;
  /** Settles when it has ended: with the reason, or what it failed with. */
  readonly end: Promise<unknown>;
}

/** What each of these texts has so far. */
export const tokensOf = (texts: readonly Text[]) => texts.map(({ made }) => made.tokens);

/** Prompts of the stories model, and what transformers writes behind them, greedily. */
export class StoryTexts {
  #loaded: Awaited<ReturnType<typeof loadStories>> | undefined;
  #stories: Awaited<ReturnType<typeof expectedStories>> | undefined;

  /** Loads them before the file's first test, and closes the device after the last. */
  static forTests(): StoryTexts {
    const texts = new StoryTexts();
    beforeAll(async () => {
      [texts.#loaded, texts.#stories] = await Promise.all([loadStories(), expectedStories()]);
    }, 120_000);
    afterAll(() => texts.#loaded?.gpu.close());
    return texts;
  }

  get decoder(): Decoder {
    if (this.#loaded === undefined) throw new Error("no test has begun");
    return this.#loaded.decoder;
  }

  get prompts(): readonly number[][] {
    return this.#stories?.map(({ ids }) => ids) ?? [];
  }

  /** The first tokens behind prompt number `at`. */
  wanted(at: number, count: number): number[] {
    return this.#stories?.[at]?.greedy_ids.slice(0, count) ?? [];
  }

  /** Has a loop write behind prompt number `at`, or another one. */
  text(
    loop: DecodeLoop,
    at: number,
    maxTokens: number,
    { onToken, ...options }: Partial<SampledOptions> & { onToken?: (made: number) => void } = {},
  ): Text {
    const made: Made = { tokens: [], cached: NaN };
    const ended = decode(loop, { prompt: this.prompts[at] ?? [], maxTokens, ...options }, made, onToken);
    return {
      made,
      end: ended.then(
        ({ reason }) => reason,
        (error: unknown) => error,
      ),
    };
  }
}
