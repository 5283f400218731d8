/** Names that are devices on Windows, with whatever ending (Microsoft, "Naming Files, Paths, and Namespaces"). */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)/i;

/**
 * Is `path`, which somebody else wrote, that of a file within a folder, on every system: relative, with slashes, without
 * `..`, drives, streams (`a:b`) and devices? Only the text counts: in the Hub's cache every file is a symbolic link that
 * leads out of the folder.
 */
export function staysInFolder(path: string): boolean {
  if (/[\\:\p{Cc}]/u.test(path)) return false;
  // Windows takes blanks and dots away from the end of a name: of `.. ` it makes `..`.
  return path.split("/").every((part) => part !== "" && !/[. ]$/.test(part) && !DEVICE.test(part));
}
