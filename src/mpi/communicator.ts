import { type Pointer, ptr } from "bun:ffi";
import { RandloraError } from "../files/errors.ts";
import { oneLine } from "../files/failure.ts";
import { ALONE_VARIABLE, type Launched } from "./launcher.ts";
import { LIBRARY_VARIABLE, type MpiLibrary, openMpi } from "./library.ts";

/** Only the thread that began it calls MPI. */
const MPI_THREAD_FUNNELED = 1;
/** More than `MPI_Status` takes in any library. */
const STATUS_BYTES = 256;
/** More than `MPI_MAX_LIBRARY_VERSION_STRING` in any library. */
const VERSION_BYTES = 2 ** 16;
const MOST = 2 ** 30;

/** What stands for all processes, and for bytes: it differs by library. */
interface Handles {
  readonly world: number;
  readonly byte: number;
}

const FUNCTIONS = {
  MPI_Init_thread: { args: ["ptr", "ptr", "i32", "ptr"], returns: "i32" },
  MPI_Comm_rank: { args: ["u64", "ptr"], returns: "i32" },
  MPI_Comm_size: { args: ["u64", "ptr"], returns: "i32" },
  MPI_Iallgather: { args: ["ptr", "i32", "u64", "ptr", "i32", "u64", "u64", "ptr"], returns: "i32" },
  MPI_Test: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
  MPI_Get_library_version: { args: ["ptr", "ptr"], returns: "i32" },
  MPI_Abort: { args: ["u64", "i32"], returns: "i32" },
  MPI_Finalize: { args: [], returns: "i32" },
} as const;

/** All processes that a launcher started, through the MPI library. Once in a process's life; on its main thread alone. */
export class Communicator {
  readonly rank: number;
  readonly size: number;
  readonly #library: MpiLibrary;
  readonly #mpi: ReturnType<typeof link>;
  readonly #handles: Handles;

  /** @throws RandloraError `file` without a library, or with one that another launcher's processes do not hear */
  constructor({ by, size }: Launched) {
    this.#library = openMpi(by);
    this.#mpi = link(this.#library);
    const number = new Int32Array(1);
    check("MPI_Init_thread", this.#mpi.MPI_Init_thread(null, null, MPI_THREAD_FUNNELED, ptr(number)));
    this.#handles = handlesOf(this.#library);
    const { world } = this.#handles;
    check("MPI_Comm_rank", this.#mpi.MPI_Comm_rank(world, ptr(number)));
    this.rank = number[0] ?? 0;
    check("MPI_Comm_size", this.#mpi.MPI_Comm_size(world, ptr(number)));
    this.size = number[0] ?? 0;
    if (size !== undefined && size !== this.size) {
      const cause = `${by} started ${size} processes, and ${oneLine(this.#library.path)} (${this.#version()}) sees ${this.size}`;
      const hint = `they are of different MPIs: start ${by} of that one, or name ${by}'s library with ${LIBRARY_VARIABLE}; under Slurm see srun --mpi=list; where each process is to work by itself: ${ALONE_VARIABLE}=0`;
      throw new RandloraError("file", cause, hint);
    }
  }

  /**
   * Begins to gather equally many bytes of each process. Neither array may be changed before it is done.
   * @param into (size · the bytes of one)
   * @returns asks whether it is done
   */
  beginGather(own: Uint8Array<ArrayBuffer>, into: Uint8Array<ArrayBuffer>): () => boolean {
    const { world, byte } = this.#handles;
    // The library keeps addresses: all of this lives as long as what is returned.
    const request = new BigUint64Array(2);
    const flag = new Int32Array(1);
    const status = new Uint8Array(STATUS_BYTES);
    // Counts of C are 31 bits; the result of all may have more.
    if (own.length > MOST) throw new RangeError(`${own.length} bytes at once`);
    const count = own.length;
    const { MPI_Iallgather: begin, MPI_Test: test } = this.#mpi;
    check("MPI_Iallgather", begin(ptr(own), count, byte, ptr(into), count, byte, world, ptr(request)));
    return () => {
      check("MPI_Test", test(ptr(request), ptr(flag), ptr(status)));
      // Mentioned, so that they are kept.
      return flag[0] !== 0 && own.length <= into.length;
    };
  }

  /** Ends all processes at once. */
  abort(status: number): never {
    this.#mpi.MPI_Abort(this.#handles.world, status);
    return this.#library.exit(status);
  }

  /** Waits for all processes, and ends this one. */
  end(status: number): never {
    this.#mpi.MPI_Finalize();
    return this.#library.exit(status);
  }

  #version(): string {
    const text = new Uint8Array(VERSION_BYTES);
    const length = new Int32Array(1);
    this.#mpi.MPI_Get_library_version(ptr(text), ptr(length));
    const [line = ""] = new TextDecoder().decode(text.subarray(0, length[0])).split(/[\n,\0]/);
    return oneLine(line.trim());
  }
}

function link(library: MpiLibrary) {
  return library.link(FUNCTIONS);
}

/**
 * Told apart as mpi4py does: the ABI of MPI 5.0 says its version; Open MPI's handles are addresses of its own; what is left
 * has MPICH's (its mpi.h; Intel MPI's and MVAPICH's are the same).
 */
function handlesOf(library: MpiLibrary): Handles {
  const [world, byte] = ["ompi_mpi_comm_world", "ompi_mpi_byte"].map((name): Pointer | undefined =>
    library.address(name),
  );
  if (world !== undefined && byte !== undefined) return { world, byte };
  if (library.address("MPI_Abi_get_version") !== undefined) {
    const { MPI_Abi_get_version: version } = library.link({
      MPI_Abi_get_version: { args: ["ptr", "ptr"], returns: "i32" },
    });
    const [major, minor] = [new Int32Array(1), new Int32Array(1)];
    check("MPI_Abi_get_version", version(ptr(major), ptr(minor)));
    if ((major[0] ?? -1) >= 1) return { world: 0x101, byte: 0x247 };
  }
  return { world: 0x44000000, byte: 0x4c00010d };
}

/** Libraries end all processes themselves when a call fails, unless they are told otherwise. */
function check(name: string, code: number): void {
  if (code !== 0) throw new RandloraError("file", `${name} failed with code ${code}`, "see what the MPI library wrote");
}
