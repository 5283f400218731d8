import { heapStats } from "bun:jsc";
import { afterEach, describe, expect, mock, setDefaultTimeout, spyOn, test } from "bun:test";
import { request } from "node:http";
import { expectedStories } from "../../../fixtures/stories/storyteller.ts";
import { Batch } from "../../models/decoder/cache/batch.ts";
import { AdaptersForTests } from "./testing/adapters.ts";
import { failure, serveStories, type TestServer, until } from "./testing/server.ts";

setDefaultTimeout(60_000);

const CLIENTS = 32;

const made = new AdaptersForTests();
const texts = await expectedStories();
// Of a test that fails while it holds the server.
afterEach(() => void mock.restore());

const ask = (serving: TestServer, prompt: string, extra: object = {}) =>
  serving.client.completions.create({ model: "storyteller", prompt, max_tokens: 6, ...extra });

/** Reads a stream until something has come, and goes away. */
async function leaveInMidAnswer(serving: TestServer, prompt: string): Promise<void> {
  const stream = await serving.client.completions.create({
    model: "storyteller",
    prompt,
    max_tokens: 400,
    stream: true,
  });
  for await (const { choices } of stream) if (choices[0]?.text !== "") break;
}

async function crowd(serving: TestServer): Promise<void> {
  const clients = Array.from({ length: CLIENTS }, async (_, at) => {
    const { text, greedy_text: wanted } = texts[at % texts.length] ?? { text: "", greedy_text: "" };
    if (at % 2 === 0) return await leaveInMidAnswer(serving, text);
    const { choices } = await ask(serving, text, { user: `client ${at}` });
    expect(wanted).toStartWith(choices[0]?.text ?? "-");
    expect(choices[0]?.text).not.toBe("");
  });
  await Promise.all(clients);
  await until(() => serving.engine.load === 0);
}

test("32 clients at once, half of them leave in mid-answer: the others have theirs, and nothing is left behind", async () => {
  const before = made.model.gpu.memory.liveBytes;
  {
    await using serving = serveStories(made.model);
    await crowd(serving);
    const known = promises();
    await crowd(serving);
    // A request that leaves something behind leaves promises.
    expect(promises() - known).toBeLessThan(CLIENTS);
    expect(serving.failures).toEqual([]);
  }
  expect(made.model.gpu.memory.liveBytes).toBe(before);
});

/** Promises that are still reachable. */
function promises(): number {
  Bun.gc(true);
  return heapStats().objectTypeCounts["Promise"] ?? 0;
}

/** Keeps the server busy until it is let go, by passes that take longer: what comes meanwhile has to wait, on a busy machine as well. */
async function hold(serving: TestServer): Promise<() => Promise<void>> {
  const left = new AbortController();
  const { pass } = Batch.prototype;
  const released = Promise.withResolvers<void>();
  const held = spyOn(Batch.prototype, "pass").mockImplementation(async function (this: Batch, ...args) {
    await Promise.race([released.promise, Bun.sleep(20)]);
    return await pass.apply(this, args);
  });
  const body = { model: "storyteller", prompt: "Once", max_tokens: 500, user: "holder" };
  const gone = failure(serving.client.completions.create(body, { signal: left.signal }));
  await until(() => serving.engine.load === 1);
  return async () => {
    left.abort();
    held.mockRestore();
    released.resolve();
    await gone;
  };
}

/** Asks from another address of this machine. @returns the answer's status, when it has come */
async function askFrom(localAddress: string, serving: TestServer, user: string): Promise<number> {
  const body = JSON.stringify({ model: "storyteller", prompt: "Once", max_tokens: 6, user });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const headers = { "content-length": Buffer.byteLength(body) };
  const asked = request(`${serving.address}/v1/completions`, { method: "POST", localAddress, headers }, (response) => {
    response.resume().on("end", () => resolve(response.statusCode ?? 0));
  });
  asked.on("error", reject).end(body);
  return await promise;
}

// Other systems know 127.0.0.1 alone.
describe.if(process.platform === "linux")("who invents users", () => {
  test("gets no more turns by that", async () => {
    await using serving = serveStories(made.model, { parallel: 1 });
    const release = await hold(serving);
    const order: string[] = [];
    const note = async (address: string, user: string): Promise<void> => {
      expect(await askFrom(address, serving, user)).toBe(200);
      order.push(user);
    };
    const many = Array.from({ length: 12 }, (_, at) => note("127.0.0.1", `invented ${at}`));
    await until(() => serving.engine.load === 13);
    const one = note("127.0.0.2", "one");
    await until(() => serving.engine.load === 14);
    await release();
    await Promise.all([...many, one]);
    expect(order.indexOf("one")).toBeLessThan(3);
  });

  test("takes no place from others where few may wait", async () => {
    await using serving = serveStories(made.model, { parallel: 1, queueLength: 4 });
    const release = await hold(serving);
    const many = Array.from({ length: 4 }, (_, at) => askFrom("127.0.0.1", serving, `invented ${at}`));
    await until(() => serving.engine.load === 5);
    const others = ["127.0.0.2", "127.0.0.3"].map((address) => askFrom(address, serving, ""));
    // Who has to give way is told at once: one for each of the others.
    let refused = 0;
    for (const asked of many) void asked.then((status) => (refused += Number(status === 429)));
    await until(() => refused === 2);
    await release();
    expect(await Promise.all(others)).toEqual([200, 200]);
    expect((await Promise.all(many)).toSorted()).toEqual([200, 200, 429, 429]);
  });
});

describe("the queue", () => {
  test("is full at some time, and says when to come again", async () => {
    await using serving = serveStories(made.model, { parallel: 1, queueLength: 2 });
    const release = await hold(serving);
    const waiting = [ask(serving, "One"), ask(serving, "Two")].map(async (asked) => (await asked).choices[0]?.text);
    await until(() => serving.engine.load === 3);
    const refused = await failure(ask(serving, "Three"));
    expect(refused).toMatchObject({ status: 429, code: "rate_limit_exceeded", type: "rate_limit_error" });
    const headers = refused instanceof Error && "headers" in refused ? refused.headers : undefined;
    expect(headers instanceof Headers && Number(headers.get("retry-after"))).toBeGreaterThan(0);
    await release();
    expect(await Promise.all(waiting)).toEqual([expect.any(String), expect.any(String)]);
  });

  test("takes all texts of a request or none, and free slots are room", async () => {
    await using serving = serveStories(made.model, { parallel: 1, queueLength: 2 });
    const askAll = (prompt: string[]) =>
      serving.client.completions.create({ model: "storyteller", prompt, max_tokens: 2 });
    const release = await hold(serving);
    expect(await failure(askAll(["a", "b", "c"]))).toMatchObject({ status: 429 });
    expect(serving.engine.load).toBe(1);
    const two = askAll(["a", "b"]).then(({ choices }) => choices.length);
    await until(() => serving.engine.load === 3);
    await release();
    expect(await two).toBe(2);
    await until(() => serving.engine.load === 0);
    expect((await askAll(["a", "b", "c"])).choices).toHaveLength(3);
    expect(await failure(askAll(["a", "b", "c", "d"]))).toMatchObject({ status: 400 });
  });

  test("lets who leaves it go at once", async () => {
    await using serving = serveStories(made.model, { parallel: 1 });
    const release = await hold(serving);
    const left = new AbortController();
    const second = failure(
      serving.client.completions.create({ model: "storyteller", prompt: "Once" }, { signal: left.signal }),
    );
    await until(() => serving.engine.load === 2);
    left.abort();
    await second;
    await until(() => serving.engine.load === 1);
    await release();
    await until(() => serving.engine.load === 0);
  });

  test("one client's many requests, and another's for an adapter, do not keep anybody waiting for all of them", async () => {
    await using serving = serveStories(made.model, { parallel: 1, adapters: made.adapters });
    const release = await hold(serving);
    const order: string[] = [];
    const note = async (name: string, extra: object): Promise<void> => {
      await ask(serving, "Once upon a time", extra);
      order.push(name);
    };
    const greedy = Array.from({ length: 12 }, (_, at) => note(`many ${at}`, { user: "many" }));
    await until(() => serving.engine.load === 13);
    const modest = [note("one", { user: "one" }), note("mine", { user: "mine", model: "pirate" })];
    await until(() => serving.engine.load === 15);
    await release();
    await Promise.all([...greedy, ...modest]);
    expect(order.indexOf("one")).toBeLessThan(3);
    expect(order.indexOf("mine")).toBeLessThan(12);
  });
});

describe("a server that stops", () => {
  test("lets the running answer end and turns the others away", async () => {
    await using serving = serveStories(made.model, { parallel: 1 });
    const running = ask(serving, "Once", { max_tokens: 200 }).then(({ choices }) => choices[0]?.finish_reason);
    await until(() => serving.engine.load === 1);
    const waiting = failure(ask(serving, "Once"));
    await until(() => serving.engine.load === 2);
    await serving.server.stop(60_000);
    expect(await running).toBe("length");
    expect(await waiting).toMatchObject({ status: 503, code: "server_stopping" });
    expect(await failure(ask(serving, "Once"))).toBeInstanceOf(Error);
  });

  test("cuts it where it takes too long, and says so", async () => {
    await using serving = serveStories(made.model, { parallel: 1 });
    const stream = await serving.client.completions.create({
      model: "storyteller",
      prompt: "Once",
      max_tokens: 500,
      stream: true,
    });
    const read = async (): Promise<void> => {
      for await (const _ of stream);
    };
    const failed = failure(read());
    await until(() => serving.engine.load === 1);
    await serving.server.stop(0);
    expect(await failed).toMatchObject({ code: "server_stopping" });
  });
});
