import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
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

/** Prompts of the stories model, and what transformers writes behind them, greedily. Close the GPU in the end. */
export class StoryTexts {
  private constructor(
    readonly gpu: Device,
    readonly decoder: Decoder,
    readonly prompts: readonly number[][],
    private readonly greedy: readonly number[][],
  ) {}

  static async open(): Promise<StoryTexts> {
    const [{ gpu, decoder }, stories] = await Promise.all([loadStories(), expectedStories()]);
    return new StoryTexts(
      gpu,
      decoder,
      stories.map(({ ids }) => ids),
      stories.map(({ greedy_ids: ids }) => ids),
    );
  }

  /** The first tokens behind prompt number `at`. */
  wanted(at: number, count: number): number[] {
    return this.greedy[at]?.slice(0, count) ?? [];
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
