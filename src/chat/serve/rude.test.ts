import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { STORIES, expectedStories } from "../../../fixtures/stories/storyteller.ts";
import { LanguageModel } from "../language-model.ts";
import { serveStories, type TestServer, until } from "./testing/server.ts";

setDefaultTimeout(60_000);

let model: LanguageModel;
let texts: Awaited<ReturnType<typeof expectedStories>>;
beforeAll(async () => {
  const location = { folder: STORIES, weights: undefined };
  model = await LanguageModel.load({ location, device: { choice: "cpu", threads: 2 } });
  texts = await expectedStories();
});
afterAll(async () => await model[Symbol.asyncDispose]());

const PATHS = ["/v1/completions", "/v1/chat/completions"] as const;
type Path = (typeof PATHS)[number];

const head = (path: Path, length: number | string, more = ""): string =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${length}\r\n${more}\r\n`;

function bodyOf(path: Path, at: number, extra: object): string {
  const prompt = `Once ${at}`;
  const asked = path === "/v1/completions" ? { prompt } : { messages: [{ role: "user", content: prompt }] };
  return JSON.stringify({ model: "storyteller", user: `rude ${at}`, ...asked, ...extra });
}

function whole(path: Path, at: number, extra: object): string {
  const body = bodyOf(path, at, extra);
  return head(path, body.length) + body;
}

/** What a client sends, and when it goes: at once, when something has come, or when all is over. */
type Manner = (
  path: Path,
  at: number,
) => { readonly text: string; readonly goes: "at once" | "in mid-answer" | "at last" };

const MANNERS: readonly Manner[] = [
  // A stream that is left in its midst, or that nobody reads.
  (path, at) => ({ text: whole(path, at, { stream: true, max_tokens: 300 }), goes: "in mid-answer" }),
  (path, at) => ({ text: whole(path, at, { stream: true, max_tokens: 60, n: 2 }), goes: "at last" }),
  // An answer that nobody waits for.
  (path, at) => ({ text: whole(path, at, { max_tokens: 300 }), goes: "at once" }),
  // Half a body, and silence.
  (path, at) => ({ text: head(path, 500) + bodyOf(path, at, {}).slice(0, 30), goes: "at last" }),
  (path, at) => ({ text: head(path, 500) + bodyOf(path, at, {}).slice(0, 30), goes: "at once" }),
  // Headers that are too many, and that come to no end.
  (path) => ({ text: head(path, 2, `X-Long: ${"a".repeat(200_000)}\r\n`), goes: "at last" }),
  (path) => ({ text: head(path, 2, "X-More: b\r\n".repeat(5000)).slice(0, -4), goes: "at last" }),
  // No HTTP, lengths that are none, chunks that are none, a body that is no JSON.
  (_, at) => ({
    text: String.fromCharCode(...Array.from({ length: 400 }, (_, byte) => (byte * 7 + at) % 256)),
    goes: "at last",
  }),
  (path) => ({ text: `${head(path, "-5")}{}`, goes: "at last" }),
  (path) => ({
    text: head(path, 2).replace("Content-Length: 2", "Transfer-Encoding: chunked") + "zz\r\n{}\r\n",
    goes: "at last",
  }),
  (path, at) => ({ text: head(path, 300) + "}{\0".repeat(100) + whole(path, at, { max_tokens: 1 }), goes: "at last" }),
];

/** One rude client. @returns its connection, and when it has gone (or will not go by itself) */
function rude(serving: TestServer, at: number): { readonly socket: Socket; readonly gone: Promise<void> } {
  const { port } = new URL(serving.address);
  const path = PATHS[at % 2] ?? PATHS[0];
  const manner = MANNERS[at % MANNERS.length];
  if (manner === undefined) throw new RangeError("no manner");
  const { text, goes } = manner(path, at);
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  const socket = connect(Number(port), "127.0.0.1", () => {
    socket.write(Buffer.from(text, "latin1"), () => {
      if (goes === "at once") socket.destroy();
      if (goes !== "in mid-answer") resolve();
    });
  });
  socket.on("error", resolve).on("close", () => resolve());
  if (goes === "in mid-answer") {
    let pieces = 0;
    socket.on("data", () => {
      if (++pieces > 2 + (at % 5)) socket.destroy();
    });
  } else socket.pause();
  return { socket, gone };
}

test("64 rude clients at once: the polite ones get their texts, and nothing is left behind", async () => {
  const before = model.gpu.memory.liveBytes;
  {
    await using serving = serveStories(model, { parallel: 4 });
    const { client } = serving;
    for (let round = 0; round < 2; round++) {
      const others = Array.from({ length: 64 }, (_, at) => rude(serving, at));
      const polite = texts.slice(0, 6).map(async ({ text: prompt, greedy_text: wanted }, at) => {
        const body = { model: "storyteller", prompt, max_tokens: 12, temperature: 0, user: `polite ${at}` };
        if (at % 2 === 0) {
          const { choices } = await client.completions.create(body);
          expect(wanted).toStartWith(choices[0]?.text ?? "-");
          return choices[0]?.text.length ?? 0;
        }
        let text = "";
        for await (const { choices } of await client.completions.create({ ...body, stream: true })) {
          text += choices[0]?.text ?? "";
        }
        expect(wanted).toStartWith(text);
        return text.length;
      });
      expect(Math.min(...(await Promise.all(polite)))).toBeGreaterThan(10);
      await Promise.all(others.map(({ gone }) => gone));
      for (const { socket } of others) socket.destroy();
      await until(() => serving.engine.load === 0);
    }
    expect(await (await fetch(`${serving.address}/health`)).json()).toEqual({ status: "ok" });
    expect(serving.failures).toEqual([]);
  }
  expect(model.gpu.memory.liveBytes).toBe(before);
});
