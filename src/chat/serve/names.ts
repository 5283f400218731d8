import { statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { RandloraError } from "../../files/errors.ts";
import { isGgufName } from "../../files/gguf/format.ts";
import { folderName } from "../../files/run-names.ts";
import { hubNameOf, type Recorded } from "../../models/folder/run.ts";

/** `--adapter NAME=A`. */
export interface NamedAdapter {
  /** What clients call it. */
  readonly name: string;
  /** A path, or a name on the Hub. */
  readonly source: string;
}

/** The name under which clients know a model, or an adapter without a name of its own: its folder's (RUN-best for RUN/best), a GGUF file's, or its Hub name. */
export function nameOf(place: string | Recorded): string {
  const hub = hubNameOf(place);
  if (hub !== undefined) return hub.repo;
  const path = resolve(typeof place === "string" ? place : place.name);
  const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  if (isFile && isGgufName(path)) return basename(path).replace(/\.gguf$/i, "") || "model";
  return folderName(isFile ? dirname(path) : path) || "model";
}

/**
 * Reads `NAME=A`, or A alone, which is then called as its folder is.
 * @param taken names of other models
 * @throws RandloraError `usage` for a name that is empty or taken
 */
export function readNamedAdapters(texts: readonly string[], taken: readonly string[]): readonly NamedAdapter[] {
  const names = new Set(taken);
  return texts.map((text) => {
    const at = text.indexOf("=");
    const source = text.slice(at + 1);
    const name = at < 0 ? nameOf(source) : text.slice(0, at).trim();
    const refuse = (reason: string): RandloraError =>
      new RandloraError(
        "usage",
        `--adapter ${text}: ${reason}`,
        "write --adapter NAME=A, with a name of its own for each",
      );
    if (name === "" || source === "") throw refuse("it must be NAME=A");
    if (names.has(name)) throw refuse(`another model is called ${name} already`);
    names.add(name);
    return { name, source };
  });
}
