import { RandloraError } from "../../files/errors.ts";
import { quote } from "../../files/failure.ts";

/** A line of a table by the names of its columns. */
interface CsvRecord {
  readonly line: number;
  readonly fields: Readonly<Record<string, string>>;
}

const MOST_COLUMNS = 10_000;

/**
 * Reads a table of values separated by `separator` (RFC 4180): its first line names the columns.
 *
 * @param name of the file, fit to be printed
 * @returns an object a line, with the line's number, one by one: kept as objects, short lines take 200 times their bytes
 * @throws {RandloraError} `data` naming the line that has too many values, or whose quotes do not close, and a
 *   column that is named twice
 */
export function* parseCsv(text: string, name: string, separator = ","): Generator<CsvRecord> {
  let columns: readonly string[] | undefined;
  for (const { line, values } of rowsOf(text, name, separator)) {
    if (columns === undefined) {
      columns = values.map((column) => column.trim());
      const [only = ""] = columns;
      if (columns.length === 1 && separator === "," && /[;\t]/.test(only)) {
        const cause = `${name}: line ${line}: no comma between the columns' names, but ${only.includes(";") ? "semicolons" : "tabs"}`;
        const hint = only.includes(";")
          ? "export it with commas, or write JSON lines"
          : "export it with commas; data of texts may be called .tsv";
        throw new RandloraError("data", cause, hint);
      }
      const twice = columns.find((column, i) => column !== "" && columns?.indexOf(column) !== i);
      if (twice === undefined) continue;
      throw new RandloraError("data", `${name}: line ${line}: two columns are called ${quote(twice)}`, "rename one");
    }
    // pandas fills up what is too short (its values are missing) and refuses what is too long.
    if (values.length > columns.length) {
      const found = `${values.length} values for ${columns.length} columns`;
      throw new RandloraError("data", `${name}: line ${line}: ${found}`);
    }
    yield { line, fields: Object.fromEntries(columns.map((column, i) => [column, values[i] ?? ""])) };
  }
}

function* rowsOf(text: string, name: string, separator: string): Generator<{ line: number; values: string[] }> {
  let values: string[] = [];
  let value = "";
  let quoted = false;
  let line = 1;
  let begun = 1;
  for (let at = 0; at < text.length; at++) {
    const character = text[at] as string;
    if (character === "\n") line++;
    if (quoted) {
      if (character !== '"') value += character;
      else if (text[at + 1] === '"') value += text[++at];
      else quoted = false;
    } else if (character === '"' && value.trim() === "") {
      quoted = true;
      value = "";
    } else if (character === separator) {
      values.push(value);
      if (values.length >= MOST_COLUMNS) {
        throw new RandloraError("data", `${name}: line ${begun}: more than ${MOST_COLUMNS} columns`);
      }
      value = "";
    } else if (character === "\n") {
      values.push(value);
      if (values.length > 1 || value.trim() !== "") yield { line: begun, values };
      values = [];
      value = "";
      begun = line;
    } else if (character !== "\r" || text[at + 1] !== "\n") value += character;
  }
  if (quoted) throw new RandloraError("data", `${name}: line ${begun}: a quote that does not close`);
  if (value !== "" || values.length > 0) yield { line: begun, values: [...values, value] };
}
