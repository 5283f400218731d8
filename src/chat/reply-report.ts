import type { ProfileJson } from "../terminal/profile.ts";
import type { QuantizedJson } from "../terminal/quantized.ts";
import { type Reply, speeds } from "./generation/reply.ts";

/**
 * One answer, as `chat --json` reports it.
 * @json chat
 */
export interface ReplyReport extends QuantizedJson, ProfileJson {
  readonly text: string;
  /** Ids, without the one that ended the answer. */
  readonly tokens: readonly number[];
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly finish_reason: "stop" | "length" | "cancelled";
  readonly timings: {
    readonly load_s: number;
    readonly prefill_s: number;
    readonly decode_s: number;
    readonly prefill_tokens_per_s: number;
    readonly decode_tokens_per_s: number;
  };
}

export function replyJson(reply: Reply, loadSeconds: number): ReplyReport {
  const { prefill, decode } = speeds(reply);
  return {
    text: reply.text,
    tokens: reply.tokens,
    prompt_tokens: reply.promptTokens,
    completion_tokens: reply.tokens.length,
    finish_reason: reply.finishReason,
    timings: {
      load_s: loadSeconds,
      prefill_s: reply.prefillSeconds,
      decode_s: reply.decodeSeconds,
      prefill_tokens_per_s: prefill,
      decode_tokens_per_s: decode,
    },
  };
}
