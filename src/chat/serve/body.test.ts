import { expect, test } from "bun:test";
import { Bodies, LEAST_BYTES, MAX_BODY_BYTES, MAX_HELD_BYTES, MAX_NETWORK_BYTES, parseBody } from "./body.ts";

const CHUNK = new Uint8Array(MAX_BODY_BYTES - 2).fill(0x20);

/** A request whose body is a number after much white space; it ends when it is told to. */
function slow() {
  const { promise, resolve } = Promise.withResolvers<void>();
  const body = new ReadableStream({
    async start(controller) {
      controller.enqueue(CHUNK);
      await promise;
      controller.enqueue(new TextEncoder().encode("7"));
      controller.close();
    },
  });
  return { request: new Request("http://localhost/", { method: "POST", body }), end: resolve };
}

test("all bodies together have a limit, and room again when they are done with", async () => {
  const bodies = new Bodies();
  const most = Math.floor(MAX_HELD_BYTES / CHUNK.length);
  const open = Array.from({ length: most }, slow);
  const answers = open.map(
    async ({ request }, at) => await bodies.with(request, `network ${at}`, async (body) => parseBody(body)),
  );
  await Bun.sleep(0);
  const late = slow();
  late.end();
  await expect(bodies.with(late.request, "late", async (body) => parseBody(body))).rejects.toMatchObject({
    status: 429,
  });
  for (const { end } of open) end();
  expect(await Promise.all(answers)).toEqual(open.map(() => 7));
  const again = slow();
  again.end();
  expect(await bodies.with(again.request, "late", async (body) => parseBody(body))).toBe(7);
});

test("a body counts until it has been used, and no longer when that fails", async () => {
  const bodies = new Bodies();
  const most = Math.floor(MAX_HELD_BYTES / CHUNK.length);
  const use = Promise.withResolvers<never>();
  const used = Array.from({ length: most }, async (_, at) => {
    const { request, end } = slow();
    end();
    return await bodies.with(request, `network ${at % 3}`, () => use.promise);
  });
  const failures = Promise.allSettled(used);
  await Bun.sleep(0);
  const one = async () => {
    const { request, end } = slow();
    end();
    return await bodies.with(request, "network 0", async (body) => parseBody(body));
  };
  await expect(one()).rejects.toMatchObject({ status: 429 });
  use.reject(new Error("no use"));
  expect(await failures).toEqual(used.map(() => expect.objectContaining({ status: "rejected" })));
  expect(await one()).toBe(7);
});

test("one network has no more than its part: there is room for others", async () => {
  const bodies = new Bodies();
  const open = Array.from({ length: Math.floor(MAX_NETWORK_BYTES / CHUNK.length) }, slow);
  const answers = open.map(
    async ({ request }) => await bodies.with(request, "greedy", async (body) => parseBody(body)),
  );
  await Bun.sleep(0);
  const [more, other] = [slow(), slow()];
  for (const { end } of [more, other]) end();
  await expect(bodies.with(more.request, "greedy", async (body) => parseBody(body))).rejects.toMatchObject({
    status: 429,
  });
  expect(await bodies.with(other.request, "other", async (body) => parseBody(body))).toBe(7);
  for (const { end } of open) end();
  expect(await Promise.all(answers)).toEqual(open.map(() => 7));
});

test("small ones are bounded in number", async () => {
  const bodies = new Bodies();
  const read = Promise.withResolvers<number>();
  const ask = (network: string) =>
    bodies.with(new Request("http://localhost/", { method: "POST", body: "7" }), network, () => read.promise);
  const open = Array.from({ length: MAX_NETWORK_BYTES / LEAST_BYTES }, () => ask("greedy"));
  await expect(ask("greedy")).rejects.toMatchObject({ status: 429 });
  const other = ask("other");
  read.resolve(7);
  expect(new Set(await Promise.all([...open, other]))).toEqual(new Set([7]));
  expect(await ask("greedy")).toBe(7);
});
