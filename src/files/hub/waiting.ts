import { describeOwner } from "../owner.ts";
import { HubFailure } from "./failure.ts";
import { type Connection, MAX_SILENCES, sleep } from "./http.ts";
import { holderOf } from "./partial.ts";

const POLL_MS = 200;
/** Polls before it is said: somebody who only looks at a partial file holds it for a moment, too. */
const SAID_AFTER = 3;

/** Waits for somebody else who fetches a file, and shows how far they are. */
export class Waiting {
  readonly #connection: Connection;
  /** The file as users know it, and where it will lie. */
  readonly #what: { readonly file: string; readonly blob: string };
  readonly #onBytes: (count: number) => void;
  #polls = 0;
  /** Bytes that were reported. */
  #reported = 0;
  #most = -1;
  #movedAt = performance.now();

  constructor(
    connection: Connection,
    what: { readonly file: string; readonly blob: string },
    onBytes: (count: number) => void,
  ) {
    this.#connection = connection;
    this.#what = what;
    this.#onBytes = onBytes;
  }

  /** @throws {HubFailure} `interrupted` when nothing has come for as long as an answer of the Hub may take */
  async poll(): Promise<void> {
    const { settings, signal, warn } = this.#connection;
    const { file, blob } = this.#what;
    await sleep(POLL_MS, signal);
    const holder = await holderOf(blob);
    if (holder === undefined) return;
    const who = holder.owner === undefined ? "another process" : describeOwner(holder.owner);
    if (++this.#polls === SAID_AFTER) warn?.(`waiting for ${who}, which is fetching ${file}`);
    if (holder.size > this.#most) [this.#most, this.#movedAt] = [holder.size, performance.now()];
    const limit = MAX_SILENCES * settings.timeoutMs;
    if (performance.now() - this.#movedAt > limit) {
      const cause = `${who} is fetching ${file}, and nothing has come for ${Math.round(limit / 1000)} s`;
      throw new HubFailure("interrupted", cause, "end that process if it hangs, and try again");
    }
    this.#report(Math.max(this.#reported, holder.size));
  }

  /** Takes back what was reported: whoever comes next counts the whole file. */
  end(): void {
    this.#report(0);
  }

  #report(bytes: number): void {
    if (bytes !== this.#reported) this.#onBytes(bytes - this.#reported);
    this.#reported = bytes;
  }
}
