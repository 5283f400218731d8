import { TokenTexts } from "../../data/text/token-text.ts";
import { version } from "../../../package.json";
import { inTurn, logitBias, type LogitFilter } from "../generation/next-token.ts";
import { Constraint } from "../grammar/constraint.ts";
import { bytesOf, type TokenTree } from "../grammar/token-tree.ts";
import { adapterEndpoints } from "./adapter-endpoints.ts";
import type { ApiParts, Call } from "./api-parts.ts";
import { answer, type Assignment } from "./answer.ts";
import { ApiError } from "./api-error.ts";
import { Bodies, UnreadAnswers } from "./body.ts";
import { networkOf, type ServedModel } from "./job.ts";
import { type EndpointName, routesOf } from "./endpoints.ts";
import { embed, type EmbeddingShape, ollamaEmbedding, ollamaEmbeddings, openaiEmbeddings } from "./embeddings.ts";
import { ollamaModels, readShown } from "./ollama-models.ts";
import { propsResponse, slotsResponse } from "./props-and-slots.ts";
import type { TokenKind } from "./reader-messages.ts";
import { RequestReader } from "./request-reader.ts";
import { ollamaChatShape, ollamaTextShape } from "./shapes/ollama.ts";
import { chatShape, completionShape } from "./shapes/openai.ts";
import { responseShape } from "./shapes/responses.ts";
import type { Shape, ShapeOptions } from "./shapes/shape.ts";
import type { EmbeddingKind, EmbeddingTexts, RequestKind, Understood } from "./understand.ts";

/** Seconds without a byte after which a client that does not send its request, or does not take its answer, is gone. */
export const IDLE_SECONDS = 30;

/** Makes sense of a body. @throws ApiError */
type Read<U> = (body: Uint8Array, network: string, signal: AbortSignal) => Promise<U>;

/** Whose request was read, and who is told what comes of it. */
interface Received extends Omit<Assignment, "request" | "client" | "model" | "prompts" | "shape"> {
  readonly network: string;
  /** Counts the texts that are written at a time. @throws ApiError 429 where the key is for fewer */
  readonly counts: (texts: number) => void;
}

type Endpoint = (call: Call) => Response | Promise<Response>;

/** Those with a path of their own; the page and the health are the server's. */
type Routed = Exclude<EndpointName, "GET /" | "GET /health" | "GET /v1/models/NAME">;

/** The endpoints of OpenAI's API, and Ollama's, by path and method. */
export class Api implements Disposable {
  readonly #parts: ApiParts;
  readonly #texts: TokenTexts;
  readonly #bodies = new Bodies();
  readonly #unread = new UnreadAnswers();
  readonly #reader: RequestReader;
  /** The vocabulary as a tree: asked for when a request first has a grammar. */
  #tree: Promise<TokenTree> | undefined;
  readonly #routes: ReadonlyMap<string, Readonly<Record<string, Endpoint>>>;

  constructor(parts: ApiParts) {
    this.#parts = parts;
    this.#texts = new TokenTexts(parts.model.tokenizer);
    this.#reader = new RequestReader(parts.model, parts, parts.limits);
    const ollama = ollamaModels(parts);
    const { load, unload } = adapterEndpoints(parts, this.#bodies);
    const routes: Readonly<Record<Routed, Endpoint>> = {
      "POST /v1/chat/completions": this.#answer("chat", chatShape),
      "POST /v1/responses": this.#answer("responses", responseShape),
      "POST /v1/completions": this.#answer("completion", completionShape),
      "POST /v1/embeddings": this.#embed("embeddings", openaiEmbeddings),
      "POST /v1/tokenize": this.#tokens("tokenize"),
      "POST /v1/detokenize": this.#tokens("detokenize"),
      "POST /v1/apply-template": this.#tokens("template"),
      "GET /v1/models": async () => Response.json(await parts.models.list()),
      "POST /v1/load_lora_adapter": load,
      "POST /v1/unload_lora_adapter": unload,
      "GET /v1/slots": ({ request }) => slotsResponse(parts, request),
      "GET /v1/metrics": () => this.#measured(),
      "GET /v1/props": () => propsResponse(parts),
      "POST /api/chat": this.#answer("ollamaChat", ollamaChatShape),
      "POST /api/generate": this.#answer("ollamaGenerate", ollamaTextShape),
      "POST /api/embed": this.#embed("ollamaEmbed", ollamaEmbeddings),
      "POST /api/embeddings": this.#embed("ollamaEmbedding", ollamaEmbedding),
      "GET /api/tags": ollama.tags,
      "GET /api/ps": ollama.running,
      "POST /api/show": this.#tell(
        async (body) => readShown(body),
        (name) => ollama.show(name),
      ),
      "GET /api/version": () => Response.json({ version }),
    };
    this.#routes = routesOf(routes);
  }

  /** @throws ApiError 404, 405, and whatever the endpoint has to say */
  async handle(path: string, call: Call): Promise<Response> {
    // llama.cpp and mlx-lm answer without the version, too.
    const versioned = /^\/(?:v1|api)\//.test(path) ? path : `/v1${path}`;
    const named = /^\/v1\/models\/(.+)$/.exec(versioned)?.[1];
    const methods = named === undefined ? this.#routes.get(versioned) : { GET: () => this.#describe(named) };
    if (methods === undefined) throw new ApiError(404, `there is nothing at ${path.slice(0, 100)}`);
    return await this.#unread.counted(await pickMethod(call.request, methods)(call), sourceOf(call));
  }

  [Symbol.dispose](): void {
    this.#reader[Symbol.dispose]();
  }

  #measured(): Response {
    const headers = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };
    return new Response(this.#parts.metrics.text(this.#parts.engine.load), { headers });
  }

  async #describe(name: string): Promise<Response> {
    const { models } = this.#parts;
    return Response.json(models.describe(await models.find(decode(name))));
  }

  /** What changes the logits of each text of a request. */
  async #filter({
    settings: { biases },
    grammar,
    marks = [],
  }: Understood): Promise<(() => LogitFilter | undefined) | undefined> {
    const bias = biases.size === 0 ? [] : [logitBias(biases)];
    if (grammar === undefined) return bias.length === 0 ? undefined : () => inTurn(bias);
    const { tokenizer, stopTokens } = this.#parts.model;
    this.#tree ??= this.#reader.ask({ kind: "vocabulary" }, "ends");
    const tree = await this.#tree.catch((error: unknown) => {
      this.#tree = undefined;
      throw error;
    });
    const spelled = new Map(marks.map((id) => [id, [...Buffer.from(tokenizer.idToToken(id) ?? "")]]));
    const vocabulary = { tree, marks: spelled, bytesOf: (id: number) => bytesOf(tokenizer, this.#texts, id) };
    return () => inTurn([...bias, new Constraint(grammar, vocabulary, stopTokens)]);
  }

  #answer(kind: RequestKind, makeShape: (options: ShapeOptions) => Shape): Endpoint {
    const { models, engine } = this.#parts;
    const read: Read<{ understood: Understood; model: ServedModel }> = async (body, network, signal) => {
      const { raw } = models;
      const understood = await this.#reader.ask({ kind, body, raw }, "settings", network, signal);
      const model = await models.choose(understood.settings.model);
      if (!model.raw || raw.ids?.includes(model.id) !== false) return { understood, model };
      // It was found just now, and only now says how it was trained.
      const question = { kind, body, raw: models.raw };
      return { understood: await this.#reader.ask(question, "settings", network, signal), model };
    };
    return async (call) =>
      await this.#respond(call, read, async ({ understood, model }, { counts, ...received }) => {
        const { settings: request } = understood;
        const filter = await this.#filter(understood);
        const prompts = understood.prompts.map((prompt) => ({ ...prompt, filter }));
        counts(prompts.length * request.choices);
        const { includeUsage, said } = request;
        const shape = makeShape({ model: model.id, texts: this.#texts, includeUsage, said });
        const client = { network: received.network, user: request.user };
        return await answer(engine, { ...received, request, client, model, prompts, shape });
      });
  }

  #embed(kind: EmbeddingKind, shape: EmbeddingShape): Endpoint {
    const { models, engine, pooling } = this.#parts;
    const { hiddenSize: size } = this.#parts.model.decoder.config;
    const read: Read<EmbeddingTexts> = (body, network, signal) =>
      this.#reader.ask({ kind, body }, "encoding", network, signal);
    return async (call) =>
      await this.#respond(call, read, async (request, received) => {
        const model = await models.choose(request.model);
        const client = { network: received.network, user: request.user };
        return await embed(engine, { ...received, request, client, model, pooling, size, shape });
      });
  }

  /** What is answered where it is read. */
  #tokens(kind: TokenKind): Endpoint {
    const headers = { "content-type": "application/json" };
    return this.#tell(
      (body, network, signal) => this.#reader.ask({ kind, body }, "json", network, signal),
      ({ json }) => new Response(json, { headers }),
    );
  }

  #tell<U>(read: Read<U>, respond: (asked: U) => Response | Promise<Response>): Endpoint {
    return async (call) =>
      await this.#respond(call, read, async (asked, { onWritten }) => {
        const told = await respond(asked);
        onWritten();
        return told;
      });
  }

  /** Reads a request and has it answered; what is counted by keys and connections is counted here. */
  async #respond<U>(
    { request: received, address, key, setTimeout }: Call,
    read: Read<U>,
    respond: (understood: U, received: Received) => Promise<Response>,
  ): Promise<Response> {
    const { prompts, metrics, onFailure } = this.#parts;
    const { signal } = received;
    const network = sourceOf({ address, key });
    const keyed = key?.begin();
    let tokens = 0;
    const onWritten = (): void => {
      setTimeout(IDLE_SECONDS);
      keyed?.end(tokens);
    };
    try {
      const understood = await this.#bodies.with(received, network, async (body) => {
        // From here on it may take as long as it takes, until the answer is there to be taken.
        setTimeout(0);
        return await read(body, network, signal);
      });
      return await respond(understood, {
        network,
        context: prompts.context,
        signal,
        onFailure,
        counts: (texts) => keyed?.counts(texts),
        onTokens: (count) => void (tokens += count),
        onUsage: (usage, timings) => metrics.countTokens(usage, timings),
        onWritten,
      });
    } catch (error) {
      // Whatever it was that turned the request away: that, too, is an answer to be taken.
      onWritten();
      throw error;
    }
  }
}

/** Whoever has a key of their own takes turns by it, wherever they are. */
function sourceOf({ address, key }: Pick<Call, "address" | "key">): string {
  return key === undefined ? networkOf(address) : `key ${key.name}`;
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
