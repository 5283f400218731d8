/** A comment this often keeps proxies from taking a long wait for a dead connection. */
const PING_SECONDS = 10;

/** Bytes that wait for a reader; whoever has more to send waits with them. */
const MOST_WAITING = 64 * 1024;
/** A reader that takes nothing for so long is gone. */
const SLOW_SECONDS = 30;

const encoder = new TextEncoder();

/** Server-sent events (HTML standard, section 9.2) with JSON in them, as OpenAI's API streams. */
export class EventStream implements Disposable {
  /** The body of the response. */
  readonly body: ReadableStream<Uint8Array>;
  readonly #pings: ReturnType<typeof setInterval>;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #room: PromiseWithResolvers<void> | undefined;
  readonly #onCancel: () => void;

  /** @param onCancel called when the reader goes away before the end, or takes nothing any more */
  constructor(onCancel: () => void) {
    this.#onCancel = onCancel;
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

  /** A line that clients pass over by the standard. */
  comment(text: string): void {
    this.#write(`: ${text}\n\n`);
  }

  send(data: object): void {
    this.#write(`data: ${JSON.stringify(data)}\n\n`);
  }

  /** Waits until the reader has taken so much that more may be sent. */
  async room(): Promise<void> {
    if (this.#controller === undefined || (this.#controller.desiredSize ?? 0) > 0) return;
    const room = (this.#room ??= Promise.withResolvers<void>());
    // Connections of answers that are being written have no time limit of their own.
    const timer = setTimeout(() => this.#onCancel(), SLOW_SECONDS * 1000);
    await room.promise;
    clearTimeout(timer);
    this.#room = undefined;
  }

  /** The last event. */
  done(): void {
    this.#write("data: [DONE]\n\n");
  }

  /** Ends the stream. */
  [Symbol.dispose](): void {
    clearInterval(this.#pings);
    this.#controller?.close();
    this.#controller = undefined;
    this.#room?.resolve();
  }

  #write(text: string): void {
    this.#controller?.enqueue(encoder.encode(text));
  }

  response(): Response {
    const headers = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" };
    // nginx holds events back otherwise.
    return new Response(this.body, { headers: { ...headers, "x-accel-buffering": "no" } });
  }
}
