import { visible } from "../files/visible.ts";
import { formatBytes, formatClock, formatNumber } from "./format.ts";
import type { Screen } from "./screen.ts";
import { cut } from "./table.ts";

/** What is known before the work begins. */
export interface ProgressSpec {
  /** One word or two: "merging". */
  readonly title: string;
  /** Bytes in total, when they are what is counted. */
  readonly bytes?: number;
  /** What tells how long it takes where bytes and items do not; it is not shown. */
  readonly work?: number;
  /** Items in total, when they are counted (with or without bytes). */
  readonly items?: number;
  /** What an item is called in the plural: "tensors". */
  readonly unit?: string;
}

/** Progress of one piece of work. */
export interface Progress extends Disposable {
  /** Adds finished work to what was done before. */
  add(done: Partial<Done>): void;
  /** Names what is being worked on: a tensor, a file. */
  label(text: string): void;
  /** Ends the display; later calls do nothing. */
  close(): void;
}

/** Milliseconds between two drawings of the bar: at most ten a second. */
const REDRAW_MS = 100;
const BAR_COLUMNS = 20;
/** Without a terminal: a row whenever another tenth of the work is done … */
const ROW_SHARE = 0.1;
/** … or, where the total is unknown, after so many milliseconds. */
const ROW_MS = 10_000;
/** Work that takes less leaves no rows behind. */
const WORTH_A_ROW_MS = 1000;

/**
 * Shows progress on the screen: one live line on a terminal, at most a dozen plain rows elsewhere.
 *
 * @param now a clock in milliseconds
 */
export function createProgress(
  screen: Screen,
  spec: ProgressSpec,
  now: () => number = () => performance.now(),
): Progress {
  const start = now();
  const done = { bytes: 0, items: 0, work: 0 };
  let label = "";
  let closed = false;
  let shownAt = start;
  let shownShare = 0;

  const draw = (): void => {
    shownAt = now();
    screen.live(barLine(spec, done, label, (shownAt - start) / 1000, screen.columns));
  };
  const row = (): void => {
    shownAt = now();
    shownShare = shareOf(spec, done) ?? 0;
    screen.line(rowLine(spec, done, (shownAt - start) / 1000));
  };
  const update = (): void => {
    if (closed) return;
    if (screen.interactive) {
      if (now() - shownAt >= REDRAW_MS) draw();
      return;
    }
    if (now() - start < WORTH_A_ROW_MS) return;
    const share = shareOf(spec, done);
    if (share === undefined ? now() - shownAt >= ROW_MS : share < 1 && share - shownShare >= ROW_SHARE) row();
  };
  const close = (): void => {
    if (closed) return;
    closed = true;
    screen.live("");
    if (!screen.interactive && now() - start >= WORTH_A_ROW_MS) row();
  };

  if (screen.interactive) draw();
  return {
    add({ bytes = 0, items = 0, work = 0 }) {
      done.bytes += bytes;
      done.items += items;
      done.work += work;
      update();
    },
    label(text) {
      label = visible(text);
      update();
    },
    close,
    [Symbol.dispose]: close,
  };
}

/** Where work shows how far it is: a command's context. */
export interface WorkSurface {
  readonly log: { warn(line: string): void };
  progress(spec: ProgressSpec): Progress;
}

/** Nobody looks. */
export const SILENT: WorkSurface = { log: { warn: nothing }, progress: silentProgress };

/** A bar for work that says how many bytes of how many are done: it begins when that is first said. */
export class BytesBar implements Disposable {
  readonly #surface: Pick<WorkSurface, "progress">;
  readonly #title: string;
  #bar: Progress | undefined;
  #done = 0;

  constructor(surface: Pick<WorkSurface, "progress">, title: string) {
    this.#surface = surface;
    this.#title = title;
  }

  update(done: number, total: number): void {
    this.#bar ??= this.#surface.progress({ title: this.#title, bytes: total });
    this.#bar.add({ bytes: done - this.#done });
    this.#done = done;
  }

  [Symbol.dispose](): void {
    this.#bar?.close();
  }
}

/** A bar that counts modules, which differ in size: how long it will take is told by so many operations. */
export class ModulesBar implements Disposable {
  readonly #bar: Progress;

  constructor(
    surface: Pick<WorkSurface, "progress">,
    title: string,
    { modules, operations }: { readonly modules: number; readonly operations: number },
  ) {
    this.#bar = surface.progress({ title, items: modules, unit: "modules", work: operations });
  }

  /** The next one begins. */
  module(name: string): void {
    this.#bar.label(name);
    this.#bar.add({ items: 1 });
  }

  work(operations: number): void {
    this.#bar.add({ work: operations });
  }

  [Symbol.dispose](): void {
    this.#bar.close();
  }
}

/** Progress that shows nothing: `--quiet`. */
export function silentProgress(): Progress {
  return { add: nothing, label: nothing, close: nothing, [Symbol.dispose]: nothing };
}

function nothing(): void {}

interface Done {
  readonly bytes: number;
  readonly items: number;
  readonly work: number;
}

/** Share of the work that is done, in [0, 1]; undefined when no total is known. Bytes tell it better than items. */
function shareOf(spec: ProgressSpec, done: Done): number | undefined {
  const kind = (["work", "bytes", "items"] as const).find((one) => spec[one] !== undefined);
  const total = kind && spec[kind];
  if (kind === undefined || total === undefined) return undefined;
  return total > 0 ? Math.min(1, done[kind] / total) : 1;
}

/** Parts of the live line, the most telling first; what does not fit is left out from the end. */
function barLine(spec: ProgressSpec, done: Done, label: string, seconds: number, columns: number): string {
  const share = shareOf(spec, done);
  const parts = [spec.title];
  if (share !== undefined) parts.push(`${bar(share)} ${String(Math.floor(share * 100)).padStart(3)} %`);
  if (share !== undefined && share > 0) parts.push(...timeLeft((seconds * (1 - share)) / share));
  parts.push(...amounts(spec, done, seconds));
  if (label !== "") parts.push(label);
  return joinParts(parts, columns, label);
}

/**
 * Joins parts of a live line, the most telling first: what does not fit is left out from the end.
 *
 * @param cuttable a part that may be cut rather than left out
 */
export function joinParts(parts: readonly string[], columns: number, cuttable?: string): string {
  let line = "";
  // The last column stays free: some terminals wrap as soon as it is written.
  const room = columns - 1;
  for (const part of parts) {
    const longer = line === "" ? part : `${line}  ${part}`;
    if (Bun.stringWidth(longer) > room)
      return part === cuttable ? cut(longer, room) : cut(line === "" ? part : line, room);
    line = longer;
  }
  return line;
}

function rowLine(spec: ProgressSpec, done: Done, seconds: number): string {
  const share = shareOf(spec, done);
  const percent = share === undefined ? [] : [`${Math.floor(share * 100)} %`];
  return [`${spec.title}:`, ...percent, ...amounts(spec, done, seconds)].join("  ");
}

function amounts(spec: ProgressSpec, done: Done, seconds: number): string[] {
  const parts: string[] = [];
  if (spec.bytes !== undefined || done.bytes > 0) {
    const total = spec.bytes === undefined ? "" : ` of ${formatBytes(spec.bytes)}`;
    parts.push(`${formatBytes(done.bytes)}${total}`);
  }
  if (spec.items !== undefined || done.items > 0) {
    const total = spec.items === undefined ? "" : ` of ${formatNumber(spec.items)}`;
    parts.push(`${formatNumber(done.items)}${total} ${spec.unit ?? "items"}`);
  }
  if (done.bytes > 0 && seconds > 0) parts.push(`${formatBytes(done.bytes / seconds)}/s`);
  return parts;
}

/** A share in [0, 1] as a bar of 22 columns. */
export function bar(share: number): string {
  const eighths = Math.round(share * BAR_COLUMNS * 8);
  const full = Math.floor(eighths / 8);
  const part = " ▏▎▍▌▋▊▉"[eighths % 8] ?? "";
  const drawn = "█".repeat(full) + (full < BAR_COLUMNS ? part : "");
  return `▕${drawn.padEnd(BAR_COLUMNS)}▏`;
}

/** Pieces that the pace is told from. */
const RECENT = 16;

/** How fast work goes that is done in pieces of about the same size: steps of a training run. */
export class Pace {
  /** The first piece, which compiles kernels, says nothing about the others once there are some. */
  readonly #recent: number[] = [];

  /** A piece is done. @param seconds that it took */
  add(seconds: number): void {
    this.#recent.push(seconds);
    if (this.#recent.length > RECENT) this.#recent.shift();
  }

  /** Seconds that so many pieces will take; undefined while only the first one was measured. */
  secondsFor(pieces: number): number | undefined {
    const measured = this.#recent.slice(1);
    if (measured.length === 0) return undefined;
    return (pieces * measured.reduce((sum, seconds) => sum + seconds, 0)) / measured.length;
  }
}

/** The time left as a part of a live line; nothing where it is not known, or none is left. */
export function timeLeft(seconds: number | undefined): string[] {
  return seconds === undefined || seconds <= 0 ? [] : [`${formatClock(seconds)} left`];
}
