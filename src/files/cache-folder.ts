import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Where this program keeps what it can make again: `$RANDLORA_CACHE`, else `randlora` in `$XDG_CACHE_HOME`, else in
 * `~/.cache` (XDG base directories). Models by name are elsewhere: in the Hub's cache.
 */
export function cacheFolder(environment: Environment = process.env): string {
  const own = environment["RANDLORA_CACHE"];
  if (own !== undefined && own !== "") return own;
  const xdg = environment["XDG_CACHE_HOME"];
  return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), ".cache"), "randlora");
}
