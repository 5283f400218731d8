import { describe, expect, test } from "bun:test";
import { ApiError } from "./api-error.ts";
import { Guard } from "./api-keys.ts";

const open = new Guard({ apiKey: undefined, host: "models.example" });
const locked = new Guard({ apiKey: "secret", host: "127.0.0.1" });

function status(check: () => void): number {
  try {
    check();
  } catch (error) {
    if (error instanceof ApiError) return error.status;
    throw error;
  }
  return 200;
}

const request = (headers: Record<string, string>) => new Request("http://localhost:8080/v1/models", { headers });

test.each<[Record<string, string>, number]>([
  [{}, 200],
  [{ host: "localhost:8080" }, 200],
  [{ host: "app.localhost:8080" }, 200],
  [{ host: "127.0.0.1:8080" }, 200],
  [{ host: "[::1]:8080" }, 200],
  [{ host: "192.168.1.5" }, 200],
  [{ host: "MODELS.example:80" }, 200],
  [{ host: "evil.example:8080" }, 403],
  [{ host: "127.0.0.1.evil.example" }, 403],
  [{ host: "" }, 403],
  [{ host: "192.168.1.5:8080", origin: "http://192.168.1.5:8080" }, 200],
  [{ host: "localhost:8080", origin: "http://localhost:3000" }, 200],
  [{ host: "localhost:8080", origin: "http://127.0.0.1:3000" }, 200],
  [{ host: "localhost:8080", origin: "http://[::1]:3000" }, 200],
  [{ host: "localhost:8080", origin: "https://evil.example" }, 403],
  [{ host: "localhost:8080", origin: "http://127.evil.example" }, 403],
  [{ host: "localhost:8080", origin: "http://192.168.1.5:8080" }, 403],
  [{ host: "localhost:8080", origin: "null" }, 403],
])("without a key: %j", (headers, wanted) => {
  expect(status(() => open.checkPage(request(headers)))).toBe(wanted);
  // With one, it is the key that counts.
  expect(status(() => locked.checkPage(request(headers)))).toBe(200);
});

test.each<[Record<string, string>, number]>([
  [{}, 401],
  [{ authorization: "Bearer secret" }, 200],
  [{ authorization: "bearer  secret" }, 200],
  [{ authorization: "Bearer secret2" }, 401],
  [{ authorization: "Bearer " }, 401],
  [{ authorization: "secret" }, 401],
  [{ authorization: "Basic secret" }, 401],
])("with a key: %j", (headers, wanted) => {
  expect(status(() => locked.checkKey(request(headers)))).toBe(wanted);
  expect(status(() => open.checkKey(request(headers)))).toBe(200);
});

describe("CORS", () => {
  test("lets those pages read that may ask", () => {
    const page = { host: "localhost:8080", origin: "http://localhost:3000" };
    expect(open.corsHeaders(request(page))).toEqual({
      "access-control-allow-origin": "http://localhost:3000",
      vary: "Origin",
    });
    const foreign = { host: "localhost:8080", origin: "https://app.example" };
    expect(open.corsHeaders(request(foreign))).toEqual({});
    expect(locked.corsHeaders(request(foreign))).toMatchObject({
      "access-control-allow-origin": "https://app.example",
    });
    expect(locked.corsHeaders(request({}))).toEqual({});
  });

  test("a preflight allows what the openai client sends", () => {
    const wanted = "authorization,content-type,x-stainless-os";
    const { status, headers } = locked.preflight(request({ "access-control-request-headers": wanted }));
    expect([status, headers.get("access-control-allow-headers")]).toEqual([204, wanted]);
  });
});
