import type { ProfileJson } from "../terminal/profile.ts";
import type { QuantizedJson } from "../terminal/quantized.ts";

/**
 * One answer, as `chat --json` reports it. In a file of its own, since the library's declarations reach it.
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
