/** What an OpenAI error says besides its message. */
export interface ApiErrorDetails {
  /** A word for programs, such as `context_length_exceeded`. */
  readonly code?: string;
  /** The field of the request that is to blame. */
  readonly param?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** An answer that is an error, in the shape of OpenAI's API: `{"error": {"message", "type", "param", "code"}}`. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly #details: ApiErrorDetails;

  constructor(status: number, message: string, details: ApiErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = status;
    this.#details = details;
  }

  /** The body, which is also what a stream that fails half-way sends. */
  toJSON(): { readonly error: Readonly<Record<"message" | "type" | "param" | "code", string | null>> } {
    const { code = null, param = null } = this.#details;
    return { error: { message: this.message, type: typeOf(this.status), param, code } };
  }

  /** What makes it again in another process. */
  get parts(): readonly [status: number, message: string, details: ApiErrorDetails] {
    const { cause: _, ...details } = this.#details;
    return [this.status, this.message, details];
  }

  /** @param path of the endpoint: Ollama's errors are a text */
  response(path = ""): Response {
    const body = path.startsWith("/api/") ? { error: this.message } : this.toJSON();
    return Response.json(body, { status: this.status, headers: { ...this.#details.headers } });
  }
}

function typeOf(status: number): string {
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/** Reads something of which the client calls the fields otherwise. @throws ApiError as `read`, with the client's names */
export function renaming<T>(nameOf: (field: string) => string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw renamed(error, nameOf);
  }
}

/** The same error of a field that the client calls otherwise. */
export function renamed(error: unknown, nameOf: (field: string) => string): unknown {
  if (!(error instanceof ApiError)) return error;
  const [status, message, { param, ...details }] = error.parts;
  if (param === undefined) return error;
  const name = nameOf(param);
  const isNamed = message.startsWith(`${param}:`);
  return new ApiError(status, isNamed ? name + message.slice(param.length) : message, { ...details, param: name });
}

/** What is wrong with one field of a request: status 400. */
export function badField(param: string, message: string, code?: string): ApiError {
  return new ApiError(400, `${param}: ${message}`, { param, ...(code === undefined ? {} : { code }) });
}
