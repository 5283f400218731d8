import { type Browser, chromium } from "playwright-core";

/** Debian's name, and those of other systems. */
const NAMES = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/** A browser without a window. */
export async function openBrowser(): Promise<Browser> {
  const executablePath = NAMES.map((name) => Bun.which(name)).find((path) => path !== null);
  if (executablePath === undefined) throw new Error("no Chromium on the PATH: node scripts/setup.mjs --browser");
  // As root, in a container, Chromium's own sandbox does not start; the only page is ours.
  return await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}
