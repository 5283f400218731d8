/** A comment this often keeps proxies from taking a long wait for a dead connection. */
const PING_SECONDS = 10;

/** Bytes that wait for a reader; whoever has more to send waits with them. */
const MOST_WAITING = 64 * 1024;
/** A reader that takes nothing for so long is gone. */
const SLOW_SECONDS = 30;

const encoder = new TextEncoder();

/** How events are written to a connection. */
export interface Framing {
  readonly contentType: string;
  readonly event: (data: object) => string;
  /** A line that clients pass over; undefined: there is no such thing. */
  readonly comment?: (text: string) => string;
  /** What stands behind the last event. */
  readonly done: string;
}

/** Server-sent events (HTML standard, section 9.2) with JSON in them, as OpenAI's API streams. */
export const EVENTS: Framing = {
  contentType: "text/event-stream; charset=utf-8",
  event: (data) => `data: ${JSON.stringify(data)}\n\n`,
  comment: (text) => `: ${text}\n\n`,
  done: "data: [DONE]\n\n",
};

/** Server-sent events that have a name, which is their `type`: OpenAI's responses. */
export const NAMED_EVENTS: Framing = {
  ...EVENTS,
  event: (data) => `event: ${"type" in data ? String(data.type) : "error"}\ndata: ${JSON.stringify(data)}\n\n`,
  done: "",
};

/** A line of JSON each, as Ollama streams. */
export const LINES: Framing = {
  contentType: "application/x-ndjson",
  event: (data) => `${JSON.stringify(data)}\n`,
  done: "",
};

/** Events as the body of a response. */
export class EventStream implements Disposable {
  /** The body of the response. */
  readonly body: ReadableStream<Uint8Array>;
  readonly #pings: ReturnType<typeof setInterval>;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #room: PromiseWithResolvers<void> | undefined;
  readonly #framing: Framing;
  readonly #onCancel: () => void;
  readonly #patience: number;

  /**
   * @param onCancel called when the reader goes away before the end, or takes nothing any more
   * @param patience seconds in which a reader takes something
   */
  constructor(framing: Framing, onCancel: () => void, patience: number = SLOW_SECONDS) {
    this.#framing = framing;
    this.#onCancel = onCancel;
    this.#patience = patience;
    const strategy = { highWaterMark: MOST_WAITING, size: (chunk: Uint8Array | undefined) => chunk?.byteLength ?? 0 };
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller: ReadableStreamDefaultController<Uint8Array>) => void (this.#controller = controller),
        pull: () => void this.#room?.resolve(),
        cancel: () => {
          this.#controller = undefined;
          this[Symbol.dispose]();
          onCancel();
        },
      },
      strategy,
    );
    this.#pings = setInterval(() => this.comment("ping"), PING_SECONDS * 1000);
  }

  /** A line that clients pass over, where there is such a thing. */
  comment(text: string): void {
    this.#write(this.#framing.comment?.(text) ?? "");
  }

  send(...events: readonly object[]): void {
    for (const data of events) this.#write(this.#framing.event(data));
  }

  /** Waits until the reader has taken so much that more may be sent. */
  async room(): Promise<void> {
    if (this.#controller === undefined || (this.#controller.desiredSize ?? 0) > 0) return;
    const room = (this.#room ??= Promise.withResolvers<void>());
    // Connections of answers that are being written have no time limit of their own.
    const timer = setTimeout(() => {
      this.#onCancel();
      room.resolve();
    }, this.#patience * 1000);
    await room.promise;
    clearTimeout(timer);
    this.#room = undefined;
  }

  /** Nothing more comes. */
  done(): void {
    this.#write(this.#framing.done);
  }

  /** Ends the stream. */
  [Symbol.dispose](): void {
    clearInterval(this.#pings);
    this.#controller?.close();
    this.#controller = undefined;
    this.#room?.resolve();
  }

  #write(text: string): void {
    if (text !== "") this.#controller?.enqueue(encoder.encode(text));
  }

  response(): Response {
    const headers = { "content-type": this.#framing.contentType, "cache-control": "no-store" };
    // nginx holds events back otherwise.
    return new Response(this.body, { headers: { ...headers, "x-accel-buffering": "no" } });
  }
}
