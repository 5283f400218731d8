import type { Usage } from "./shapes/shape.ts";

/** Counts what a server does, for Prometheus. */
export class Metrics {
  /** Answers by status. */
  readonly #statuses = new Map<number, number>();
  #prompt = 0;
  #cached = 0;
  #generated = 0;
  #prefillSeconds = 0;
  #decodeSeconds = 0;

  countAnswer(status: number): void {
    this.#statuses.set(status, (this.#statuses.get(status) ?? 0) + 1);
  }

  countTokens(usage: Usage, times: { readonly prefillSeconds: number; readonly decodeSeconds: number }): void {
    this.#prompt += usage.prompt_tokens;
    this.#cached += usage.prompt_tokens_details.cached_tokens;
    this.#generated += usage.completion_tokens;
    this.#prefillSeconds += times.prefillSeconds;
    this.#decodeSeconds += times.decodeSeconds;
  }

  /** Prometheus's text format. @param load requests that wait or run */
  text(load: number): string {
    const metric = (name: string, kind: "counter" | "gauge", help: string, values: readonly string[]): string =>
      [`# HELP randlora_${name} ${help}`, `# TYPE randlora_${name} ${kind}`]
        .concat(values.map((value) => `randlora_${name}${value}`))
        .join("\n");
    const one = (value: number): readonly string[] => [` ${value}`];
    const statuses = Array.from(this.#statuses, ([status, count]) => `{status="${status}"} ${count}`);
    return [
      metric("http_responses_total", "counter", "HTTP answers by status.", statuses),
      metric("requests_in_progress", "gauge", "Texts that wait or are generated.", one(load)),
      metric("prompt_tokens_total", "counter", "Tokens of prompts.", one(this.#prompt)),
      metric("cached_prompt_tokens_total", "counter", "Those that were in the KV cache.", one(this.#cached)),
      metric("generated_tokens_total", "counter", "Tokens of answers.", one(this.#generated)),
      metric("prefill_seconds_total", "counter", "Seconds up to first tokens.", one(this.#prefillSeconds)),
      metric("decode_seconds_total", "counter", "Seconds from first tokens to ends.", one(this.#decodeSeconds)),
      "",
    ].join("\n");
  }
}
