import { openLibc } from "../../files/libc.ts";

const SIGHUP = 1;
const [SIG_DFL, SIG_IGN] = [0n, 1n];

/** Was this process told to live on when its terminal ends (`nohup`)? A listener for SIGHUP would undo that. */
export function ignoresHangup(): boolean {
  const libc = openLibc({ signal: { args: ["i32", "u64"], returns: "u64" } });
  if (libc === undefined) return false;
  const isIgnored = libc.signal(SIGHUP, SIG_IGN) === SIG_IGN;
  if (!isIgnored) libc.signal(SIGHUP, SIG_DFL);
  return isIgnored;
}
