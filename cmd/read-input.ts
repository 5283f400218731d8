/** What `--file` names: a UTF-8 file as it stands, or stdin for `-`. @throws RandloraError `file`, `data` */
export async function readInput(file: string): Promise<string> {
  if (file === "-") {
    const { decodeUtf8 } = await import("../src/files/utf8.ts");
    return decodeUtf8(await Bun.stdin.bytes(), "stdin");
  }
  const { readText } = await import("../src/text/tokenizer/files.ts");
  return await readText(file);
}
