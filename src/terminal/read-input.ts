let stdin: Promise<Uint8Array> | undefined;

/** All of stdin, read once: a command may begin anew without an option that gave way (see `Contradiction`). */
export function stdinBytes(): Promise<Uint8Array> {
  return (stdin ??= Bun.stdin.bytes());
}

/** What `--file` names: a UTF-8 file as it stands, or stdin for `-`. @throws RandloraError `file`, `data` */
export async function readInput(file: string): Promise<string> {
  if (file === "-") {
    const { decodeUtf8 } = await import("../files/utf8.ts");
    return decodeUtf8(await stdinBytes(), "stdin");
  }
  const { readText } = await import("../files/read-text.ts");
  return await readText(file);
}
