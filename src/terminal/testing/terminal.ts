import type { OutputStream } from "../style.ts";

/** A stream that remembers: a terminal of a given width, or a pipe. */
export class RecordingStream implements OutputStream {
  readonly isTTY: boolean;
  readonly columns: number;
  readonly writes: string[] = [];

  constructor(columns?: number) {
    this.isTTY = columns !== undefined;
    this.columns = columns ?? 0;
  }

  write(text: string): void {
    this.writes.push(text);
  }

  get text(): string {
    return this.writes.join("");
  }

  /** What a reader of the terminal sees in the end: carriage returns and line clearing carried out. */
  get screen(): string[] {
    return shownLines(this.text);
  }
}

/** Carries out `\r` and "clear line" on a transcript and drops colors: the lines that stand there in the end. */
export function shownLines(transcript: string): string[] {
  return transcript.split("\n").map((line) => {
    const afterClear = line.slice(Math.max(0, line.lastIndexOf("\x1b[2K")));
    return Bun.stripANSI(afterClear).replace(/\r+$/, "").split("\r").at(-1) ?? "";
  });
}

/** Runs a command on a real pseudo-terminal; returns everything it wrote there and its exit status. */
export async function onTerminal(
  command: readonly string[],
  options: { readonly columns: number; readonly env: Readonly<Record<string, string>> },
): Promise<{ readonly transcript: string; readonly status: number }> {
  const decoder = new TextDecoder();
  let transcript = "";
  const arrived = Promise.withResolvers<void>();
  const terminal = new Bun.Terminal({
    cols: options.columns,
    rows: 24,
    data: (_, bytes) => {
      transcript += decoder.decode(bytes, { stream: true });
      arrived.resolve();
    },
  });
  const child = Bun.spawn([...command], { terminal, env: { ...options.env } });
  const status = await child.exited;
  // What the child wrote last may still be on its way through the terminal, for long on a busy machine where it is all.
  await Promise.race([arrived.promise, Bun.sleep(5000)]);
  for (let length = -1; length !== transcript.length; await Bun.sleep(100)) length = transcript.length;
  terminal.close();
  return { transcript, status };
}
