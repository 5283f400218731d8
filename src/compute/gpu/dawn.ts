/**
 * Dawn's native addon, and the one object that keeps it alive. Nothing else in the project loads it.
 *
 * The paths below are literal so that `bun build --compile` embeds exactly one addon (the `webgpu` package's own entry
 * builds its path at run time, which a compiled binary cannot follow).
 */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { version } from "webgpu/package.json";
import { cacheFolder } from "../../files/cache-folder.ts";
import { carriedFile } from "../../files/carried.ts";
import { RandloraError } from "../../files/errors.ts";
import { paceTicks } from "./pacing.ts";
import { loadUnpacked } from "./unpack.ts";

/** What `dawn.node` exports: WebGPU's globals, and `create`, which takes `key=value` flags. */
interface DawnAddon {
  readonly globals: Readonly<Record<string, unknown>>;
  create(flags: readonly string[]): GPU;
}

/**
 * The engine drops an instance after its last visible use, and Dawn dies when its instance goes while work is pending.
 * Membership in an exported set is a use that lasts until `releaseInstance`.
 */
export const heldInstances = new Set<GPU>();

/**
 * Loads the addon (once) and creates a Dawn instance that is held until `releaseInstance(instance)`.
 * @param flags Dawn's own switches, e.g. `adapter=NAME` or `enable-dawn-features=a,b`
 * @throws RandloraError `gpu` when the addon cannot be loaded, with the temp-folder hint in a compiled binary
 */
export function createInstance(flags: readonly string[]): GPU {
  const addon = loadAddon();
  Object.assign(globalThis, addon.globals);
  paceTicks();
  const instance = addon.create(flags);
  heldInstances.add(instance);
  return instance;
}

/** Lets the process end by itself; call it after `device.destroy()`, or when no device came of the instance. */
export function releaseInstance(instance: GPU): void {
  heldInstances.delete(instance);
}

/** What the first attempt to load it came to: required again, a library that failed is an empty module. */
let failure: RandloraError | undefined;

function loadAddon(): DawnAddon {
  if (failure !== undefined) throw failure;
  try {
    return requireAddon();
  } catch (cause) {
    if (cause instanceof RandloraError) throw cause;
    const reason = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
    failure = new RandloraError("gpu", `cannot load the GPU library: ${reason}`, unpackedHint(), { cause });
    throw failure;
  }
}

function unpackedHint(): string {
  if (process.platform === "win32") return `it is unpacked into ${cacheFolder()}; set RANDLORA_CACHE to move it`;
  // Elsewhere it is loaded from where it is.
  if (Bun.embeddedFiles.length === 0) return "docs/guide/install.md says what it needs of the system";
  return (
    `it is unpacked into ${process.env["BUN_TMPDIR"] ?? tmpdir()}, which must be writable and not mounted noexec; ` +
    "set BUN_TMPDIR to another folder to move it"
  );
}

/** Written out in full on purpose: the bundler only drops the other platforms' addons where it sees `process.platform`. */
function requireAddon(): DawnAddon {
  if (process.platform === "linux" && process.arch === "x64") return require("webgpu/dist/linux-x64/dawn.node");
  if (process.platform === "linux" && process.arch === "arm64") return require("webgpu/dist/linux-arm64/dawn.node");
  if (process.platform === "darwin") return require("webgpu/dist/darwin-universal/dawn.node");
  if (process.platform === "win32" && process.arch === "x64") {
    const addon: DawnAddon | string = require("webgpu/dist/win32-x64/dawn.node");
    if (typeof addon !== "string") return addon;
    // Built, it is a file (scripts/build.ts): Dawn looks for Direct3D's compilers beside itself and beside the executable.
    const dxc: string = require("webgpu/dist/win32-x64/dxcompiler.dll");
    const fxc: string = require("webgpu/dist/win32-x64/d3dcompiler_47.dll");
    const files = {
      "dawn.node": carriedFile(addon),
      "dxcompiler.dll": carriedFile(dxc),
      "d3dcompiler_47.dll": carriedFile(fxc),
    };
    return loadUnpacked(files, join(cacheFolder(), "gpu", version)) as DawnAddon;
  }
  if (process.platform === "win32" && process.arch === "arm64") return require("webgpu/dist/win32-arm64/dawn.node");
  throw new RandloraError(
    "gpu",
    `no GPU library for ${process.platform} on ${process.arch}`,
    "use Linux, macOS or Windows on x64 or arm64",
  );
}
