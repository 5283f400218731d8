import { CString, dlopen, type FFIFunction, linkSymbols, type Pointer } from "bun:ffi";
import { dirname, join } from "node:path";
import { RandloraError } from "../files/errors.ts";
import { oneLine } from "../files/failure.ts";
import { cString, openLibc } from "../files/libc.ts";
import { ALONE_VARIABLE, launcherAbove } from "./launcher.ts";

/** Names a library instead of those that are looked for. */
export const LIBRARY_VARIABLE = "RANDLORA_MPI_LIB";

/** From `<dlfcn.h>`: Open MPI's own parts look for its symbols among the process's. */
const RTLD_NOW = 2;
const RTLD_GLOBAL = process.platform === "darwin" ? 8 : 0x100;

/** Open MPI 4 and 5; MPICH, Intel MPI and MVAPICH; the ABI of MPI 5.0; whatever is called MPI. */
const NAMES =
  process.platform === "darwin"
    ? ["libmpi.40.dylib", "libmpi.12.dylib", "libmpi_abi.1.dylib", "libmpi.dylib"]
    : ["libmpi.so.40", "libmpi.so.12", "libmpi_abi.so.1", "libmpi_abi.so.0", "libmpi.so"];

/**
 * What the library would do to this process: its handlers of signals would take those that JavaScriptCore handles, and
 * backtraces would be written where results are. Set where the user has not.
 */
const SETTINGS = { UCX_ERROR_SIGNALS: "SIGILL,SIGBUS,SIGFPE", ZES_ENABLE_SYSMAN: "1", HFI_NO_BACKTRACE: "1" } as const;

/** A library that stays open until the process ends. */
export interface MpiLibrary {
  /** For messages. */
  readonly path: string;
  /** The address of a symbol; undefined where the library has none of that name. */
  address(name: string): Pointer | undefined;
  /** Functions of the library. @throws RandloraError `file` naming one that it has not */
  link<F extends Record<string, Omit<FFIFunction, "ptr">>>(functions: F): ReturnType<typeof linkSymbols<F>>["symbols"];
  /** Ends the process as C programs end, which MPICH's launcher waits for. */
  exit(status: number): never;
}

/** Must run on the main thread. @throws RandloraError `file` where there is no library */
export function openMpi(by: string): MpiLibrary {
  const libc = openLibc({
    setenv: { args: ["ptr", "ptr", "i32"], returns: "i32" },
    exit: { args: ["i32"], returns: "void" },
  });
  const loader = openLoader();
  if (libc === undefined || loader === undefined) {
    const cause = `${by} started several processes, which can share work on Linux and macOS alone`;
    throw new RandloraError("file", cause, `${ALONE_VARIABLE}=0 lets each work by itself`);
  }
  // Before the library is loaded, whose constructors read them: `process.env` does not reach C's environment.
  for (const [name, value] of Object.entries(SETTINGS)) libc.setenv(cString(name), cString(value), 0);
  const asked = process.env[LIBRARY_VARIABLE] || undefined;
  const hint = `install the one that ${by} belongs to (Debian: libopenmpi3 or libmpich12; pip install mpich), or name its file: ${LIBRARY_VARIABLE}=/…/libmpi.so; where each process is to work by itself: ${ALONE_VARIABLE}=0`;
  const failures: string[] = [];
  for (const path of asked === undefined ? candidates() : [asked]) {
    const handle = loader.dlopen(cString(path), RTLD_NOW | RTLD_GLOBAL);
    if (handle === null) {
      failures.push(errorOf(loader));
      continue;
    }
    const address = (name: string) => pointerOf(loader.dlsym(handle, cString(name)));
    return {
      path,
      address,
      link(functions) {
        const linked = Object.entries(functions).map(([name, one]) => {
          const ptr = address(name);
          if (ptr === undefined)
            throw new RandloraError("file", `${oneLine(path)}: no function ${name}: no MPI library`, hint);
          return [name, { ...one, ptr }];
        });
        // The same keys, each with its address.
        return linkSymbols(Object.fromEntries(linked) as typeof functions).symbols;
      },
      exit(status) {
        libc.exit(status);
        throw new Error("exit returned");
      },
    };
  }
  const cause =
    asked === undefined ? "no MPI library is found" : `${LIBRARY_VARIABLE}: ${oneLine(failures.join("; "))}`;
  throw new RandloraError("file", `${by} started several processes, and ${cause}`, hint);
}

/** Beside the launcher that started this process, which must be of the same MPI; then wherever the system looks. */
function candidates(): readonly string[] {
  const launcher = launcherAbove();
  const folder = launcher && join(dirname(dirname(launcher.path)), "lib");
  const places = folder === undefined || folder === "/usr/lib" ? [] : NAMES.map((name) => join(folder, name));
  // A launcher of one MPI is no use to another's library: its own name first.
  const order = process.env["OMPI_COMM_WORLD_SIZE"] === undefined ? [...NAMES.slice(1), ...NAMES.slice(0, 1)] : NAMES;
  return [...places, ...order];
}

/** In libc since glibc 2.34, in a library of its own before. */
function openLoader() {
  const functions = {
    dlopen: { args: ["ptr", "i32"], returns: "ptr" },
    dlsym: { args: ["ptr", "ptr"], returns: "ptr" },
    dlerror: { args: [], returns: "ptr" },
  } as const satisfies Record<string, FFIFunction>;
  const found = openLibc(functions);
  if (found !== undefined || process.platform !== "linux") return found;
  try {
    return dlopen("libdl.so.2", functions).symbols;
  } catch {
    return undefined;
  }
}

function pointerOf(found: unknown): Pointer | undefined {
  // Addresses of this process are below 2^53.
  return typeof found === "number" ? (found as Pointer) : undefined;
}

function errorOf(loader: NonNullable<ReturnType<typeof openLoader>>): string {
  const text = loader.dlerror();
  return text === null ? "it cannot be loaded" : new CString(text).toString();
}
