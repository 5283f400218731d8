/*
 * A program for the tests: asks for texts until there are no more and prints each answer as JSON. With `--busy` it works
 * after each: until it is interrupted after the first, for a moment after others. The text "fail" makes it fail.
 */
import { History } from "../editor/history.ts";
import { LineEditor } from "../editor/line-editor.ts";
import { RawTerminal } from "../editor/raw-terminal.ts";

const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());

using terminal = RawTerminal.open();
const editor = new LineEditor(terminal, History.load());
for (let asked = 0; ; asked++) {
  const answer = await editor.read({ first: "> ", next: ". " }, stop.signal, (before) => {
    return { from: 0, candidates: ["tab one", "tab two"].filter((text) => text.startsWith(before)) };
  });
  terminal.write(`answer ${JSON.stringify(answer)}\r\n`);
  if (answer.kind === "end") break;
  if (answer.kind === "text" && answer.text === "fail") throw new Error("as asked");
  if (process.argv.includes("--busy")) await work(asked === 0 ? 60_000 : 200);
}

async function work(milliseconds: number): Promise<void> {
  const done = Promise.withResolvers<void>();
  const timer = setTimeout(done.resolve, milliseconds);
  using _ = terminal.onInterrupt(() => {
    terminal.write("interrupted\r\n");
    done.resolve();
  });
  terminal.write("working\r\n");
  await done.promise;
  clearTimeout(timer);
}
