import { formatDuration, formatNumber } from "../../src/terminal/format.ts";
import { formatTable } from "../../src/terminal/table.ts";
import { ratios, type Timed } from "./rounds.ts";

/** Steps of one case at one size. */
export interface Measured extends Timed {
  /** As the table shows it. */
  readonly name: string;
  readonly case: string;
  readonly tokens: number;
  readonly parameters: number;
  /** The orders of RandLoRA's products, with how many matrices have each. */
  readonly orders: string;
  /** Of a step, by the model of `stepFlops`. */
  readonly gigaflops: number;
}

/** Most that a step of RandLoRA may take of LoRA's time, by tokens of a step. */
const MOST: Readonly<Record<number, number>> = { 1024: 1.6, 4096: 1.4 };
/** How near to the fastest order `auto` must come. */
const NEAR = 1.05;

/** One table a size: LoRA first, everything else beside it. */
export function renderSteps(tokens: number, measured: readonly Measured[]): string {
  const lora = measured.find((one) => one.case === "lora");
  const orders = measured.filter((one) => one.orders !== "" && one.case !== "auto");
  const rows = measured.map((one) => {
    const { seconds, coreSeconds } = one.median;
    const against = lora === undefined || one === lora ? undefined : ratios(one, lora);
    return [
      one.name,
      formatDuration(seconds),
      formatNumber(tokens / seconds, 1),
      formatDuration(coreSeconds),
      formatNumber(one.gigaflops / coreSeconds, 1),
      against === undefined ? "" : formatNumber(against.seconds, 2),
      against === undefined ? "" : formatNumber(against.coreSeconds, 2),
      lora === undefined || one === lora ? "" : formatNumber(one.gigaflops / lora.gigaflops, 2),
      one.case === "auto" ? verdict(tokens, one, against?.coreSeconds, orders) : "",
      one.orders,
    ];
  });
  const head = [
    `${tokens} tokens a step`,
    "a step",
    "tokens/s",
    "core time",
    "GFLOP/core s",
    "× LoRA",
    "by core time",
    "by flops",
    "target",
    "orders",
  ];
  return formatTable(rows, { head, align: "lrrrrrrrll" });
}

/** By processor time, which other programs leave alone. */
function verdict(tokens: number, auto: Measured, ratio: number | undefined, orders: readonly Measured[]): string {
  const said: string[] = [];
  const most = MOST[tokens];
  if (most !== undefined && ratio !== undefined) said.push(`≤ ${most}: ${ratio <= most ? "met" : "missed"}`);
  if (orders.length > 1) {
    const [fastest] = orders.toSorted((left, right) => left.median.coreSeconds - right.median.coreSeconds);
    if (fastest !== undefined) {
      const near = auto.median.coreSeconds / fastest.median.coreSeconds;
      said.push(`≤ ${NEAR} × ${fastest.case}: ${near <= NEAR ? "met" : `missed (${formatNumber(near, 2)})`}`);
    }
  }
  return said.join("; ");
}
