import { RandloraError } from "../errors.ts";
import { oneLine, quote } from "../failure.ts";
import type { GgufMetadata, GgufValue } from "./format.ts";

/** Typed access to a file's metadata. What is there in another type than it should is refused, naming file and key. */
export class GgufFields {
  readonly path: string;
  readonly #metadata: GgufMetadata;

  /** @param path is only named in errors */
  constructor(metadata: GgufMetadata, path: string) {
    this.#metadata = metadata;
    this.path = path;
  }

  /** @throws RandloraError `model`, where the file asks for what is not supported */
  refuse(cause: string, hint: string): never {
    throw new RandloraError("model", `${oneLine(this.path)}: ${cause}`, hint);
  }

  string(key: string): string | undefined {
    return this.#read(key, "a text", (value) => (value.kind === "string" ? value.value : undefined));
  }

  /** A finite one: JSON has no other, and a default would stand in for it. */
  number(key: string): number | undefined {
    return this.#read(key, "a number", ({ value }) =>
      typeof value === "number" && Number.isFinite(value) ? value : undefined,
    );
  }

  /** The same, or a list that has one for each layer: where these differ it is no number. */
  numberOfLayers(key: string): number | undefined {
    return this.#read(key, "a number, or the same one for each layer", (value) => {
      if (value.kind !== "array") return this.number(key);
      if (value.of === "string" || value.of === "bool") return undefined;
      const first = value.value[0];
      for (let at = 1; at < value.value.length; at++) if (value.value[at] !== first) return undefined;
      return Number.isFinite(first) ? first : undefined;
    });
  }

  /** A number, or a list of them. */
  numberOrList(key: string): number | ArrayLike<number> | undefined {
    return this.#read(key, "a number, or one for each layer", (value) =>
      value.kind === "array" ? this.numbers(key) : this.number(key),
    );
  }

  isList(key: string): boolean {
    return this.#metadata.get(key)?.kind === "array";
  }

  boolean(key: string): boolean | undefined {
    return this.#read(key, "true or false", (value) => (value.kind === "bool" ? value.value : undefined));
  }

  strings(key: string): readonly string[] | undefined {
    return this.#read(key, "a list of texts", (value) =>
      value.kind === "array" && value.of === "string" ? value.value : undefined,
    );
  }

  numbers(key: string): ArrayLike<number> | undefined {
    return this.#read(key, "a list of numbers", (value) =>
      value.kind === "array" && value.of !== "string" && value.of !== "bool" ? value.value : undefined,
    );
  }

  booleans(key: string): readonly boolean[] | undefined {
    return this.#read(key, "a list of true and false", (value) =>
      value.kind === "array" && value.of === "bool" ? value.value : undefined,
    );
  }

  /** A value that the file must have. */
  need<T>(value: T | undefined, key: string): T {
    if (value !== undefined) return value;
    throw this.broken(`metadata entry ${quote(key)} is missing`);
  }

  #read<T>(key: string, what: string, read: (value: GgufValue) => T | undefined): T | undefined {
    const value = this.#metadata.get(key);
    if (value === undefined) return undefined;
    const found = read(value);
    if (found === undefined) throw this.broken(`metadata entry ${quote(key)} is not ${what}`);
    return found;
  }

  /** What is said of a file that says what cannot be. */
  broken(cause: string): RandloraError {
    return new RandloraError(
      "format",
      `${oneLine(this.path)}: ${cause}`,
      "download the file again, or convert it anew",
    );
  }
}
