import { afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { writeAdapter } from "../src/adapters/merge/testing/models.ts";
import { cleanEnvironment } from "../src/files/testing/process.ts";
import { Typist } from "../src/terminal/testing/typist.ts";
import { stat } from "node:fs/promises";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { commandLine } from "./testing/program.ts";

/** Lines of the user in brackets, and the answers as the model's own text. */
const TEMPLATE = "{{ bos_token }}{% for m in messages %}{{ m.content }} {% endfor %}";

const folder = await TemporaryFolder.forTests();
let typist: Typist;
beforeAll(async () => {
  await Bun.write(folder.at("t.jinja"), TEMPLATE);
  await Bun.write(folder.at("notes.txt"), "There was a cat.\n");
  const modules = { "model.layers.0.self_attn.q_proj": [64, 64], "model.layers.4.mlp.down_proj": [64, 172] } as const;
  await writeAdapter(folder.at("adapter"), { r: 4, alpha: 80, seed: 3, size: 0.05, modules });
});
afterEach(() => typist.end());

async function start(args: readonly string[] = []): Promise<Typist> {
  const defaults = ["--temperature", "0", "--max-tokens", "8", "--chat-template", "t.jinja"];
  typist = new Typist(commandLine("chat", STORIES, ...defaults, ...args), {
    columns: 100,
    rows: 30,
    cwd: folder.path,
    env: cleanEnvironment({ XDG_STATE_HOME: folder.at("state"), NO_COLOR: "1" }),
  });
  await ready(1);
  return typist;
}

/** Waits for the n-th time that the program asks for something: an empty line behind its prompt. */
async function ready(times: number): Promise<void> {
  asked = times;
  await typist.until(PROMPT, times);
}
const PROMPT = "\x1b[?25l\r\x1b[J> \r\x1b[2C\x1b[?25h";
let asked = 0;

/** Sends a line; what the program wrote until it asked again, without the echo of the line. */
async function send(line: string): Promise<string> {
  const from = typist.transcript.length;
  typist.type(`${line}\r`);
  await ready(asked + 1);
  const shown = Bun.stripANSI(typist.transcript.slice(from)).replaceAll("\r", "\n");
  const lines = shown.split("\n").filter((one) => one !== "" && !one.startsWith("> "));
  return lines.join("\n");
}

beforeEach(() => {
  asked = 0;
});

describe("a conversation on a terminal", () => {
  test("with every command", async () => {
    const one = await start();
    expect(one.transcript).toContain(`${STORIES} (llama,`);
    expect(one.transcript).toContain("/help shows the commands; Ctrl-C stops an answer, twice leaves");

    const answer = await send("Once upon a time");
    expect(answer).toContain("(cut off by max-tokens)");
    const text = answer.split("\n")[0] ?? "";
    expect(text.length).toBeGreaterThan(5);
    expect(await send("/retry")).toBe(answer);
    expect(await send("/undo")).toBe("taken back: Once upon a time");
    expect(await send("/undo")).toContain("error: nothing was said yet");
    expect(await send("/retry")).toContain("error: nothing was said yet");

    expect(await send("/help")).toContain("/adapter [on|off|PATH]  show the adapters, switch them on or off");
    expect(await send("/stats")).toBe("numbers after each answer: on");
    expect(await send("Once upon a time")).toMatch(
      /prompt \d+ tokens, \d+ known, [\d,]+ tokens\/s · answer 8 tokens, [\d,.]+ tokens\/s · /,
    );
    expect(await send("/stats off")).toBe("numbers after each answer: off");
    expect(await send("/params top-k 5")).toMatch(/top-k +5\n/);
    expect(await send("/params top-p 7")).toContain("error: sampling: topP is 7");
    expect(await send("/params tempratur 1")).toContain("hint: temperature?");
    expect(await send("/params max-tokens 3")).toMatch(/max-tokens +3$/);

    expect(await send("/system")).toBe("no system message");
    expect(await send("/system Be kind.")).toBe("system: Be kind.");
    expect(await send("/save chat.json")).toBe("3 messages written to chat.json");
    expect(await Bun.file(folder.at("chat.json")).json()).toEqual({
      messages: [
        { role: "system", content: "Be kind." },
        { role: "user", content: "Once upon a time" },
        { role: "assistant", content: text },
      ],
    });
    expect(await send("/system off")).toBe("no system message");
    expect(await send("/reset")).toBe("a new conversation");
    expect(await send("/load chat.json")).toBe("3 messages read");
    expect(await send("/load nothing.json")).toContain("nothing.json");
    expect(await send("/read notes.txt")).toMatch(/^notes.txt: \d+ tokens; they go before your next message$/);
    await send("//not a command");
    await send("/save chat.json");
    expect(await Bun.file(folder.at("chat.json")).text()).toContain('"There was a cat.\\n\\n/not a command"');
    expect(await send("/sav")).toContain("there is no /sav; did you mean /save?");
    expect(await send("/save")).toContain("hint: /save FILE");

    one.type("/exit\r");
    expect(await one.exited).toBe(0);
    expect(one.isRaw).toBe(false);
    expect((await stat(folder.at("state/randlora/history"))).mode & 0o777).toBe(0o600);
  });

  test("with adapters that are switched", async () => {
    await start();
    expect(await send("/adapter")).toBe("no adapter");
    expect(await send("/adapter on")).toContain("error: no adapter was loaded");
    const base = await send("Once upon a time");
    await send("/undo");
    expect(await send("/adapter adapter")).toBe("adapter: adapter");
    const adapted = await send("Once upon a time");
    expect(adapted).not.toBe(base);
    expect(await send("/adapter off")).toBe("adapter: off");
    expect(await send("/retry")).toBe(base);
    expect(await send("/adapter on")).toBe("adapter: adapter");
    expect(await send("/retry")).toBe(adapted);
    expect(await send("/scale 0")).toBe("adapter: adapter (scale 0)");
    expect(await send("/retry")).toBe(base);
    expect(await send("/scale x")).toContain("error: x is no number");
    expect(await send("/adapter nothing")).toContain("error: ");
    expect(await send("/adapter")).toBe("adapter: adapter (scale 0)");
  });

  test("Ctrl-C stops an answer, twice leaves", async () => {
    const one = await start(["--max-tokens", "1000000", "--shift"]);
    one.type("Once upon a time\r");
    await one.until("said Mia");
    one.type("\x03");
    await one.until("(stopped)");
    await ready(2);
    // The chat goes on, and a Ctrl-C in between clears what was written.
    one.type("half a line\x03");
    await one.until("again leaves");
    await ready(3);
    await send("/params max-tokens 2");
    await send("Tom");
    one.type("\x03");
    await one.until("again leaves", 2);
    one.type("\x03");
    expect(await one.exited).toBe(130);
    expect(one.isRaw).toBe(false);
  });

  test("pastes of several lines are one message", async () => {
    const one = await start(["--max-tokens", "1"]);
    one.paste("Once upon\na time\nthere was");
    await send("");
    await send("/save pasted.json");
    const { messages } = await Bun.file(folder.at("pasted.json")).json();
    expect(messages[0]).toEqual({ role: "user", content: "Once upon\na time\nthere was" });
    one.type("\x04");
    expect(await one.exited).toBe(0);
  });

  test("a conversation that no longer fits says so and goes on", async () => {
    await start(["--context", "24", "--max-tokens", "4"]);
    await send("Once upon a time");
    expect(await send("there was a little girl who had a big red ball and a small blue cat")).toMatch(
      /error: the conversation has \d+ tokens, and the context ends at 24\nhint: \/reset begins anew/,
    );
    expect(await send("/reset")).toBe("a new conversation");
    expect(await send("Tom")).toContain("(cut off by max-tokens)");
  });

  test("is refused on a dumb one, which shows no editor", async () => {
    const command = ["env", "TERM=dumb", ...commandLine("chat", STORIES)];
    typist = new Typist(command, { columns: 100, rows: 30, cwd: folder.path, env: cleanEnvironment() });
    expect(await typist.exited).toBe(2);
    expect(typist.transcript).toContain("a conversation needs a terminal that moves its cursor (TERM is dumb)");
    expect(typist.transcript).not.toContain("\x1b");
  });

  test("a signal ends it, and the terminal is given back", async () => {
    const one = await start();
    one.signal("SIGTERM");
    expect(await one.exited).toBe(143);
    expect(one.isRaw).toBe(false);
  });
});
