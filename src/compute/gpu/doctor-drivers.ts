import { existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/** One Vulkan driver manifest: the JSON file by which the loader finds a driver. */
export interface DriverManifest {
  readonly path: string;
  /** The driver's library as the manifest names it: a path, or a name that the system's linker looks up. */
  readonly library: string | undefined;
  /** Why the loader cannot use it, or undefined. */
  readonly problem: string | undefined;
}

/** What the Vulkan loader has to work with. */
export interface VulkanDrivers {
  /** `libvulkan.so.1` can be loaded. */
  readonly loader: boolean;
  /** The variable that replaces the usual folders, when it is set. */
  readonly overriddenBy: string | undefined;
  readonly manifests: readonly DriverManifest[];
}

const LOADER = "libvulkan.so.1";
/** The second is the old name of the first (LoaderDriverInterface.md, "Driver Discovery"). */
const OVERRIDES = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

/**
 * Looks where the Vulkan loader looks. Only Linux has it: elsewhere the system brings Metal or Direct3D, and this
 * returns undefined.
 */
export async function findVulkanDrivers(environment: Environment = process.env): Promise<VulkanDrivers | undefined> {
  if (process.platform !== "linux") return undefined;
  return { loader: await canLoad(LOADER), ...findManifests(environment) };
}

/**
 * The manifests that the loader would read, in its order (LoaderDriverInterface.md, "Driver Discovery"). A file or
 * folder that a variable names and that does not exist is listed with its problem.
 */
export function findManifests(environment: Environment): Omit<VulkanDrivers, "loader"> {
  const overriddenBy = OVERRIDES.find((name) => (environment[name] ?? "") !== "");
  const named = overriddenBy === undefined ? [] : paths(environment[overriddenBy]);
  const added = overriddenBy === undefined ? paths(environment["VK_ADD_DRIVER_FILES"]) : [];
  const found = [...named, ...added].flatMap((path) => (existsSync(path) ? manifestsIn(path) : [path]));
  if (overriddenBy === undefined) found.push(...searchFolders(environment).flatMap(manifestsIn));
  return { overriddenBy, manifests: [...new Set(found)].map(readManifest) };
}

function searchFolders(environment: Environment): string[] {
  const home = environment["HOME"] ?? homedir();
  const value = (name: string, usual: string): string => environment[name] || usual;
  const roots = [
    value("XDG_CONFIG_HOME", join(home, ".config")),
    ...paths(value("XDG_CONFIG_DIRS", "/etc/xdg")),
    "/etc",
    value("XDG_DATA_HOME", join(home, ".local/share")),
    ...paths(value("XDG_DATA_DIRS", "/usr/local/share:/usr/share")),
  ];
  return roots.map((root) => join(root, "vulkan", "icd.d"));
}

function paths(list: string | undefined): string[] {
  return (list ?? "").split(delimiter).filter((path) => path !== "");
}

/** The path itself, or the manifests of a folder; none where it cannot be read. */
function manifestsIn(path: string): string[] {
  if (path.endsWith(".json")) return [path];
  try {
    const names = readdirSync(path).filter((name) => name.endsWith(".json"));
    return names.toSorted().map((name) => join(path, name));
  } catch {
    return [];
  }
}

function readManifest(path: string): DriverManifest {
  if (!existsSync(path)) return { path, library: undefined, problem: "no such file" };
  const library = libraryOf(path);
  if (library === undefined) return { path, library, problem: "not a driver manifest" };
  // A bare name is the linker's to find; anything else is relative to the manifest.
  const missing = library.includes("/") && !existsSync(resolve(dirname(path), library));
  return { path, library, problem: missing ? `${library}: no such file` : undefined };
}

function libraryOf(path: string): string | undefined {
  try {
    const root: unknown = JSON.parse(readFileSync(path, "utf8"));
    if (typeof root !== "object" || root === null || !("ICD" in root)) return undefined;
    const { ICD } = root;
    if (typeof ICD !== "object" || ICD === null || !("library_path" in ICD)) return undefined;
    return typeof ICD.library_path === "string" ? ICD.library_path : undefined;
  } catch {
    return undefined;
  }
}

async function canLoad(library: string): Promise<boolean> {
  try {
    const { dlopen } = await import("bun:ffi");
    dlopen(library, { vkGetInstanceProcAddr: { args: ["ptr", "cstring"], returns: "ptr" } }).close();
    return true;
  } catch {
    return false;
  }
}
