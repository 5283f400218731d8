import type { KernelTime } from "../device/device.ts";
import type { CpuCommand } from "./commands.ts";
import { COMMAND, COMMAND_WORDS, TICKS_A_SECOND } from "./layout.ts";

/** Time per kernel, as workers measured it. Only made for `--profile`. */
export class Profiler {
  readonly #settle: () => Promise<void>;
  readonly #totals = new Map<string, { calls: number; seconds: number }>();

  /** @param settle waits for what is still running */
  constructor(settle: () => Promise<void>) {
    this.#settle = settle;
  }

  /** Notes a list that has run. @param words as workers left it */
  add(commands: readonly CpuCommand[], words: Uint32Array): void {
    commands.forEach(({ kernel }, at) => {
      const name = typeof kernel === "string" ? kernel : kernel.name;
      const total = this.#totals.get(name) ?? { calls: 0, seconds: 0 };
      total.calls += 1;
      total.seconds += (words[at * COMMAND_WORDS + COMMAND.ticks] ?? 0) / TICKS_A_SECOND;
      this.#totals.set(name, total);
    });
  }

  async report(): Promise<KernelTime[]> {
    await this.#settle();
    return [...this.#totals]
      .map(([kernel, total]) => ({ kernel, ...total }))
      .toSorted((left, right) => right.seconds - left.seconds);
  }
}
