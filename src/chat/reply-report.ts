/** One answer, as `chat --json` reports it: docs/interface.md has the keys. */
export interface ReplyReport {
  readonly text: string;
  /** Tokens that were written, in order. */
  readonly tokens: readonly number[];
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly finish_reason: "stop" | "length" | "cancelled";
  readonly timings: {
    /** In seconds. */
    readonly load_s: number;
    readonly prefill_s: number;
    readonly decode_s: number;
    readonly prefill_tokens_per_s: number;
    readonly decode_tokens_per_s: number;
  };
}
