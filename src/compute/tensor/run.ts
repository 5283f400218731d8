import { RandloraError } from "../../files/errors.ts";
import type { Commands, Device, Recording } from "../device/device.ts";
import type { Families } from "../device/families.ts";
import { RunMemory } from "../device/run-memory.ts";
import type { Staging } from "../device/staging.ts";
import type { Matrix, Of, OutputShape, Roles } from "./roles.ts";
import { type Shape, showShape, type Tensor, tensorBytes, type TensorDtype, tensorIn, write } from "./tensor.ts";

/** Values that some operands have and others lack: gradients, and where they go. */
export type Some<R extends Roles, T> = { readonly [K in keyof R]?: T | undefined };

/** What the backward pass of one op works on. */
export interface Backward<I extends Roles, O extends Roles> {
  /** Operands and results of the forward pass; only those that `saves` names still hold their values. */
  readonly inputs: Of<I, Tensor>;
  readonly outputs: Of<O, Tensor>;
  /** ∂loss/∂output, of the output's shape; left out where the loss does not depend on it, but never all of them. */
  readonly gradients: Some<O, Tensor>;
  /** Where ∂loss/∂input goes: F32, of the input's shape, assigned (see `adds`); left out where nobody asks for it. */
  readonly into: Some<I, Tensor>;
}

/**
 * One operation: shapes in, shapes out; the same function on the device and, plainly, in f64. It is a pure function of
 * its operands; activations are assigned (=), never added to.
 */
export interface Op<I extends Roles, A, O extends Roles> {
  readonly name: string;
  readonly roles: { readonly inputs: I; readonly outputs: O };
  /** Shapes of the outputs. @throws RandloraError `model` naming the op and the shapes that do not fit */
  shape(inputs: Of<I, Shape>, attributes: A): Of<O, OutputShape>;
  /** Records what fills `outputs`. */
  forward(run: Run, inputs: Of<I, Tensor>, attributes: A, outputs: Of<O, Tensor>): void;
  /** The definition, in f64. */
  reference(inputs: Of<I, Matrix>, attributes: A): Of<O, Matrix>;
  /** How the op is differentiated; "constant" where no gradient flows through it. */
  readonly derivative: Derivative<I, A, O> | "constant";
}

/** The derivative of an op, on the device and in f64. */
export interface Derivative<I extends Roles, A, O extends Roles> {
  /**
   * The operands that `backward` reads when these inputs' gradients are wanted; the tape drops the others. A name that
   * both an input and an output have is the input's.
   */
  saves(wanted: ReadonlySet<keyof I>, attributes: A): readonly (keyof I | keyof O)[];
  /**
   * The inputs whose gradients `backward` adds to what `into` holds instead of assigning them. So weights need no memory
   * for the gradient of one micro-batch, and of a large table only the rows are touched that occur.
   */
  readonly adds?: readonly (keyof I)[];
  /** Records what fills `pass.into`. */
  backward(run: Run, pass: Backward<I, O>, attributes: A): void;
  /** ∂loss/∂input for every input that has one, from ∂loss/∂output, in f64. */
  gradient(inputs: Of<I, Matrix>, attributes: A, gradients: Of<O, Matrix>): Some<I, Matrix>;
}

/** A step of a recording that a tape can differentiate: an op of the registry, or kernels that are none. */
export interface TapeNode {
  /** For messages. */
  readonly name: string;
  readonly inputs: readonly Tensor[];
  /** It has parameters of its own, whose gradients `backward` adds: it is differentiated even if no input wants that. */
  readonly trains?: boolean;
  /** By input: does `backward` add its gradient instead of assigning it? None by default. */
  readonly adds?: readonly boolean[];
  /** F32 tensors that the kernels have been recorded to fill. */
  readonly outputs: readonly Tensor[];
  /** The tensors that `backward` reads when these inputs' gradients are wanted; a tape keeps only those alive. */
  saves(wanted: readonly boolean[]): readonly Tensor[];
  /**
   * Records the kernels that ASSIGN ∂loss/∂input (or add it, see `adds`) to `into`, F32 tensors of the inputs' shapes, in the order of the
   * inputs; undefined where nobody asks. `gradients` are ∂loss/∂output, undefined where the loss does not depend on it,
   * but never all of them.
   */
  backward(run: Run, gradients: readonly (Tensor | undefined)[], into: readonly (Tensor | undefined)[]): void;
}

/**
 * A recording of ops. `apply` only writes down what is to run and starts compiling the kernels that it meets, all side
 * by side; `submit` waits for them and sends everything in one pass. Ops run in the order of recording.
 *
 * Tensors from `apply` and `upload` belong to the run. `release` lets later ops of the same recording use the memory;
 * `keep` hands a tensor to the caller; the rest goes back to the device's pool when the run is submitted.
 */
export class Run {
  readonly device: Device;
  readonly staging: Staging;
  /** Nothing is differentiated here; see `Tape`. */
  readonly differentiates = false;
  readonly #memory: RunMemory;
  readonly #recording: Recording;

  constructor(device: Device, staging: Staging = device.staging) {
    this.device = device;
    this.staging = staging;
    this.#memory = new RunMemory(device);
    this.#recording = device.recording(this.#memory, staging);
  }

  /** This run: what a {@link Recorder} records into. */
  get run(): this {
    return this;
  }

  /**
   * Records an op and returns its outputs.
   * @param into tensors to write to instead of new ones, of exactly the right shapes
   * @throws RandloraError `model` when shapes do not fit, `memory`
   */
  apply<I extends Roles, A, O extends Roles>(
    op: Op<I, A, O>,
    inputs: Of<I, Tensor>,
    attributes: A,
    into: { readonly [K in keyof O]?: Tensor } = {},
  ): Of<O, Tensor> {
    const shapes = mapValues<I, Tensor, Shape>(inputs, ({ shape }) => shape);
    const outputs = mapValues<O, { shape: Shape; dtype?: TensorDtype }, Tensor>(
      op.shape(shapes, attributes),
      ({ shape, dtype = "F32" }, name) => {
        const given = into[name];
        if (given === undefined) return this.allocate(`${op.name}.${String(name)}`, shape, dtype);
        if (given.dtype === dtype && given.shape[0] === shape[0] && given.shape[1] === shape[1]) return given;
        const [have, want] = [showShape(given.shape), showShape(shape)];
        throw new RandloraError("model", `${op.name}: ${String(name)} is ${want} ${dtype}, not ${have} ${given.dtype}`);
      },
    );
    op.forward(this, inputs, attributes, outputs);
    return outputs;
  }

  /** A matrix with undefined content, which belongs to this run. */
  allocate(label: string, shape: Shape, dtype: TensorDtype = "F32"): Tensor {
    return tensorIn(this.#memory.allocate(label, tensorBytes(shape, dtype)), shape, dtype);
  }

  /** A matrix with these values, row by row without gaps. It is not shared with earlier ops of this recording. */
  upload(label: string, shape: Shape, data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): Tensor {
    const dtype = data instanceof Float32Array ? "F32" : "U32";
    // Written to the queue before anything of this recording runs, hence never into a buffer that it used already.
    const tensor = tensorIn(this.#memory.allocateFresh(label, tensorBytes(shape, dtype)), shape, dtype);
    write(this.device, tensor, data);
    return tensor;
  }

  /** Lets later ops of this recording use the memory of these tensors. */
  release(...tensors: readonly Tensor[]): void {
    for (const { buffer } of tensors) this.#memory.release(buffer);
  }

  /** Hands the tensor's memory to the caller, who gives it to `device.memory.release`. */
  keep(tensor: Tensor): Tensor {
    this.#memory.keep(tensor.buffer);
    return tensor;
  }

  /** Nothing is differentiated here; see `Tape`. */
  record(_node: TapeNode): void {}

  /** Nothing is kept here anyway; see `Tape`. */
  segment<const T extends readonly Tensor[]>(_inputs: readonly Tensor[], record: (recorder: this) => T): T {
    return record(this);
  }

  /** Records one command of a family; called by ops. @throws RandloraError `memory` */
  compute<F extends keyof Families>(family: F, operands: Families[F]): void {
    this.#recording.compute(family, operands);
  }

  /**
   * Sends the recording to the device, once its kernels are compiled, and gives its memory back. Does not wait until it
   * has run. The run can then record anew.
   * @throws RandloraError `gpu`
   */
  async submit(): Promise<void> {
    await this.flush();
    this.#memory.clear();
  }

  /**
   * Sends what is recorded so far, once its kernels are compiled, and keeps the memory: the recording goes on. Nothing
   * may be recorded until the promise has settled.
   * @throws RandloraError `gpu`
   */
  async flush(): Promise<void> {
    await this.take().send();
  }

  /** Takes the recording out, to send it otherwise. Its memory stays this run's. */
  take(): Commands {
    return this.#recording.take();
  }

  /**
   * Does a little of all that is recorded, so that it is compiled where it will be needed, while weights are still being
   * read. Outputs are undefined afterwards.
   */
  async rehearse(): Promise<void> {
    await this.#recording.rehearse();
    this.discard();
    await this.device.idle();
  }

  /** Forgets the recording, which is not sent, and gives its memory back. The run can then record anew. */
  discard(): void {
    this.take();
    this.#memory.clear();
  }

  /** Gives back what the run still holds; it cannot be used afterwards. */
  [Symbol.dispose](): void {
    this.discard();
    this.#recording[Symbol.dispose]();
  }
}

function mapValues<R extends Roles, T, U>(record: Of<R, T>, map: (value: T, name: keyof R) => U): Of<R, U> {
  const entries = Object.entries<T | undefined>(record).map(([name, value]) => [
    name,
    value === undefined ? undefined : map(value, name),
  ]);
  return Object.fromEntries(entries) as Of<R, U>; // the same keys, and undefined where it was
}
