/*
 * Plays what tests of kernels use of `bun:test`, in another runtime: tests run one after another, and are told as bun test
 * tells them.
 */
import { format, inspect, isDeepStrictEqual } from "node:util";

type Body = (...values: unknown[]) => unknown;

const before: Body[] = [];
const after: Body[] = [];
const tests: { readonly name: string; readonly body: Body }[] = [];
/** The blocks around. */
const blocks: string[] = [];
let passed = 0;
let failed = 0;

export const beforeAll = (body: Body): void => void before.push(body);
export const afterAll = (body: Body): void => void after.push(body);

export const test = Object.assign(
  (name: string, body: Body): void => void tests.push({ name: [...blocks, name].join(" > "), body }),
  { each: (rows: readonly unknown[]) => (name: string, body: Body) => forEach(rows, name, body, test) },
);

export const describe = Object.assign(
  (name: string, body: Body): void => {
    blocks.push(name);
    body();
    blocks.pop();
  },
  { each: (rows: readonly unknown[]) => (name: string, body: Body) => forEach(rows, name, body, describe) },
);

function forEach(rows: readonly unknown[], name: string, body: Body, one: (name: string, body: Body) => void): void {
  for (const row of rows) {
    const values: unknown[] = Array.isArray(row) ? row : [row];
    let at = 0;
    const members = new Map(Object.entries(Object(row)));
    const shown = name
      .replace(/%[a-z]/g, (code) => format(code, values[at++]))
      .replace(/\$(\w+)/g, (_, member: string) => String(members.get(member)));
    one(shown, () => body(...values));
  }
}

/** What a value is held to. */
const MATCHERS: Readonly<Record<string, (found: unknown, wanted: unknown, more?: unknown) => boolean>> = {
  toBe: (found, wanted) => Object.is(found, wanted),
  toBeUndefined: (found) => found === undefined,
  toEqual: (found, wanted) => isDeepStrictEqual(found, wanted),
  toBeLessThan: (found, wanted) => Number(found) < Number(wanted),
  toBeLessThanOrEqual: (found, wanted) => Number(found) <= Number(wanted),
  toBeGreaterThan: (found, wanted) => Number(found) > Number(wanted),
  toBeCloseTo: (found, wanted, digits = 2) => Math.abs(Number(found) - Number(wanted)) < 10 ** -Number(digits) / 2,
  toThrow: (body, wanted = "") => typeof body === "function" && throws(body, wanted),
};

/** @param wanted a part of what is said, or the kind of error */
function throws(body: Function, wanted: unknown): boolean {
  try {
    body();
    return false;
  } catch (thrown) {
    return typeof wanted === "function" ? thrown instanceof wanted : String(thrown).includes(String(wanted));
  }
}

/** The matchers, of a value. A matcher that is not here is no function, so that its test fails. */
export function expect(found: unknown, what = "", isNot = false): Record<string, unknown> {
  const checks = Object.entries(MATCHERS).map(([name, holds]) => {
    const check = (wanted?: unknown, more?: unknown) => {
      if (holds(found, wanted, more) !== isNot) return;
      throw new Error(`${what}: ${inspect(found)} ${isNot ? "not " : ""}${name} ${inspect(wanted)}`);
    };
    return [name, check] as const;
  });
  return { ...Object.fromEntries(checks), ...(isNot ? {} : { not: expect(found, what, true) }) };
}

/** Runs the tests that `load` registers. */
export async function runFile(path: string, load: Body): Promise<void> {
  for (const list of [before, after, tests]) list.length = 0;
  say(`\n${path}:`);
  try {
    await load();
    for (const body of before) await body();
    for (const { name, body } of tests) await runTest(name, body);
    for (const body of after) await body();
  } catch (thrown) {
    fail(path, thrown);
  }
}

async function runTest(name: string, body: Body): Promise<void> {
  try {
    await body();
    passed += 1;
  } catch (thrown) {
    fail(name, thrown);
  }
}

function fail(name: string, thrown: unknown): void {
  failed += 1;
  say(`${thrown instanceof Error ? (thrown.stack ?? thrown.message) : inspect(thrown)}\n(fail) ${name}`);
}

/** Ends as bun test does. @returns the exit status */
export function summary(): number {
  say(`\n ${passed} pass\n ${failed} fail`);
  return failed === 0 ? 0 : 1;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
