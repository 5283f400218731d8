import { STORIES } from "../../../fixtures/stories/storyteller.ts";
import type { Device } from "../../compute/device/device.ts";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import { loadDecoder } from "../../models/folder/load-decoder.ts";
import { ChatTemplate } from "../../data/text/chat-template.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import type { DecodeLoop } from "../generation/decode-loop.ts";
import { endOf } from "../generation/sequence.ts";
import {
  type Reply,
  type ReplyOptions,
  type ReplyPiece,
  replySequence,
  type Writer,
  writeReply,
} from "../generation/reply.ts";
import { DEFAULT_SAMPLING, type SamplingOptions } from "../generation/sampling.ts";
import { type SampledOptions, SampledSequence } from "../generation/sampled-sequence.ts";

export const GREEDY: SamplingOptions = { ...DEFAULT_SAMPLING, temperature: 0 };

/** The stories model, ready to write; close the GPU in the end. */
export async function loadStories(): Promise<Writer & { readonly gpu: Device }> {
  const gpu = await openTestDevice();
  const [decoder, tokenizer] = await Promise.all([loadDecoder(gpu, STORIES), loadTokenizer(STORIES)]);
  return { gpu, decoder, tokenizer, stopTokens: new Set() };
}

/** A template that stories can make something of: everything in a row, the user's lines in brackets. */
export function storyTemplate(): ChatTemplate {
  const source =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}\n{% elif m.role == 'user' %}" +
    "({{ m.content }}) {% else %}{{ m.content }}\n{% endif %}{% endfor %}";
  return new ChatTemplate(source, "stories.jinja", { bos_token: "<s>" });
}

/** What came of a sequence. */
export interface Made {
  readonly tokens: number[];
  /** Tokens of the prompt that were computed before. */
  cached: number;
}

/** Has a sequence decoded. @returns how it ended; what it made is in `made`, also where it fails */
export async function decode(
  loop: DecodeLoop,
  options: Pick<SampledOptions, "prompt"> & Partial<SampledOptions>,
  made: Made = { tokens: [], cached: NaN },
  onToken?: (made: number) => void,
) {
  const sequence = new SampledSequence({
    sampling: GREEDY,
    maxTokens: 20,
    stopTokens: new Set(),
    context: 512,
    ...options,
  });
  const { reason } = await endOf(loop.write(sequence), (item) => {
    if (item.kind === "prompt") made.cached = item.cached;
    else {
      made.tokens.push(item.id);
      onToken?.(made.tokens.length);
    }
  });
  return { ...made, reason };
}

/** Has a reply written. @param pieces gets what comes */
export async function write(
  writer: Writer,
  loop: DecodeLoop,
  ids: readonly number[],
  options: Partial<ReplyOptions> = {},
  onPiece?: (piece: ReplyPiece) => void,
): Promise<Reply> {
  const asked = { sampling: GREEDY, maxTokens: 64, ...options };
  return await endOf(writeReply(writer, ids, asked, loop.write(replySequence(writer, ids, asked))), onPiece);
}
