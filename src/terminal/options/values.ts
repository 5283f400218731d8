// Values as they are typed.

/** What `read` throws; the layer that knows where the text came from turns it into a usage error. */
export class InvalidValue extends Error {
  /** What was probably meant; empty when that cannot be told. */
  readonly hint: string;

  constructor(message: string, hint = "") {
    super(message);
    this.hint = hint;
  }
}

/** What a number must lie in. */
export interface Range {
  readonly min?: number;
  readonly max?: number;
  /** The value must lie strictly above this. */
  readonly above?: number;
}

export const COUNT_UNITS = new Map([
  ["", 1],
  ["K", 1e3],
  ["M", 1e6],
  ["B", 1e9],
  ["G", 1e9],
]);

export const BYTE_UNITS = new Map([
  ["", 1],
  ["B", 1],
  ["K", 1e3],
  ["KB", 1e3],
  ["M", 1e6],
  ["MB", 1e6],
  ["G", 1e9],
  ["GB", 1e9],
  ["T", 1e12],
  ["TB", 1e12],
  ["KIB", 2 ** 10],
  ["MIB", 2 ** 20],
  ["GIB", 2 ** 30],
  ["TIB", 2 ** 40],
]);

export function readBoolean(value: string): boolean {
  if (/^(true|yes|on|1)$/i.test(value)) return true;
  if (/^(false|no|off|0)$/i.test(value)) return false;
  throw new InvalidValue("is neither true nor false");
}

export function readNumber(value: string): number {
  const parsed = Number(value);
  // Number("") is 0 and Number("0x1f") is 31: neither is what somebody meant by a number here.
  if (!/^[-+.\d]/.test(value) || /[xob]/i.test(value) || !Number.isFinite(parsed)) {
    throw new InvalidValue("is not a number");
  }
  return parsed;
}

export function readInteger(value: string): number {
  const parsed = readNumber(value);
  if (!Number.isSafeInteger(parsed)) throw new InvalidValue("is not a whole number");
  return parsed;
}

/** A count as {@link COUNT_UNITS} have it: 1,500,000 is `1500K`. */
export function typedCount(count: number): string {
  const largestFirst = [...COUNT_UNITS].toSorted(([, a], [, b]) => b - a);
  const [unit, size] = largestFirst.find(([, size]) => count % size === 0) ?? ["", 1];
  return `${count / size}${unit}`;
}

export function readScaled(value: string, units: ReadonlyMap<string, number>, example: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(value.trim());
  const unit = units.get((match?.[2] ?? "").toUpperCase());
  if (match?.[1] === undefined || unit === undefined) throw new InvalidValue(`is not ${example}`);
  const parsed = Math.round(Number(match[1]) * unit);
  if (parsed < 1 || !Number.isSafeInteger(parsed)) throw new InvalidValue(`is not ${example}`);
  return parsed;
}

export function readJsonObject(value: string): Readonly<Record<string, unknown>> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    throw new InvalidValue("is not JSON");
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new InvalidValue("is not a JSON object");
  }
  return { ...parsed };
}

export function inRange(value: number, range: Range): number {
  if (range.min !== undefined && value < range.min) throw new InvalidValue(`must be at least ${range.min}`);
  if (range.max !== undefined && value > range.max) throw new InvalidValue(`must be at most ${range.max}`);
  if (range.above !== undefined && value <= range.above) throw new InvalidValue(`must be greater than ${range.above}`);
  return value;
}
