#!/usr/bin/env node
// The command of the npm package `randlora`: starts the binary that npm installed for this platform, or RANDLORA_BINARY.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const { platform, arch, env } = process;
const { optionalDependencies, version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));

function fail(message, hint) {
  process.stderr.write(`error: ${message}\nhint: ${hint}\n`);
  process.exit(1);
}

/** Why there is no binary, or why it does not start, as far as the platform is the reason. */
function explainPlatform(name) {
  if (optionalDependencies[name] === undefined) {
    const names = Object.keys(optionalDependencies).map((other) => other.slice("randlora-".length));
    fail(`randlora has no binary for ${platform}-${arch}`, `there are binaries for ${names.join(", ")}`);
  }
  if (platform !== "linux") return;
  process.report.excludeNetwork = true;
  // Node says which glibc it runs on; Bun, in Node's place, does not.
  if (process.versions.bun !== undefined || process.report.getReport().header.glibcVersionRuntime) return;
  fail(
    "randlora needs glibc, and this system has another C library (musl?)",
    "use a system with glibc, such as Debian",
  );
}

function findBinary() {
  if (env.RANDLORA_BINARY) return env.RANDLORA_BINARY;
  const name = `randlora-${platform}-${arch}`;
  try {
    return createRequire(import.meta.url).resolve(`${name}/bin/randlora${platform === "win32" ? ".exe" : ""}`);
  } catch {
    explainPlatform(name);
    fail(
      `the package ${name}, which has the binary, is not installed`,
      `install randlora@${version} again without --omit=optional, --no-optional or a lock file of another platform`,
    );
  }
}

const binary = findBinary();
// Listened to before there is a child, lest one ends the launcher alone. On Windows the console tells every program itself,
// and kill() would end the binary unasked.
const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];
const pass = (signal) => platform === "win32" || child.kill(signal);
for (const signal of signals) process.on(signal, pass);
const child = spawn(binary, process.argv.slice(2), {
  stdio: "inherit",
  // A terminal and npm signal the binary's parents as well, which pass it on: the binary takes such echoes for one signal.
  env: { ...env, RANDLORA_LAUNCHER: fileURLToPath(import.meta.url) },
});
child.on("error", ({ message }) => {
  if (!env.RANDLORA_BINARY) explainPlatform(`randlora-${platform}-${arch}`);
  fail(`${binary}: cannot be started (${message})`, "install randlora again, or let RANDLORA_BINARY name the binary");
});
child.on("exit", (status, signal) => {
  for (const name of signals) process.removeListener(name, pass);
  if (signal === null) process.exit(status);
  process.kill(process.pid, signal);
});
