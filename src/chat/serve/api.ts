import type { LanguageModel } from "../language-model.ts";
import { TokenTexts } from "../../data/text/token-text.ts";
import { answer, type Prompt } from "./answer.ts";
import { ApiError } from "./api-error.ts";
import { Bodies } from "./body.ts";
import { type ChatRequest, readChatRequest } from "./chat-request.ts";
import { networkOf } from "./client.ts";
import { type CompletionRequest, readCompletionRequest } from "./completion-request.ts";
import { echoOf } from "./echo.ts";
import type { Engine } from "./engine.ts";
import type { GenerationRequest, RequestDefaults } from "./fields.ts";
import type { ModelList, ServedModel } from "./models.ts";
import { chatPrompt, completionPrompts, type PromptOptions, rawChatPrompt } from "./prompt.ts";
import { chatShape, completionShape } from "./shapes.ts";

/** What the endpoints work with. */
export interface ApiParts {
  readonly model: LanguageModel;
  readonly models: ModelList;
  readonly engine: Engine;
  readonly prompts: PromptOptions;
  readonly defaults: RequestDefaults;
  /** Told of failures that are no client's fault. */
  readonly onFailure: (error: unknown) => void;
}

/** A request, and what the server knows of it beside what it says. */
export interface Call {
  readonly request: Request;
  /** Where it comes from. */
  readonly address: string;
  /** Seconds without a byte after which the connection is closed; 0: never. */
  readonly setTimeout: (seconds: number) => void;
}

/** Seconds without a byte after which a client that does not send its request, or does not take its answer, is gone. */
export const IDLE_SECONDS = 30;

type Endpoint = (call: Call) => Response | Promise<Response>;

/** OpenAI's endpoints, by path and method. */
export class Api {
  readonly #parts: ApiParts;
  readonly #texts: TokenTexts;
  readonly #bodies = new Bodies();
  readonly #routes: ReadonlyMap<string, Readonly<Record<string, Endpoint>>>;

  constructor(parts: ApiParts) {
    this.#parts = parts;
    this.#texts = new TokenTexts(parts.model.tokenizer);
    this.#routes = new Map<string, Readonly<Record<string, Endpoint>>>([
      ["/v1/chat/completions", { POST: (call) => this.#chat(call) }],
      ["/v1/completions", { POST: (call) => this.#complete(call) }],
      ["/v1/models", { GET: () => Response.json(parts.models) }],
    ]);
  }

  /** @throws ApiError 404, 405, and whatever the endpoint has to say */
  async handle(path: string, call: Call): Promise<Response> {
    // llama.cpp and mlx-lm answer without the version, too.
    const versioned = path.startsWith("/v1/") ? path : `/v1${path}`;
    const named = /^\/v1\/models\/(.+)$/.exec(versioned)?.[1];
    const methods = named === undefined ? this.#routes.get(versioned) : { GET: () => this.#describe(named) };
    if (methods === undefined) throw new ApiError(404, `there is nothing at ${path.slice(0, 100)}`);
    return await pickMethod(call.request, methods)(call);
  }

  #describe(name: string): Response {
    const { models } = this.#parts;
    return Response.json(models.describe(models.find(decode(name))));
  }

  async #chat(call: Call): Promise<Response> {
    const { model, defaults, prompts } = this.#parts;
    const read = (body: unknown) => readChatRequest(body, defaults);
    const makePrompts = async (request: ChatRequest, { raw }: ServedModel) => {
      const make = raw ? rawChatPrompt : chatPrompt;
      return [{ ids: await make(model, request, prompts) }];
    };
    return await this.#answer(call, read, makePrompts, chatShape);
  }

  async #complete(call: Call): Promise<Response> {
    const { model, defaults, prompts } = this.#parts;
    const read = (body: unknown) => readCompletionRequest(body, defaults);
    const makePrompts = async (request: CompletionRequest) => {
      const all = await completionPrompts(model, request, prompts);
      if (!request.echo) return all.map((ids) => ({ ids }));
      return all.map((ids, at) => ({ ids, echo: echoOf(model.tokenizer, ids, request.prompts[at]) }));
    };
    return await this.#answer(call, read, makePrompts, completionShape);
  }

  async #answer<R extends GenerationRequest>(
    { request: received, address, setTimeout }: Call,
    read: (body: unknown) => R,
    makePrompts: (request: R, model: ServedModel) => Promise<readonly Prompt[]>,
    makeShape: typeof chatShape,
  ): Promise<Response> {
    const { engine, models, prompts: settings, onFailure } = this.#parts;
    const { signal } = received;
    const network = networkOf(address);
    const onWritten = (): void => setTimeout(IDLE_SECONDS);
    const understand = async (body: unknown) => {
      const request = read(body);
      const model = models.find(request.model);
      // Before the tokenizer works for a request that is turned away: a long text takes it a while.
      engine.checkRoom(network);
      // From here on it may take as long as it takes, until the answer is there to be taken.
      setTimeout(0);
      return { request, model, prompts: await makePrompts(request, model) };
    };
    try {
      const { request, model, prompts } = await this.#bodies.with(received, network, understand);
      const shape = makeShape({ model: model.id, texts: this.#texts, includeUsage: request.includeUsage });
      const client = { network, user: request.user };
      const { context } = settings;
      return await answer(engine, { request, client, model, prompts, context, shape, signal, onFailure, onWritten });
    } catch (error) {
      // Whatever it was that turned the request away: that, too, is an answer to be taken.
      onWritten();
      throw error;
    }
  }
}

/** @throws ApiError 405 */
export function pickMethod<T>(request: Request, methods: Readonly<Record<string, T>>): T {
  const method = request.method === "HEAD" ? "GET" : request.method;
  const found = Object.hasOwn(methods, method) ? methods[method] : undefined;
  if (found !== undefined) return found;
  const allow = Object.keys(methods).join(", ");
  throw new ApiError(405, `${request.method} is not possible here, only ${allow}`, { headers: { allow } });
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
