import { expect, test } from "bun:test";
import { PassThrough } from "node:stream";
import { History } from "../../terminal/editor/history.ts";
import { RawTerminal } from "../../terminal/editor/raw-terminal.ts";
import { createStyle } from "../../terminal/style.ts";
import { RecordingStream } from "../../terminal/testing/terminal.ts";
import { loadStoriesModel } from "../serve/testing/server.ts";
import { Session } from "../session.ts";
import { GREEDY } from "../testing/decoder.ts";
import { Chat } from "./chat.ts";
import { COMMANDS } from "./commands.ts";

test("Ctrl-C ends what does not come to its end, and a quick second one does not leave the conversation", async () => {
  await using model = await loadStoriesModel();
  const more = { template: undefined, maxTokens: 2, stops: [], context: undefined, shift: false };
  using session = new Session(model, { ...more, sampling: GREEDY });
  const input = new PassThrough();
  const output = Object.assign(new RecordingStream(80), { on: () => {}, off: () => {} });
  using terminal = RawTerminal.open(input, output);
  const chat = new Chat({
    terminal,
    history: History.load(),
    style: createStyle(output, {}),
    session,
    model,
    adapters: [],
    generator: undefined,
    // A Hub that does not answer.
    findAdapter: () => new Promise(() => {}),
    signal: new AbortController().signal,
  });
  // A mount that does not.
  session.attach = () => new Promise(() => {});
  for (const [at, [name, value]] of [["adapter", "org/name"] as const, ["read", "notes.txt"] as const].entries()) {
    const done = COMMANDS.find((one) => one.name === name)?.run(chat, value);
    input.write("\x03");
    await done;
    expect([name, output.text.split("(stopped; nothing has changed)").length]).toEqual([name, at + 2]);
  }
  const ended = Promise.withResolvers<number>();
  const working = chat.interruptible(() => ended.promise);
  input.write("\x03\x03");
  await Bun.sleep(0);
  ended.resolve(1);
  expect([await working, chat.leaving, chat.interrupted]).toEqual([1, false, false]);
});
