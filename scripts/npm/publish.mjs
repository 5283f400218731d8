// Publishes packed packages, the launcher last, since it names the others; what the registry has already is left out, so that a
// release that broke off can be run again.
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { resolve } from "node:path";

const [folder = "dist/npm"] = process.argv.slice(2);
const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
const suffix = `-${version}.tgz`;
const names = readdirSync(folder)
  .filter((file) => file.endsWith(suffix))
  .map((file) => file.slice(0, -suffix.length));
// An absolute path: npm takes a/b.tgz for a repository on GitHub.
for (const name of names.toSorted((a, b) => (a === "randlora") - (b === "randlora"))) {
  const published = spawnSync("npm", ["view", `${name}@${version}`, "version"], { encoding: "utf8" });
  if (published.stdout.trim() === version) continue;
  execFileSync("npm", ["publish", resolve(folder, name + suffix), "--access", "public", "--provenance"], {
    stdio: "inherit",
  });
}
