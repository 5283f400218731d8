/** How a test may mount a file system of its own here: as root, else in a user namespace, else not at all. */
export function mounting(): readonly string[] | undefined {
  if (process.platform !== "linux") return undefined;
  for (const command of [
    ["unshare", "-m"],
    ["unshare", "-rm"],
  ]) {
    try {
      if (Bun.spawnSync([...command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).success) return command;
    } catch {
      // No unshare on this system.
    }
  }
  return undefined;
}
