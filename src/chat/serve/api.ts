import type { LanguageModel } from "../language-model.ts";
import { TokenTexts } from "../../data/text/token-text.ts";
import { version } from "../../../package.json";
import { inTurn, LogitBias } from "../generation/logit-bias.ts";
import type { LogitFilter } from "../generation/logit-filter.ts";
import { Constraint } from "../grammar/constraint.ts";
import type { Grammar } from "../grammar/grammar.ts";
import { statesOf } from "../grammar/states.ts";
import { type TokenTrie, tokenTrie } from "../grammar/token-trie.ts";
import { answer, type Prompt } from "./answer.ts";
import { ApiError } from "./api-error.ts";
import type { KeyLimits } from "./api-keys.ts";
import { Bodies } from "./body.ts";
import { type ChatRequest, readChatRequest } from "./chat-request.ts";
import { networkOf } from "./client.ts";
import { type CompletionRequest, readCompletionRequest } from "./completion-request.ts";
import { echoOf } from "./echo.ts";
import type { Engine } from "./engine.ts";
import type { GenerationRequest, RequestDefaults } from "./fields.ts";
import { compiled } from "./format-fields.ts";
import type { Metrics } from "./metrics.ts";
import type { ModelList, ServedModel } from "./models.ts";
import { readOllamaChat, readOllamaGenerate } from "./ollama-request.ts";
import { chatPrompt, completionPrompts, type PromptOptions, rawChatPrompt } from "./prompt.ts";
import { readResponseRequest } from "./responses-request.ts";
import { ollamaChatShape, ollamaTextShape } from "./shapes/ollama.ts";
import { chatShape } from "./shapes/openai-chat.ts";
import { completionShape } from "./shapes/openai-completion.ts";
import { responseShape } from "./shapes/responses.ts";
import type { Shape, ShapeOptions, Timings, Usage } from "./shapes/shape.ts";

/** What the endpoints work with. */
export interface ApiParts {
  readonly model: LanguageModel;
  readonly models: ModelList;
  readonly engine: Engine;
  readonly prompts: PromptOptions;
  readonly defaults: RequestDefaults;
  /** Told of failures that are no client's fault. */
  readonly onFailure: (error: unknown) => void;
  readonly metrics: Metrics;
}

/** A request, and what the server knows of it beside what it says. */
export interface Call {
  readonly request: Request;
  /** Where it comes from. */
  readonly address: string;
  /** Limits of the key that it came with. */
  readonly key?: KeyLimits | undefined;
  /** Seconds without a byte after which the connection is closed; 0: never. */
  readonly setTimeout: (seconds: number) => void;
}

/** Seconds without a byte after which a client that does not send its request, or does not take its answer, is gone. */
export const IDLE_SECONDS = 30;

type Endpoint = (call: Call) => Response | Promise<Response>;

/** How a chat is asked for, and answered. */
interface ChatEndpoint {
  readonly read: (body: unknown, defaults: RequestDefaults) => ChatRequest;
  readonly shape: (options: ShapeOptions) => Shape;
}

/** The endpoints of OpenAI's API, and Ollama's, by path and method. */
export class Api {
  readonly #parts: ApiParts;
  readonly #texts: TokenTexts;
  readonly #bodies = new Bodies();
  /** The vocabulary as a tree: made when a request first has a grammar. */
  #trie: Promise<TokenTrie> | undefined;
  readonly #routes: ReadonlyMap<string, Readonly<Record<string, Endpoint>>>;

  constructor(parts: ApiParts) {
    this.#parts = parts;
    this.#texts = new TokenTexts(parts.model.tokenizer);
    this.#routes = new Map<string, Readonly<Record<string, Endpoint>>>([
      ["/v1/chat/completions", this.#chat({ read: readChatRequest, shape: chatShape })],
      ["/v1/responses", this.#chat({ read: readResponseRequest, shape: responseShape })],
      ["/v1/completions", { POST: (call) => this.#complete(call) }],
      ["/v1/models", { GET: () => Response.json(parts.models) }],
      ["/v1/metrics", { GET: () => this.#measured() }],
      ["/api/chat", this.#chat({ read: readOllamaChat, shape: ollamaChatShape })],
      ["/api/generate", this.#chat({ read: readOllamaGenerate, shape: ollamaTextShape })],
      ["/api/tags", { GET: () => Response.json({ models: parts.models.tags() }) }],
      ["/api/version", { GET: () => Response.json({ version }) }],
    ]);
  }

  /** @throws ApiError 404, 405, and whatever the endpoint has to say */
  async handle(path: string, call: Call): Promise<Response> {
    // llama.cpp and mlx-lm answer without the version, too.
    const versioned = /^\/(?:v1|api)\//.test(path) ? path : `/v1${path}`;
    const named = /^\/v1\/models\/(.+)$/.exec(versioned)?.[1];
    const methods = named === undefined ? this.#routes.get(versioned) : { GET: () => this.#describe(named) };
    if (methods === undefined) throw new ApiError(404, `there is nothing at ${path.slice(0, 100)}`);
    return await pickMethod(call.request, methods)(call);
  }

  #measured(): Response {
    const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };
    return new Response(this.#parts.metrics.text(this.#parts.engine.load), { headers });
  }

  #describe(name: string): Response {
    const { models } = this.#parts;
    return Response.json(models.describe(models.find(decode(name))));
  }

  #chat({ read, shape }: ChatEndpoint): { readonly POST: Endpoint } {
    const { model, defaults, prompts } = this.#parts;
    const makePrompts = async (request: ChatRequest, { raw }: ServedModel) => {
      if (raw) return [{ ids: await rawChatPrompt(model, request, prompts), filter: await this.#filter(request) }];
      const { grammar, ...prompt } = await chatPrompt(model, request, prompts);
      return [{ ...prompt, filter: await this.#filter({ ...request, grammar }) }];
    };
    return { POST: (call) => this.#answer(call, (body) => read(body, defaults), makePrompts, shape) };
  }

  async #complete(call: Call): Promise<Response> {
    const { model, defaults, prompts } = this.#parts;
    const read = (body: unknown) => readCompletionRequest(body, defaults);
    const makePrompts = async (request: CompletionRequest) => {
      const all = await completionPrompts(model, request, prompts);
      const filter = await this.#filter(request);
      if (!request.echo) return all.map((ids) => ({ ids, filter }));
      return all.map((ids, at) => ({ ids, filter, echo: echoOf(model.tokenizer, ids, request.prompts[at]) }));
    };
    return await this.#answer(call, read, makePrompts, completionShape);
  }

  /** What changes the logits of each text of a request. @throws ApiError 400 for a grammar that cannot be followed */
  async #filter({
    grammar,
    biases,
  }: Pick<GenerationRequest, "biases"> & { readonly grammar: Grammar | undefined }): Promise<
    (() => LogitFilter | undefined) | undefined
  > {
    const bias = biases.size === 0 ? [] : [new LogitBias(biases)];
    if (grammar === undefined) return bias.length === 0 ? undefined : () => inTurn(bias);
    const { tokenizer, decoder, stopTokens } = this.#parts.model;
    const states = compiled("grammar", () => statesOf(grammar));
    const trie = await (this.#trie ??= tokenTrie(tokenizer, this.#texts, decoder.config.vocabularySize));
    return () => inTurn([...bias, new Constraint(states, trie, stopTokens)]);
  }

  async #answer<R extends GenerationRequest>(
    { request: received, address, key, setTimeout }: Call,
    read: (body: unknown) => R,
    makePrompts: (request: R, model: ServedModel) => Promise<readonly Prompt[]>,
    makeShape: (options: ShapeOptions) => Shape,
  ): Promise<Response> {
    const { engine, models, prompts: settings, metrics, onFailure } = this.#parts;
    const { signal } = received;
    // Whoever has a key of their own takes turns by it, wherever they are.
    const network = key === undefined ? networkOf(address) : `key ${key.name}`;
    const keyed = key?.begin();
    let tokens = 0;
    const onTokens = (count: number): void => void (tokens += count);
    const onUsage = (usage: Usage, timings: Timings): void => metrics.countTokens(usage, timings);
    const onWritten = (): void => {
      setTimeout(IDLE_SECONDS);
      keyed?.end(tokens);
    };
    const understand = async (body: unknown) => {
      const request = read(body);
      const model = models.choose(request.model);
      // Before the tokenizer works for a request that is turned away: a long text takes it a while.
      engine.checkRoom(network);
      // From here on it may take as long as it takes, until the answer is there to be taken.
      setTimeout(0);
      const prompts = await makePrompts(request, model);
      keyed?.counts(prompts.length * request.choices);
      return { request, model, prompts };
    };
    try {
      const { request, model, prompts } = await this.#bodies.with(received, network, understand);
      const shape = makeShape({ model: model.id, texts: this.#texts, includeUsage: request.includeUsage });
      const client = { network, user: request.user };
      const { context } = settings;
      return await answer(engine, {
        request,
        client,
        model,
        prompts,
        context,
        shape,
        signal,
        onFailure,
        onTokens,
        onUsage,
        onWritten,
      });
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
