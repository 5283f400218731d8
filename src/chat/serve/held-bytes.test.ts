import { expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { toApiError } from "./answer.ts";
import { until } from "./testing/server.ts";
import { UnreadAnswers } from "./body.ts";

const LONG = { text: "word ".repeat(2 ** 21) };
/** More than all that a network may have. */
const HUGE = { text: "word ".repeat(2 ** 23) };

test("answers that nobody reads are refused beyond a limit, of their network alone, until they are taken or left", async () => {
  const answers = new UnreadAnswers();
  using server = Bun.serve({
    port: 0,
    fetch: async (request) => {
      const network = new URL(request.url).pathname;
      const long = Response.json(network === "/huge" ? HUGE : LONG, { status: 201 });
      return await answers.counted(long, network).catch((error: unknown) => toApiError(error, () => {}).response());
    },
  });
  const ask = async (network: string) => {
    const answer = await fetch(`${server.url.origin}/${network}`);
    return { status: answer.status, text: await answer.text() };
  };
  const deaf = (network: string): Promise<Socket> =>
    new Promise((resolve) => {
      const socket = connect(server.port ?? 0, "127.0.0.1");
      socket.write(`GET /${network} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
      // The head of the answer, and nothing more.
      socket.once("readable", () => resolve(socket));
    });
  const sockets = [await deaf("one"), await deaf("one"), await deaf("one")];
  expect((await ask("one")).status).toBe(429);
  expect(await ask("other")).toEqual({ status: 201, text: JSON.stringify(LONG) });
  for (const socket of sockets) socket.destroy();
  await until(async () => (await ask("one")).status === 201);
  for (let at = 0; at < 5; at++) expect((await ask("one")).status).toBe(201);
  expect(await ask("huge")).toEqual({ status: 201, text: JSON.stringify(HUGE) });
  const unread = await deaf("huge");
  expect((await ask("huge")).status).toBe(429);
  unread.destroy();
  await until(async () => (await ask("huge")).status === 201);
  const short = Response.json({ ok: true });
  expect(await (await answers.counted(short, "one")).json()).toEqual({ ok: true });
});
