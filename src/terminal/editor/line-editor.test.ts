import { afterEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { cleanEnvironment } from "../../files/testing/process.ts";
import { emptyState } from "./editor-state.ts";
import { rowsAbove, type View, viewOf } from "./line-editor.ts";
import { Layouter } from "./layout.ts";
import { Typist } from "../testing/typist.ts";
import { VirtualScreen } from "../testing/virtual-screen.ts";

const PROGRAM = join(import.meta.dir, "../testing/ask.ts");

setDefaultTimeout(30_000);

let typist: Typist | undefined;
afterEach(async () => {
  await typist?.end();
  typist = undefined;
});

async function start(
  columns = 40,
  rows = 10,
  args: readonly string[] = [],
  by: readonly string[] = [],
): Promise<Typist> {
  typist = new Typist([...by, process.execPath, PROGRAM, ...args], { columns, rows, env: cleanEnvironment() });
  await typist.until("> ");
  return typist;
}

/** What the program was told, one answer after another. */
async function answers(one: Typist): Promise<unknown[]> {
  await one.exited;
  return [...one.transcript.matchAll(/answer (.*)\r\n/g)].map(([, json = ""]) => JSON.parse(json));
}

describe("on a real terminal", () => {
  test("texts are asked for, edited in place, and the terminal is given back", async () => {
    const one = await start();
    expect(one.isRaw).toBe(true);
    one.type("hello wrold\x1b[D\x1b[D\x1b[D\x7fo\x1b[C\x7f");
    one.type("r\x01\x1b[C\x1b[Cl\x7f\r");
    await one.until('answer {"kind":"text"');
    one.type("\x1b[A!\r");
    await one.until('hello world!"');
    // Tab adds what all candidates have, and shows them below where that is nothing.
    one.type("ta\t\t");
    await one.until("tab one  tab two\r\n");
    one.type("o\t\r");
    await one.until('tab one"');
    one.type("\x04");
    expect(await answers(one)).toEqual([
      { kind: "text", text: "hello world" },
      { kind: "text", text: "hello world!" },
      { kind: "text", text: "tab one" },
      { kind: "end" },
    ]);
    expect(one.status).toBe(0);
    expect(one.isRaw).toBe(false);
    expect(one.transcript).toEndWith("\x1b[?2004l\x1b[?25h");
  });

  test("pastes of any size arrive whole, several lines as one text", async () => {
    const one = await start();
    const text = Array.from({ length: 3000 }, (_, line) => `line ${line} of the paste`).join("\n");
    one.paste(text);
    one.type(" end\r");
    await one.until("answer ");
    one.type("\x04");
    const [first] = await answers(one);
    expect(first).toEqual({ kind: "text", text: `${text} end` });
  });

  test("what is typed while nobody asks is not lost; Ctrl-C takes it back", async () => {
    const one = await start(40, 10, ["--busy"]);
    one.type("first\r");
    await one.until("working");
    one.type("taken\rback\x03");
    await one.until("interrupted");
    one.type("second\r");
    await one.until("working", 2);
    one.type("ahead\r\x04");
    const texts = ["first", "second", "ahead"].map((text) => ({ kind: "text", text }));
    expect(await answers(one)).toEqual([...texts, { kind: "end" }]);
  });

  test("the terminal is given back after a signal, and after an error", async () => {
    const killed = await start();
    killed.signal("SIGTERM");
    await killed.exited;
    expect(killed.isRaw).toBe(false);
    expect(killed.transcript).toContain("\x1b[?2004l");
    await killed.end();
    const failed = await start();
    failed.type("fail\r");
    await failed.exited;
    expect(failed.isRaw).toBe(false);
    expect(failed.transcript).toContain("\x1b[?2004l");
  });

  test("Ctrl-Z gives the terminal back until the program goes on", async () => {
    const one = await start();
    one.type("before\x1a");
    await one.until("\x1b[?2004l");
    expect(one.isRaw).toBe(false);
    // It may not have stopped yet when it has said so.
    while (one.transcript.split("\x1b[?2004h").length <= 2) {
      one.signal("SIGCONT");
      await Bun.sleep(20);
    }
    one.type(" and after\r\x04");
    expect(await answers(one)).toEqual([{ kind: "text", text: "before and after" }, { kind: "end" }]);
  });

  test.if(Bun.which("setsid") !== null)(
    "Ctrl-Z where no shell could continue the program changes nothing",
    async () => {
      // What leads its session is not stopped: the system discards SIGTSTP.
      const one = await start(40, 10, ["--busy"], ["setsid", "--ctty", "--wait"]);
      one.type("before\x1a");
      await one.until("\x1b[?2004h", 2);
      await one.until("> before");
      expect(one.isRaw).toBe(true);
      one.type(" and after\r");
      await one.until("working");
      // While it works, too, and nothing of it is left for the next text.
      one.type("\x1a");
      await one.until("\x1b[?2004h", 3);
      one.type("\x03");
      await one.until("interrupted");
      one.type("\x04");
      expect(await answers(one)).toEqual([{ kind: "text", text: "before and after" }, { kind: "end" }]);
    },
  );

  test("a window that changes its size shows the text anew", async () => {
    const one = await start(40, 10);
    one.type("a text of more than twenty columns");
    await one.until("columns");
    one.resize(20, 10);
    // The former row takes two rows there: the cursor goes up by one before everything below is cleared.
    await one.until("\x1b[1A\r\x1b[J> a text of more tha\r\n. n twenty columns");
    one.type("\r\x04");
    expect(await answers(one)).toEqual([{ kind: "text", text: "a text of more than twenty columns" }, { kind: "end" }]);
  });
});

/** Draws views one after another as the editor does. */
function drawAll(views: readonly View[], screen: VirtualScreen): void {
  let last: View | undefined;
  for (const view of views) {
    const up = last === undefined ? 0 : rowsAbove(last, screen.columns);
    screen.write(`${up === 0 ? "\r" : `\x1b[${up}A\r`}\x1b[J${view.rows.join("\r\n")}`);
    const down = view.rows.length - 1 - view.cursor.row;
    screen.write(down === 0 ? "\r" : `\x1b[${down}A\r`);
    if (view.cursor.column > 0) screen.write(`\x1b[${view.cursor.column}C`);
    last = view;
  }
}

test("the screen shows the text and the cursor where the view says, whatever was there before", () => {
  const unit = fc.constantFrom("a", "b", " ", "é", "埋", "\n", "e\u0301", "longer words");
  const states = fc.array(fc.tuple(fc.string({ unit, maxLength: 30 }), fc.nat(30)), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(states, fc.integer({ min: 2, max: 24 }), fc.integer({ min: 2, max: 6 }), (texts, columns, rows) => {
      const layouter = new Layouter();
      const views: View[] = [];
      for (const [text, at] of texts) {
        const starts = [...new Intl.Segmenter().segment(text)].map(({ index }) => index);
        const state = { ...emptyState(0), text, cursor: starts[at] ?? text.length };
        const hidden = views.at(-1)?.hidden;
        views.push(viewOf(state, [], { first: "> ", next: ". " }, { columns, rows }, layouter, hidden));
      }
      const screen = new VirtualScreen(columns);
      screen.write("before\r\n");
      const first = screen.cursor.row;
      drawAll(views, screen);
      const last = views.at(-1);
      expect(screen.lines.slice(first).join("\n")).toBe((last?.rows ?? []).map((row) => row.trimEnd()).join("\n"));
      expect(screen.cursor).toEqual({ row: first + (last?.cursor.row ?? 0), column: last?.cursor.column ?? 0 });
      expect(last?.rows.length).toBeLessThanOrEqual(Math.max(1, rows - 1));
    }),
    { numRuns: 300 },
  );
});
