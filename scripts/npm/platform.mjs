// The package of this platform, which npm installed beside this one: the command has its binary from there, and the library its code.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { platform, arch } = process;
const { optionalDependencies, version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));
const name = `randlora-${platform}-${arch}`;

function refusal(message, hint) {
  return Object.assign(new Error(message), { hint });
}

/** Why there is no binary, or why it does not start, as far as the platform is the reason; an Error with a hint. */
export function platformRefusal() {
  if (optionalDependencies[name] === undefined) {
    const names = Object.keys(optionalDependencies).map((other) => other.slice("randlora-".length));
    return refusal(`randlora has no binary for ${platform}-${arch}`, `there are binaries for ${names.join(", ")}`);
  }
  if (platform !== "linux") return undefined;
  process.report.excludeNetwork = true;
  // Node says which glibc it runs on; Bun, in Node's place, does not.
  if (process.versions.bun !== undefined || process.report.getReport().header.glibcVersionRuntime) return undefined;
  return refusal(
    "randlora needs glibc, and this system has another C library (musl?)",
    "use a system with glibc, such as Debian",
  );
}

/** Where a file of the package is. @throws an Error with a hint */
export function platformFile(path) {
  try {
    return createRequire(import.meta.url).resolve(`${name}/${path}`);
  } catch {
    throw (
      platformRefusal() ??
      refusal(
        `the package ${name}, which has the binary, is not installed`,
        `install randlora@${version} again without --omit=optional, --no-optional or a lock file of another platform`,
      )
    );
  }
}
