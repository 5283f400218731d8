import { expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { toApiError } from "./answer.ts";
import { until } from "./testing/server.ts";
import { UnreadAnswers } from "./unread-answers.ts";

const LONG = { text: "word ".repeat(2 ** 21) };

test("answers that nobody reads are refused beyond a limit, of their network alone, until they are taken or left", async () => {
  const answers = new UnreadAnswers();
  using server = Bun.serve({
    port: 0,
    fetch: async (request) => {
      const network = new URL(request.url).pathname;
      const long = Response.json(LONG, { status: 201 });
      return await answers.counted(long, network).catch((error: unknown) => toApiError(error, () => {}).response());
    },
  });
  const ask = async (network: string) => {
    const answer = await fetch(`${server.url.origin}/${network}`);
    return { status: answer.status, text: await answer.text() };
  };
  const deaf = (): Promise<Socket> =>
    new Promise((resolve) => {
      const socket = connect(server.port ?? 0, "127.0.0.1");
      socket.write("GET /one HTTP/1.1\r\nHost: localhost\r\n\r\n");
      // The head of the answer, and nothing more.
      socket.once("readable", () => resolve(socket));
    });
  const sockets = [await deaf(), await deaf(), await deaf()];
  expect((await ask("one")).status).toBe(429);
  expect(await ask("other")).toEqual({ status: 201, text: JSON.stringify(LONG) });
  for (const socket of sockets) socket.destroy();
  await until(async () => (await ask("one")).status === 201);
  for (let at = 0; at < 5; at++) expect((await ask("one")).status).toBe(201);
  const short = Response.json({ ok: true });
  expect(await (await answers.counted(short, "one")).json()).toEqual({ ok: true });
});
