const encoder = new TextEncoder();

/** How a byte is written as a token where the vocabulary falls back to bytes. */
function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/** Reads `<0xAB>`; undefined for any other token. */
export function readByteToken(token: string): number | undefined {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return match?.[1] === undefined ? undefined : Number.parseInt(match[1], 16);
}

/** The tokens of a text's UTF-8 bytes; undefined unless the vocabulary has all of them. */
export function byteIds(text: string, ids: ReadonlyMap<string, number>): number[] | undefined {
  const found: number[] = [];
  for (const byte of encoder.encode(text)) {
    const id = ids.get(byteToken(byte));
    if (id === undefined) return undefined;
    found.push(id);
  }
  return found;
}
