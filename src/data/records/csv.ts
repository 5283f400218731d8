import { RandloraError } from "../../files/errors.ts";

/**
 * Reads a table of values separated by `separator` (RFC 4180): its first line names the columns.
 *
 * @param name of the file, fit to be printed
 * @returns an object a line, with the line's number
 * @throws {RandloraError} `data` naming the line whose number of values is wrong, or whose quotes do not close
 */
export function parseCsv(
  text: string,
  name: string,
  separator = ",",
): { readonly line: number; readonly fields: Readonly<Record<string, string>> }[] {
  const rows: { line: number; values: string[] }[] = [];
  let values: string[] = [];
  let value = "";
  let quoted = false;
  let line = 1;
  let begun = 1;
  const endRow = () => {
    values.push(value);
    if (values.length > 1 || value !== "") rows.push({ line: begun, values });
    values = [];
    value = "";
    begun = line;
  };
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
      value = "";
    } else if (character === "\n") endRow();
    else if (character !== "\r" || text[at + 1] !== "\n") value += character;
  }
  if (quoted) throw new RandloraError("data", `${name}: line ${begun}: a quote that does not close`);
  if (value !== "" || values.length > 0) endRow();
  const [header, ...records] = rows;
  const columns = (header?.values ?? []).map((column) => column.trim());
  return records.map((row) => {
    if (row.values.length !== columns.length) {
      const found = `${row.values.length} values for ${columns.length} columns`;
      throw new RandloraError("data", `${name}: line ${row.line}: ${found}`);
    }
    return { line: row.line, fields: Object.fromEntries(columns.map((column, i) => [column, row.values[i] ?? ""])) };
  });
}
