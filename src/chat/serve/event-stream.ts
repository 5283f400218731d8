/** A comment this often keeps proxies from taking a long wait for a dead connection. */
const PING_SECONDS = 10;

const encoder = new TextEncoder();

/** Server-sent events (HTML standard, section 9.2) with JSON in them, as OpenAI's API streams. */
export class EventStream implements Disposable {
  /** The body of the response. */
  readonly body: ReadableStream<Uint8Array>;
  readonly #pings: ReturnType<typeof setInterval>;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;

  /** @param onCancel called when the reader goes away before the end */
  constructor(onCancel: () => void) {
    this.body = new ReadableStream({
      start: (controller) => void (this.#controller = controller),
      cancel: () => {
        this.#controller = undefined;
        this[Symbol.dispose]();
        onCancel();
      },
    });
    this.#pings = setInterval(() => this.comment("ping"), PING_SECONDS * 1000);
  }

  /** A line that clients pass over by the standard. */
  comment(text: string): void {
    this.#write(`: ${text}\n\n`);
  }

  send(data: object): void {
    this.#write(`data: ${JSON.stringify(data)}\n\n`);
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
