/** Text at a place; `anchor` says which part of it stands there. */
export function label(x: number, y: number, anchor: "start" | "middle" | "end", text: string, more = ""): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}"${more === "" ? "" : ` ${more}`}>${escape(text)}</text>`;
}

/** A coordinate with one decimal: a tenth of a pixel. */
export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Text in XML: markup characters become entities; control characters have no place in XML 1.0. */
export function escape(text: string): string {
  const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return (
    text
      .toWellFormed()
      // oxlint-disable-next-line no-control-regex -- control characters are what this removes
      .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "")
      .replaceAll(/[&<>"]/g, (character) => entities[character] ?? "")
  );
}
