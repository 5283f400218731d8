import * as v from "valibot";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import { MAX_BODY_BYTES, MAX_BODY_DEPTH } from "./body.ts";
import { ENDPOINTS } from "./endpoints.ts";
import { ServedForTests } from "./testing/for-tests.ts";
import { failure, serveStories } from "./testing/server.ts";

setDefaultTimeout(60_000);

const served = new ServedForTests();

const send = async (path: string, init: RequestInit = {}) => await fetch(served.serving.address + path, init);
type Body = string | Uint8Array<ArrayBuffer> | ReadableStream;
const post = async (body: Body, path = "/v1/chat/completions") => await send(path, { method: "POST", body });

const Shape = v.strictObject({
  error: v.strictObject({
    message: v.pipe(v.string(), v.nonEmpty()),
    type: v.string(),
    param: v.nullable(v.string()),
    code: v.nullable(v.string()),
  }),
});

async function expectError(response: Response, status: number, code: string | null = null): Promise<void> {
  expect(response.status).toBe(status);
  expect(response.headers.get("content-type")).toStartWith("application/json");
  const { error } = v.parse(Shape, await response.json());
  const type = status === 429 ? "rate_limit_error" : status >= 500 ? "server_error" : "invalid_request_error";
  expect([error.type, error.code]).toEqual([type, code]);
}

describe("errors have OpenAI's shape", () => {
  test.each<[string, Body]>([
    ["nothing", ""],
    ["no JSON", "{"],
    ["no UTF-8", new Uint8Array([0x22, 0xff, 0x22])],
    ["no object", "[]"],
    ["null", "null"],
    ["deep", "[".repeat(200_000)],
    ["wrong types", '{"model": 5}'],
  ])("a body that is %s", async (_, body) => {
    await expectError(await post(body), 400);
    await expectError(await post(body, "/v1/completions"), 400);
  });

  test("a compressed body is told so, not taken for broken JSON", async () => {
    const body = Bun.gzipSync('{"prompt": "a", "max_tokens": 1}');
    const asked = (encoding: string) =>
      send("/v1/completions", { method: "POST", body, headers: { "content-encoding": encoding } });
    await expectError(await asked("gzip"), 415);
    await expectError(await asked("identity"), 400);
  });

  test("a body with __proto__", async () => {
    await expectError(await post('{"__proto__": {"messages": []}}'), 400, "unsupported_parameter");
  });

  const chat = (field: string, value: string) =>
    `{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "${field}": ${value}}`;
  const nested = (depth: number, opening: string, closing: string) =>
    `${opening.repeat(depth)}7${closing.repeat(depth)}`;

  test.each([
    ["chat_template_kwargs", '{"a":', "}"],
    ["chat_template_kwargs", '{"a":[', "]}"],
    ["metadata", "[", "]"],
    ["logit_bias", '{"7":', "}"],
    ["stop", "[", "]"],
  ])("a field that is nested deeply: %s, %s", async (field, opening, closing) => {
    for (const depth of [MAX_BODY_DEPTH, 100_000]) {
      await expectError(await post(chat(field, nested(depth, opening, closing))), 400);
    }
    expect(served.serving.failures).toEqual([]);
  });

  test("as deep as it may be, and brackets in a text are no nesting", async () => {
    const brackets = JSON.stringify('[{"\\'.repeat(1000));
    for (const value of [nested(MAX_BODY_DEPTH - 1, "[", "]"), brackets, `[${"[],".repeat(1000)}[]]`]) {
      expect((await post(chat("metadata", value))).status).toBe(200);
    }
  });

  test("a body that is too long, whether it says so or not", async () => {
    const long = new Uint8Array(MAX_BODY_BYTES + 1).fill(0x20);
    await expectError(await post(long), 413, "request_too_large");
    const chunks = new ReadableStream({
      start(controller) {
        for (let at = 0; at < 5; at++) controller.enqueue(long.subarray(0, 2 ** 20));
        controller.close();
      },
    });
    await expectError(await post(chunks), 413, "request_too_large");
  });

  test("paths and methods that there are not", async () => {
    for (const path of ["/nothing", "/v1", "/v1/images", "/v1/models/none", "/v1/models/%zz"]) {
      const response = await send(path);
      await expectError(response, 404, path.startsWith("/v1/models/") ? "model_not_found" : null);
    }
    for (const path of ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"]) {
      const response = await send(path);
      expect(response.headers.get("allow")).toBe("POST");
      await expectError(response, 405);
    }
  });

  test("every endpoint that the documentation lists is there", async () => {
    for (const [method = "", path = ""] of Object.keys(ENDPOINTS).map((name) => name.split(" "))) {
      const refused = await send(path, { method: "DELETE" });
      expect([path, refused.headers.get("allow")]).toEqual([path, method]);
      // Ollama's clients look for a text.
      if (path.startsWith("/api/")) expect(await refused.json()).toEqual({ error: expect.stringContaining(method) });
      else await expectError(refused, 405);
    }
  });

  test("prompts that make no sense", async () => {
    await expectError(await post('{"prompt": []}', "/v1/completions"), 400);
    await expectError(await post('{"messages": [{"role": "user", "content": ""}]}'), 400);
    await expectError(await post('{"prompt": [5000]}', "/v1/completions"), 400);
    const variables =
      '{"messages": [{"role": "user", "content": "x"}], "max_tokens": 1, "chat_template_kwargs": {"loop": 5}}';
    expect((await post(variables)).status).toBeLessThan(500);
  });

  test("web pages from elsewhere", async () => {
    await expectError(await send("/v1/models", { headers: { origin: "https://evil.example" } }), 403);
    await expectError(await send("/v1/models", { headers: { host: "evil.example" } }), 403);
  });
});

test("health, models and page can be asked for; also without the version, and by HEAD", async () => {
  expect(await (await send("/health")).json()).toEqual({ status: "ok" });
  for (const path of ["/v1/models", "/models", "/v1/models/storyteller"]) {
    expect((await send(path)).status).toBe(200);
    const head = await send(path, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
  }
  const page = await send("/");
  expect(page.headers.get("content-security-policy")).toMatch(/^default-src 'none'; script-src 'sha256-[^']+'; /);
  expect(await page.text()).toContain("<!doctype html>");
});

test("pages on this machine may use it", async () => {
  const origin = "http://localhost:3000";
  const asked = await send("/v1/chat/completions", { method: "OPTIONS", headers: { origin } });
  expect([asked.status, asked.headers.get("access-control-allow-origin")]).toEqual([204, origin]);
  const answered = await send("/v1/models", { headers: { origin } });
  expect(answered.headers.get("access-control-allow-origin")).toBe(origin);
});

test("with a key the API is closed, and page and health are open", async () => {
  await using locked = serveStories(served.model, { apiKey: "secret" });
  for (const path of ["/v1/models", "/v1/chat/completions", "/nothing"]) {
    const response = await fetch(locked.address + path);
    expect(response.headers.get("www-authenticate")).toBe("Bearer");
    await expectError(response, 401, "invalid_api_key");
  }
  for (const path of ["/", "/health"]) expect((await fetch(locked.address + path)).status).toBe(200);
  expect((await locked.client.models.list()).data).toHaveLength(1);
  const wrong = locked.client.withOptions({ apiKey: "secret2" }).models.list();
  expect(await failure(wrong)).toMatchObject({ status: 401 });
});

test("clients that are slow, silent or talk nonsense do not keep others waiting", async () => {
  const { port } = new URL(served.serving.address);
  const head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n";
  const sockets = ["", "GET /heal", head, `${head}{"prompt": "On`, "\0\0\0\0\r\n\r\n"].map((text) => {
    const socket = connect(Number(port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write(text);
    return socket;
  });
  const { choices } = await served.client.completions.create({ model: "storyteller", prompt: "Once", max_tokens: 3 });
  expect(choices[0]?.text).not.toBe("");
  for (const socket of sockets) socket.destroy();
  expect(await (await send("/health")).json()).toEqual({ status: "ok" });
  expect(served.serving.failures).toEqual([]);
});

/** What a request that no HTTP client would write is answered with. */
async function exchange(text: string): Promise<string> {
  const { port } = new URL(served.serving.address);
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect(Number(port), "127.0.0.1", () => socket.write(text));
  let answer = "";
  socket.on("data", (bytes) => (answer += bytes.toString()));
  socket.on("end", () => resolve(answer));
  return await promise;
}

test("HTTP/1.0 without Host is answered", async () => {
  expect(await exchange("GET /health HTTP/1.0\r\n\r\n")).toContain("200 OK");
});

test.each(["[", "a b", "localhost:99999"])("the Host %p is refused as others are", async (host) => {
  const answer = await exchange(`GET /health HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  expect(answer).toStartWith("HTTP/1.1 403");
  expect(v.is(Shape, JSON.parse(answer.slice(answer.indexOf("{"))))).toBeTrue();
});
