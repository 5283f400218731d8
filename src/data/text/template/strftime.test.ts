import { expect, test } from "bun:test";
import { strftime } from "./strftime.ts";

// Python: datetime(2024, 3, 7, 0, 5, 9).strftime(…) and datetime(2026, 12, 31, 15, 45, 0).strftime(…), C locale.
test.each([
  ["%d %b %Y", "07 Mar 2024", "31 Dec 2026"],
  ["%A, %B %-d", "Thursday, March 7", "Thursday, December 31"],
  ["%a %e %y %F %T", "Thu  7 24 2024-03-07 00:05:09", "Thu 31 26 2026-12-31 15:45:00"],
  ["%H:%M:%S %I%p %-I", "00:05:09 12AM 12", "15:45:00 03PM 3"],
  ["%m/%j %%d", "03/067 %d", "12/365 %d"],
  ["%", "%", "%"],
])("%j", (format, early, late) => {
  expect(strftime(new Date(2024, 2, 7, 0, 5, 9), format)).toBe(early);
  expect(strftime(new Date(2026, 11, 31, 15, 45, 0), format)).toBe(late);
});

test("leaves alone what it does not know", () => {
  expect(strftime(new Date(2024, 0, 1), "%Q %-d")).toBe("%Q 1");
});

test("noon is 12PM", () => {
  expect(strftime(new Date(2024, 0, 1, 12), "%I%p")).toBe("12PM");
});
