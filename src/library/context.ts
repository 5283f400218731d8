import { createStyle } from "../terminal/style.ts";
import type { Context } from "../terminal/options/command.ts";
import { GLOBAL_OPTIONS } from "../terminal/options/globals.ts";
import type { ProgressSpec } from "../terminal/progress.ts";
import { SILENT } from "../terminal/screen.ts";
import { settledOptions } from "./options.ts";

const DEVICE_OPTIONS = { device: GLOBAL_OPTIONS.device, threads: GLOBAL_OPTIONS.threads };

/** How far something is. */
export interface ProgressEvent {
  /** What is done: "merging", "loading", "reading". */
  readonly task: string;
  /** What is worked on: a tensor, a file; empty where there is nothing to name. */
  readonly label: string;
  /** So much is done, of so much (undefined: not known), in this unit: "bytes", "tensors". */
  readonly done: number;
  readonly total: number | undefined;
  readonly unit: string;
}

/** Something that the user should know: one line. */
export interface NoteEvent {
  readonly level: "info" | "warning";
  readonly text: string;
}

/** What every function takes besides its own options. */
export interface Surroundings {
  /** What to compute on: `cpu`, a GPU's name or index, `software`; by default the fastest real GPU, else `cpu`. */
  readonly device?: string | undefined;
  /** Of the CPU device; by default one for each fast core. */
  readonly threads?: number | undefined;
  /** Ends the work: what was begun is put away, and the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((event: ProgressEvent) => void) | undefined;
  readonly onNote?: ((event: NoteEvent) => void) | undefined;
}

/** What a command gets where there is no terminal: it prints nothing, and tells those who asked. @throws RandloraError `usage` */
export function quietContext({ signal, onProgress, onNote, ...given }: Surroundings): Context {
  const { device, threads } = settledOptions(DEVICE_OPTIONS, given);
  const note = (level: NoteEvent["level"]) => (text: string) => onNote?.({ level, text });
  return {
    print() {},
    result() {},
    log: { info: note("info"), warn: note("warning"), announce: note("warning"), verbose() {} },
    progress: (spec) => toldProgress(spec, onProgress),
    // Live lines are asked for, and go nowhere: without them nobody would say how far loading is.
    screen: { ...SILENT, interactive: true },
    style: createStyle({ write: () => true }, {}),
    columns: Infinity,
    signal: signal ?? new AbortController().signal,
    device: { choice: device, threads },
    json: true,
    quiet: true,
    verbose: false,
  };
}

function toldProgress({ title, bytes, items, unit }: ProgressSpec, tell: Surroundings["onProgress"]) {
  const state = { label: "", done: 0 };
  const total = bytes ?? items;
  const event = () => tell?.({ task: title, ...state, total, unit: bytes === undefined ? (unit ?? "items") : "bytes" });
  const close = () => {};
  return {
    add(done: { readonly bytes?: number; readonly items?: number }) {
      const more = bytes === undefined ? done.items : done.bytes;
      if (more === undefined) return;
      state.done += more;
      event();
    },
    label(text: string) {
      state.label = text;
      event();
    },
    close,
    [Symbol.dispose]: close,
  };
}
