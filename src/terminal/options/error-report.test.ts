import { expect, test } from "bun:test";
import { RandloraError } from "../../files/errors.ts";
import { fileError } from "../../files/failure.ts";
import { HubFailure } from "../../files/hub/failure.ts";
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

test("what may pass ends with another status than what stays wrong", () => {
  const full = fileError(Object.assign(new Error("no space"), { code: "ENOSPC" }), "out", "write");
  const passing = [full, new HubFailure("busy", "busy", ""), ...(["gpu", "memory", "numeric"] as const).map(failure)];
  expect(passing.map((error) => explained(error).status)).toEqual(passing.map(() => 1));
  const lasting = (["format", "adapter", "model", "data"] as const).map(failure);
  expect(lasting.map((error) => explained(error).status)).toEqual(lasting.map(() => 3));
  expect(explained(failure("usage")).status).toBe(2);
});

function failure(code: RandloraError["code"]): RandloraError {
  return new RandloraError(code, "it failed");
}
