/** Runs a program on a pseudo-terminal of its own and types at it, as a person would. */
export class Typist {
  readonly #terminal: Bun.Terminal;
  readonly #child: Bun.Subprocess;
  readonly #decoder = new TextDecoder();
  #transcript = "";
  #wake: () => void = () => {};

  constructor(
    command: readonly string[],
    options: {
      readonly columns: number;
      readonly rows: number;
      readonly env: Readonly<Record<string, string>>;
      readonly cwd?: string;
    },
  ) {
    this.#terminal = new Bun.Terminal({
      cols: options.columns,
      rows: options.rows,
      data: (_, bytes) => {
        this.#transcript += this.#decoder.decode(bytes, { stream: true });
        this.#wake();
      },
    });
    const { cwd = import.meta.dir, env } = options;
    this.#child = Bun.spawn([...command], { terminal: this.#terminal, cwd, env: { ...env, TERM: "xterm-256color" } });
  }

  /** Everything that the program has written so far, escape sequences and all; line ends are CR LF. */
  get transcript(): string {
    return this.#transcript.replaceAll(/\r+\n/g, "\r\n");
  }

  get status(): number | null {
    return this.#child.exitCode;
  }

  /** Whether the terminal hands keys over one by one: no lines (ICANON), no signals (ISIG). */
  get isRaw(): boolean {
    return (this.#terminal.localFlags & 0o3) === 0;
  }

  /** Resolves when the program has ended and all that it wrote has arrived. */
  get exited(): Promise<number> {
    return this.#child.exited.then(async (status) => {
      for (let length = -1; length !== this.#transcript.length; await Bun.sleep(30)) length = this.#transcript.length;
      return status;
    });
  }

  /** Presses keys: what they send to a program. */
  type(keys: string): void {
    this.#terminal.write(keys);
  }

  /** Pastes as a terminal with bracketed paste does. */
  paste(text: string): void {
    this.type(`\x1b[200~${text.replaceAll("\n", "\r")}\x1b[201~`);
  }

  resize(columns: number, rows: number): void {
    this.#terminal.resize(columns, rows);
    // The kernel tells those whose controlling terminal it is; Bun makes it nobody's.
    this.signal("SIGWINCH");
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Waits until the program has written `text` (so many times). @throws Error with the transcript after 20 s */
  async until(text: string, times = 1): Promise<void> {
    const deadline = performance.now() + 20_000;
    while (this.transcript.split(text).length <= times) {
      const left = deadline - performance.now();
      if (left <= 0 || this.status !== null) {
        throw new Error(`${JSON.stringify(text)} was not written: ${JSON.stringify(this.transcript.slice(-2000))}`);
      }
      await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), Bun.sleep(Math.min(left, 100))]);
    }
  }

  /** Ends the program, whatever it is doing. */
  async end(): Promise<void> {
    if (this.status === null) this.#child.kill("SIGKILL");
    await this.#child.exited;
    this.#terminal.close();
  }
}
