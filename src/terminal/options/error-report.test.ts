import { expect, test } from "bun:test";
import { Screen } from "../screen.ts";
import { createStyle } from "../style.ts";
import { ErrorReport } from "./error-report.ts";

/** What an error says on stderr, and its exit status. */
function explained(error: unknown, verbose = false): { status: number; text: string } {
  let text = "";
  const stream = {
    write: (part: string) => {
      text += part;
      return true;
    },
  };
  const report = new ErrorReport(new Screen(stream), createStyle(stream, {}));
  report.verbose = verbose;
  return { status: report.explain(error), text };
}

/** The engine's own error. */
function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

test("an array that no memory holds is told as such, and not as a bug", () => {
  const error = thrownBy(() => new Float32Array(2 ** 45));
  const { status, text } = explained(error);
  expect(status).toBe(1);
  expect(text).toStartWith("error: not enough memory\nhint: ");
  expect(text).not.toContain("internal");
  expect(explained(error, true).text).toContain("error-report.test.ts");
});

test("other range errors are bugs", () => {
  const error = thrownBy(() => "x".repeat(-1));
  expect(explained(error).text).toStartWith("error: internal: ");
});
