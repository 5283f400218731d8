import { RandloraError } from "../../files/errors.ts";
import type { LanguageModel } from "../language-model.ts";
import { ApiError } from "./api-error.ts";

/** A device that fails so often without an answered request between is not opened again: weights would be read without end. */
const MOST_LOSSES = 3;

export interface DeviceWatchOptions {
  /** Told why the device is opened anew. */
  readonly onLoss: ((error: unknown) => void) | undefined;
  /** Ends all that uses the device, with this reason. */
  readonly end: (reason: ApiError) => Promise<void>;
  /** Begins anew with the device that was opened. */
  readonly begin: () => void;
}

/** Has a model's device opened anew that was lost, or had no room where nobody knows whose it was. */
export class DeviceWatch {
  /** What requests are told while the device is opened anew, or where it cannot be. */
  refusal: ApiError | undefined;
  readonly #model: LanguageModel;
  readonly #options: DeviceWatchOptions;
  readonly #over = Promise.withResolvers<never>();
  #reopening: Promise<void> | undefined;
  /** Since the last answered request. */
  #losses = 0;

  constructor(model: LanguageModel, options: DeviceWatchOptions) {
    this.#model = model;
    this.#options = options;
    this.failure.catch(() => {}); // nobody need be listening
  }

  /** Rejects when the device failed and is not opened anew. */
  get failure(): Promise<never> {
    return this.#over.promise;
  }

  /** Looks whether the device has failed. */
  check(): void {
    if (this.refusal !== undefined) return;
    try {
      this.#model.gpu.check();
    } catch (cause) {
      const details = { code: "device_lost", headers: { "retry-after": "5" }, cause };
      const lost = new ApiError(503, "the device failed and is opened anew: try again later", details);
      this.refusal = lost;
      this.#reopening = this.#reopen(lost).catch((thrown: unknown) => {
        this.refusal = new ApiError(503, "the device failed: the server must be started again", { cause: thrown });
        this.#over.reject(thrown);
      });
    }
  }

  /** Says that the device has answered a request. */
  answered(): void {
    this.#losses = 0;
  }

  /** Waits for a device that is being opened. */
  async settled(): Promise<void> {
    await this.#reopening;
  }

  async #reopen(lost: ApiError): Promise<void> {
    const { cause } = lost;
    const isLast = ++this.#losses >= MOST_LOSSES;
    if (!isLast) this.#options.onLoss?.(cause);
    await this.#options.end(lost);
    if (isLast) {
      await this.#model[Symbol.asyncDispose]();
      const why = cause instanceof Error ? cause.message : String(cause);
      const message = `the device failed ${MOST_LOSSES} times without an answered request between: ${why}`;
      throw new RandloraError("gpu", message, "start the server again; `randlora doctor` tests the device", { cause });
    }
    await this.#model.reopen();
    this.#options.begin();
    this.refusal = undefined;
  }
}
