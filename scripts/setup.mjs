/*
 * Brings what the project needs and nothing else: locked dependencies, Bun among them, and the compiled kernels of the CPU
 * device. --omit=dev leaves out what only tests and checks need, unless it is there already. For tests also a Vulkan driver
 * (--driver), the Chromium that the chat page is tested in (--browser), the shells that completion is tested in (--shells),
 * and the assemblers that machine code is held to (--assemblers). Plain JavaScript for Node 18 and newer (or Bun), since it
 * runs before anything is installed. Doing it twice costs nothing.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileAssembly } from "./assembly.mjs";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");
const MODULES = join(ROOT, "node_modules");
/** Written by `npm ci`; and by us after `bun install`, which leaves no such mark. */
const MARKS = [join(MODULES, ".package-lock.json"), join(MODULES, ".bun-install")];
/** There after an installation with --omit=dev: `npm ci` removes it with the folder. */
const WITHOUT_DEV = join(MODULES, ".omit-dev");
const OMIT_DEV = process.argv.includes("--omit=dev");
const INSTALLING = OMIT_DEV
  ? "installing what building and running need, once: 145 MB to fetch, 150 MB of disk, seconds to a minute"
  : "installing the locked dependencies, once: 200 MB to fetch, 500 MB of disk, seconds to a minute";
const DRIVER_PACKAGES = ["mesa-vulkan-drivers", "libvulkan1"];
/** As src/chat/serve/testing/page.ts looks for it. */
const BROWSERS = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/** Shows a command and runs it; true when it succeeded. */
function run(command, args, environment = {}) {
  process.stderr.write(`$ ${[command, ...args].join(" ")}\n`);
  const { status, error } = spawnSync(command, args, {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...environment },
    // npm is a script on Windows.
    shell: process.platform === "win32",
  });
  if (error !== undefined) process.stderr.write(`${command}: ${error.message}\n`);
  return status === 0;
}

const TELL_EVERY_MS = 5000;

/** As {@link run}, for what says nothing for long: that it still works is said now and then. */
async function runLong(command, args, what) {
  process.stderr.write(`${what}\n$ ${[command, ...args].join(" ")}\n`);
  const child = spawn(command, args, {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
    shell: process.platform === "win32",
  });
  const started = Date.now();
  const telling = setInterval(() => {
    process.stderr.write(`… ${Math.round((Date.now() - started) / 1000)} s\n`);
  }, TELL_EVERY_MS);
  try {
    return await new Promise((resolve) => {
      child.on("error", (error) => {
        process.stderr.write(`${command}: ${error.message}\n`);
        resolve(false);
      });
      child.on("exit", (status) => resolve(status === 0));
    });
  } finally {
    clearInterval(telling);
  }
}

function has(command) {
  const names = process.platform === "win32" ? [`${command}.cmd`, `${command}.exe`] : [command];
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.some((folder) => names.some((name) => existsSync(join(folder, name))));
}

function warn(message, hint) {
  process.stderr.write(`warning: ${message}\nhint: ${hint}\n`);
}

function fail(message, hint) {
  process.stderr.write(`error: ${message}\nhint: ${hint}\n`);
  process.exit(1);
}

/** Whether the dependencies were installed after the lock file last changed, and Bun among them starts. */
function dependenciesAreCurrent() {
  const locked = statSync(join(ROOT, "package-lock.json")).mtimeMs;
  if (!MARKS.some((mark) => existsSync(mark) && statSync(mark).mtimeMs >= locked)) return false;
  return (OMIT_DEV || !existsSync(WITHOUT_DEV)) && bunStarts();
}

function bunStarts() {
  return spawnSync(join(MODULES, ".bin", "bun"), ["--version"], { shell: process.platform === "win32" }).status === 0;
}

/** Removes what packages bring that neither building nor running this here opens: two thirds of what they unpack to. */
function removeUnused() {
  const drivers = join(MODULES, "webgpu/dist");
  const own = `${process.platform}-${process.platform === "darwin" ? "universal" : process.arch}`;
  const compiler = join(MODULES, "assemblyscript/dist");
  const unused = [
    // A peer of valibot's types.
    join(MODULES, "typescript"),
    join(MODULES, "@typescript"),
    // Runtimes for other platforms: npm 9 brings musl's, too. This one has been moved into the package `bun`.
    join(MODULES, "@oven"),
    // Command-line tools; the compiler uses the library beside them.
    join(MODULES, "binaryen/bin"),
    ...namesIn(drivers, (name) => name !== own),
    ...namesIn(compiler, (name) => name.endsWith(".map")),
  ];
  for (const path of unused) rmSync(path, { recursive: true, force: true });
}

function namesIn(folder, wanted) {
  return existsSync(folder)
    ? readdirSync(folder)
        .filter(wanted)
        .map((name) => join(folder, name))
    : [];
}

async function installDependencies() {
  if (dependenciesAreCurrent()) return;
  const omit = OMIT_DEV ? ["--omit=dev"] : [];
  if (process.versions.bun === undefined || has("npm")) {
    // Without warnings: a tool of the tests asks for a newer Node, and works with this one.
    if (!(await runLong("npm", ["ci", "--loglevel=error", ...omit], INSTALLING)))
      fail("the dependencies could not be installed", "see npm's message above");
  } else {
    // It would keep packages of which files were removed.
    if (existsSync(WITHOUT_DEV)) rmSync(MODULES, { recursive: true });
    // Bun reads package-lock.json; --frozen-lockfile would ask for a lock file of its own.
    if (!(await runLong(process.execPath, ["install", "--no-save", ...omit], INSTALLING))) {
      fail("the dependencies could not be installed", "see Bun's message above");
    }
    writeFileSync(MARKS[1], "");
  }
  startBun();
  if (!OMIT_DEV) return;
  removeUnused();
  writeFileSync(WITHOUT_DEV, "");
}

function startBun() {
  if (bunStarts()) return;
  // Where install scripts are switched off (`ignore-scripts`), Bun's own is still wanted: it puts the executable in place.
  if (!run(process.execPath, [join(MODULES, "bun", "install.js")]) || !bunStarts()) {
    fail("Bun does not start", `run node_modules/.bin/bun --version to see why`);
  }
}

/** Folders in which a Vulkan loader looks for drivers (Vulkan-Loader, LoaderDriverInterface.md, "Driver Discovery"). */
function driverFolders() {
  const { XDG_CONFIG_HOME, XDG_CONFIG_DIRS, XDG_DATA_HOME, XDG_DATA_DIRS } = process.env;
  const list = (value, fallback) => (value || fallback).split(":");
  return [
    ...list(XDG_CONFIG_HOME, join(homedir(), ".config")),
    ...list(XDG_CONFIG_DIRS, "/etc/xdg"),
    "/usr/local/etc",
    "/etc",
    ...list(XDG_DATA_HOME, join(homedir(), ".local/share")),
    ...list(XDG_DATA_DIRS, "/usr/local/share:/usr/share"),
    "/usr/local/share",
    "/usr/share",
  ].map((folder) => join(folder, "vulkan/icd.d"));
}

function holds(folder, pattern) {
  return existsSync(folder) && readdirSync(folder).some((name) => pattern.test(name));
}

function hasDriver() {
  const named = [process.env.VK_DRIVER_FILES, process.env.VK_ICD_FILENAMES, process.env.VK_ADD_DRIVER_FILES];
  if (named.some((files) => (files ?? "").split(":").some((file) => file !== "" && existsSync(file)))) return true;
  return driverFolders().some((folder) => holds(folder, /\.json$/));
}

function hasLoader() {
  const system = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/lib", "/lib64"];
  const multiarch = ["/usr/lib", "/usr/local/lib", "/lib"].flatMap((folder) =>
    existsSync(folder)
      ? readdirSync(folder)
          .filter((name) => name.endsWith("-linux-gnu"))
          .map((name) => join(folder, name))
      : [],
  );
  const named = (process.env.LD_LIBRARY_PATH ?? "").split(":").filter((folder) => folder !== "");
  return [...named, ...system, ...multiarch].some((folder) => holds(folder, /^libvulkan\.so\.1/));
}

/** Installs Debian's packages as root; `giveUp` tells anybody else how, and what went wrong. */
function aptInstall(packages, { missing, failed, fedora, arch, giveUp }) {
  const update = ["update"];
  const install = ["install", "-y", "--no-install-recommends", ...packages];
  const byHand = `sudo apt-get ${update.join(" ")} && sudo apt-get ${install.join(" ")}`;
  if (!has("apt-get")) return giveUp(missing, `install one and try again: ${has("pacman") ? arch : fedora}`);
  if (process.getuid?.() !== 0) return giveUp(missing, byHand);
  const quiet = { DEBIAN_FRONTEND: "noninteractive" };
  // Old lists may still serve, so only the installation decides.
  run("apt-get", update, quiet);
  if (!run("apt-get", install, quiet)) giveUp(failed, "see apt-get's message above");
}

/** Linux alone needs Vulkan: Dawn uses Metal on macOS and Direct3D 12 on Windows. */
function installDriver() {
  if (process.platform !== "linux" || (hasLoader() && hasDriver())) return;
  aptInstall(DRIVER_PACKAGES, {
    missing: "no Vulkan driver found",
    failed: "the Vulkan driver could not be installed",
    fedora: "dnf install mesa-vulkan-drivers vulkan-loader",
    arch: "pacman -S vulkan-swrast vulkan-icd-loader",
    giveUp: fail,
  });
}

/** Without it the page's own tests fail, and nothing else. */
function installBrowser() {
  if (BROWSERS.some(has)) return;
  aptInstall(["chromium"], {
    missing: "no Chromium found on the PATH, in which the chat page is tested",
    failed: "Chromium could not be installed",
    fedora: "dnf install chromium",
    arch: "pacman -S chromium",
    giveUp: warn,
  });
}

/** Without them the completion's own tests fail, and nothing else. */
function installShells() {
  const missing = process.platform === "win32" ? [] : ["zsh", "fish"].filter((shell) => !has(shell));
  if (missing.length === 0) return;
  const names = missing.join(" ");
  aptInstall(missing, {
    missing: `no ${missing.join(" and no ")} found on the PATH, in which completion is tested`,
    failed: `${missing.join(" and ")} could not be installed`,
    fedora: `dnf install ${names}`,
    arch: `pacman -S ${names}`,
    giveUp: warn,
  });
}

/** Without them the tests of our own assemblers fail, and nothing else. */
function installAssemblers() {
  if (process.platform !== "linux") return;
  const assemblers = [
    ["x64", "x86_64-linux-gnu-as", "binutils-x86-64-linux-gnu"],
    ["arm64", "aarch64-linux-gnu-as", "binutils-aarch64-linux-gnu"],
  ];
  const missing = assemblers.flatMap(([arch, foreign, name]) => {
    const [command, packaged] = arch === process.arch ? ["as", "binutils"] : [foreign, name];
    return has(command) ? [] : [packaged];
  });
  if (missing.length === 0) return;
  const names = missing.join(" ");
  aptInstall(missing, {
    missing: `no ${missing.join(" and no ")} found, which machine code is tested with`,
    failed: `${missing.join(" and ")} could not be installed`,
    fedora: `dnf install ${names.replaceAll("binutils-x86-64", "binutils-x86_64")}`,
    arch: `pacman -S ${names.replaceAll("binutils-aarch64-linux-gnu", "aarch64-linux-gnu-binutils")}`,
    giveUp: warn,
  });
}

const [major = 0] = process.versions.node.split(".").map(Number);
if (major < 18) fail(`Node ${process.versions.node} is too old`, "install Node 18 or newer");
await installDependencies();
if (!compileAssembly(ROOT)) fail("the CPU device's kernels could not be compiled", "see the compiler's message above");
if (process.argv.includes("--driver")) installDriver();
if (process.argv.includes("--browser")) installBrowser();
if (process.argv.includes("--shells")) installShells();
if (process.argv.includes("--assemblers")) installAssemblers();
