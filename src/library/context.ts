import { createStyle } from "../terminal/style.ts";
import type { Context } from "../terminal/options/command.ts";
import { GLOBAL_OPTIONS } from "../terminal/options/globals.ts";
import type { ProgressSpec } from "../terminal/progress.ts";
import { SILENT } from "../terminal/screen.ts";
import { type Options, type Settled, settledOptions } from "./options.ts";
import type { NoteEvent, Surroundings } from "./surroundings.ts";

const DEVICE_OPTIONS = { device: GLOBAL_OPTIONS.device, threads: GLOBAL_OPTIONS.threads };

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

/**
 * What a command's function gives as its result: what `--json` prints.
 * @param options what it takes; `request` has them, and the surroundings
 */
export async function resultOf<O extends Options, R extends object>(
  options: O,
  { device, threads, signal, onProgress, onNote, ...given }: Surroundings,
  call: (options: Settled<O>, context: Context<R>) => Promise<void>,
): Promise<R> {
  const settled = settledOptions(options, given);
  const context = quietContext({ device, threads, signal, onProgress, onNote });
  let found: R | undefined;
  await call(settled, { ...context, result: (data) => (found = data) });
  if (found === undefined) throw new TypeError("a command without a result");
  return found;
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
