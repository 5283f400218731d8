import { type Reply, speeds } from "./generation/reply.ts";
import type { ReplyReport } from "./reply-report.ts";

/** The report of an answer. */
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
