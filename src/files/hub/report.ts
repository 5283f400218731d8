import type { HubOptions, HubProgress } from "./resolve.ts";

/** The part of a command's context that shows downloads. */
export interface Display {
  readonly signal: AbortSignal;
  readonly log: { warn(line: string): void };
  progress(spec: { readonly title: string; readonly bytes: number; readonly items: number; readonly unit: string }): {
    add(done: { readonly bytes: number; readonly items: number }): void;
    label(text: string): void;
    close(): void;
  };
}

/**
 * Runs `look`, which looks names up on the Hub with the options it is given, and shows what it fetches: one bar a
 * repository, none when everything is cached. The display is closed whatever happens.
 */
export async function showingDownloads<T>(display: Display, look: (options: HubOptions) => Promise<T>): Promise<T> {
  let bar: ReturnType<Display["progress"]> | undefined;
  let shown = { bytes: 0, items: 0 };
  const begin = ({ repo, bytesTotal, filesTotal }: HubProgress): ReturnType<Display["progress"]> => {
    shown = { bytes: 0, items: 0 };
    return display.progress({ title: `fetching ${repo}`, bytes: bytesTotal, items: filesTotal, unit: "files" });
  };
  const progress = (state: HubProgress): void => {
    bar ??= begin(state);
    bar.label(state.file);
    // A download that has to begin again steps back; the bar waits until it is further than it was.
    const bytes = Math.max(shown.bytes, state.bytesDone);
    bar.add({ bytes: bytes - shown.bytes, items: state.filesDone - shown.items });
    shown = { bytes, items: state.filesDone };
    if (state.filesDone < state.filesTotal) return;
    bar.close();
    bar = undefined;
  };
  try {
    return await look({ progress, warn: (line) => display.log.warn(line), signal: display.signal });
  } finally {
    bar?.close();
  }
}
