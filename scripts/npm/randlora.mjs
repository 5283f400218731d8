#!/usr/bin/env node
// The command of the npm package `randlora`: starts the binary that npm installed for this platform, or RANDLORA_BINARY.
import { spawn } from "node:child_process";
import { fstatSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { platformFile, platformRefusal } from "./platform.mjs";

const { platform, env } = process;

function fail({ message, hint }) {
  process.stderr.write(`error: ${message}\nhint: ${hint}\n`);
  process.exit(1);
}

function findBinary() {
  if (env.RANDLORA_BINARY) return env.RANDLORA_BINARY;
  try {
    return platformFile(`bin/randlora${platform === "win32" ? ".exe" : ""}`);
  } catch (refusal) {
    fail(refusal);
  }
}

/** What the binary inherits: the standard streams, and the socket by which MPICH's and Slurm's launchers speak with it. */
function inherited() {
  const streams = ["inherit", "inherit", "inherit"];
  const launcher = /^\d{1,4}$/.test(env.PMI_FD ?? "") ? Number(env.PMI_FD) : 0;
  if (launcher <= 2 || !isSocket(launcher)) return streams;
  while (streams.length < launcher) streams.push("ignore");
  return [...streams, "inherit"];
}

/** Another program between may have closed it, and what is there now be Node's own. */
function isSocket(descriptor) {
  try {
    return fstatSync(descriptor).isSocket();
  } catch {
    return false;
  }
}

const binary = findBinary();
// Listened to before there is a child, lest one ends the launcher alone. On Windows the console tells every program itself,
// and kill() would end the binary unasked.
const signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];
const pass = (signal) => platform === "win32" || child.kill(signal);
for (const signal of signals) process.on(signal, pass);
const child = spawn(binary, process.argv.slice(2), {
  stdio: inherited(),
  // A terminal and npm signal the binary's parents as well, which pass it on: the binary takes such echoes for one signal.
  env: { ...env, RANDLORA_LAUNCHER: fileURLToPath(import.meta.url) },
});
child.on("error", ({ message }) => {
  const reason = env.RANDLORA_BINARY ? undefined : platformRefusal();
  const hint = "install randlora again, or let RANDLORA_BINARY name the binary";
  fail(reason ?? { message: `${binary}: cannot be started (${message})`, hint });
});
child.on("exit", (status, signal) => {
  for (const name of signals) process.removeListener(name, pass);
  if (signal === null) process.exit(status);
  process.kill(process.pid, signal);
});
