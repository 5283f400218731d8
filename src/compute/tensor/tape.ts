import type { DeviceBuffer } from "../device/device.ts";
import { recordCopy } from "./elementwise.ts";
import type { Recorder } from "./recorder.ts";
import type { Of, Roles } from "./roles.ts";
import type { Op, Run, Some, TapeNode } from "./run.ts";
import { ActivationGradient, ParameterGradient } from "./tape-gradient.ts";
import type { Shape, Tensor, TensorDtype } from "./tensor.ts";

/** What a buffer holds from the op that fills it to its release: memory that is used anew gets a new value. */
interface Value {
  /** The view that was seen first. */
  readonly tensor: Tensor;
  /** Undefined: the loss may depend on it, but on nothing that is watched through it. */
  gradient: ActivationGradient | ParameterGradient | undefined;
  /** Nodes whose backward pass reads it. */
  held: number;
  /** Nodes that fill it and have not been differentiated. */
  producers: number;
  /** The forward pass is done with it. */
  released: boolean;
}

interface Operand {
  readonly tensor: Tensor;
  readonly value: Value | undefined;
}

interface Kept {
  readonly node: TapeNode;
  /** Those of `node` that want a gradient, undefined at the places of others. */
  readonly wanted: readonly (Operand | undefined)[];
  readonly outputs: readonly { readonly tensor: Tensor; readonly value: Value }[];
  readonly held: readonly Value[];
}

/**
 * Reverse-mode differentiation (Griewank and Walther, Evaluating Derivatives, 2008, chapter 3): records what a `Run`
 * records and remembers the steps on the way from watched parameters to the loss; `backward` then walks them from the
 * last to the first. Of the tensors that the forward pass releases, those that a backward pass reads live on until it
 * has read them. Everything happens in the order of recording: the same steps give the same bytes.
 *
 * A tape can be used again after `backward`, for the next micro-batch: what is watched stays watched.
 */
export class Tape implements Recorder {
  readonly run: Run;
  readonly differentiates = true;
  readonly #values = new Map<DeviceBuffer, Value>();
  readonly #nodes: Kept[] = [];
  /** Do nodes join the tape? Not in the forward pass of a segment. */
  #keeping = true;

  constructor(run: Run) {
    this.run = run;
  }

  /**
   * Adds ∂loss/∂parameter to `gradient`, an F32 tensor of its shape. A parameter may be a view of a larger matrix.
   * @param origin elements before that matrix, where several lie in one buffer
   */
  watch(parameter: Tensor, gradient: Tensor, origin = 0): void {
    const value = this.#value(parameter);
    value.gradient ??= new ParameterGradient();
    if (!(value.gradient instanceof ParameterGradient)) throw new Error(`${parameter.buffer.label}: watched too late`);
    value.gradient.add(parameter, gradient, origin);
  }

  /** Does anything that is watched lead to this tensor, or is it watched itself? */
  wants(tensor: Tensor): boolean {
    return this.#values.get(tensor.buffer)?.gradient?.wants(tensor) === true;
  }

  apply<I extends Roles, A, O extends Roles>(
    op: Op<I, A, O>,
    inputs: Of<I, Tensor>,
    attributes: A,
    into: { readonly [K in keyof O]?: Tensor } = {},
  ): Of<O, Tensor> {
    const outputs = this.run.apply(op, inputs, attributes, into);
    const { derivative } = op;
    if (derivative === "constant") return outputs;
    const given = present<I>(inputs);
    const made = present<O>(outputs);
    this.record({
      name: op.name,
      inputs: given.map(([, tensor]) => tensor),
      adds: given.map(([name]) => derivative.adds?.includes(name) === true),
      outputs: made.map(([, tensor]) => tensor),
      saves: (wanted) =>
        derivative
          .saves(new Set(given.flatMap(([name], at) => (wanted[at] ? [name] : []))), attributes)
          .flatMap((name) => {
            const [, tensor] = given.find(([key]) => key === name) ?? made.find(([key]) => key === name) ?? [];
            return tensor === undefined ? [] : [tensor];
          }),
      backward: (run, gradients, into) => {
        const pass = { inputs, outputs, gradients: byName<O>(made, gradients), into: byName<I>(given, into) };
        derivative.backward(run, pass, attributes);
      },
    });
    return outputs;
  }

  allocate(label: string, shape: Shape, dtype?: TensorDtype): Tensor {
    return this.run.allocate(label, shape, dtype);
  }

  upload(label: string, shape: Shape, data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): Tensor {
    return this.run.upload(label, shape, data);
  }

  release(...tensors: readonly Tensor[]): void {
    for (const tensor of tensors) {
      const value = this.#values.get(tensor.buffer);
      if (value?.released) throw new Error(`${tensor.buffer.label}: released twice`);
      if (value !== undefined) value.released = true;
      if (value === undefined || value.held === 0) this.#free(tensor);
    }
  }

  record(node: TapeNode): void {
    const wanted = node.inputs.map((tensor) => this.wants(tensor));
    if (!wanted.includes(true) && node.trains !== true) return;
    const outputs = node.outputs.map((tensor) => {
      const value = this.#value(tensor);
      if (this.#keeping) value.producers++;
      value.gradient ??= new ActivationGradient(tensor.buffer, tensor.pitch);
      return { tensor, value };
    });
    if (!this.#keeping) return;
    const inputs = node.inputs.map((tensor, at) =>
      wanted[at] === true ? { tensor, value: this.#values.get(tensor.buffer) } : undefined,
    );
    this.#nodes.push({ node, wanted: inputs, outputs, held: this.#hold(node.saves(wanted)) });
  }

  segment<const T extends readonly Tensor[]>(inputs: readonly Tensor[], record: (recorder: Recorder) => T): T {
    if (!this.#keeping) return record(this);
    const held = this.#hold(inputs);
    this.#keeping = false;
    let results: T;
    try {
      results = record(this);
    } finally {
      this.#keeping = true;
    }
    const outputs = results.flatMap((tensor) => {
      const value = this.#values.get(tensor.buffer);
      return value?.gradient === undefined ? [] : [{ tensor, value }];
    });
    if (outputs.length === 0) {
      this.#let(held);
      return results;
    }
    for (const { value } of outputs) value.producers++;
    const node: TapeNode = {
      name: "segment",
      inputs,
      outputs: outputs.map(({ tensor }) => tensor),
      saves: () => inputs,
      backward: (_, gradients) => {
        const of = new Map(outputs.map(({ tensor }, at) => [tensor, gradients[at]]));
        this.#differentiateAgain(
          record,
          results.map((tensor) => of.get(tensor)),
        );
      },
    };
    this.#nodes.push({ node, wanted: [], outputs, held });
    return results;
  }

  /**
   * Records the backward pass from ∂loss/∂output = `gradient` to what is watched, and forgets the recording.
   * @throws Error when the output depends on nothing that is watched
   */
  backward(output: Tensor, gradient: Tensor): void {
    const value = this.#values.get(output.buffer);
    if (!(value?.gradient instanceof ActivationGradient)) {
      throw new Error(`${output.buffer.label}: nothing that is watched leads to it`);
    }
    this.#assign(value.gradient, output, gradient);
    this.#unwind(0);
    for (const [buffer, { gradient }] of this.#values) {
      if (!(gradient instanceof ParameterGradient)) this.#values.delete(buffer);
    }
  }

  /** Differentiates the nodes from the last to number `first`. */
  #unwind(first: number): void {
    while (this.#nodes.length > first) {
      const kept = this.#nodes.pop();
      if (kept === undefined) return;
      const { node, wanted, outputs, held } = kept;
      const gradients = outputs.map(({ tensor, value }) =>
        value.gradient instanceof ActivationGradient ? value.gradient.read(this.run, tensor) : undefined,
      );
      if (gradients.some((gradient) => gradient !== undefined)) {
        const target = (adds: boolean) => (input: Operand | undefined, at: number) =>
          (node.adds?.[at] === true) === adds
            ? input?.value?.gradient?.target(this.run, input.tensor, adds)
            : undefined;
        // What is added to first: where a matrix is another operand as well, that one's gradient is then no longer assigned.
        const added = wanted.map(target(true));
        const assigned = wanted.map(target(false));
        const targets = added.map((one, at) => one ?? assigned[at]);
        const into = targets.map((target) => target?.into);
        node.backward(this.run, gradients, into);
        for (const target of targets) target?.finish();
      }
      for (const { value } of outputs) {
        value.producers--;
        if (value.producers === 0 && value.gradient instanceof ActivationGradient) value.gradient.release(this.run);
      }
      this.#let(held);
    }
  }

  /** Records a segment for a second time, now keeping its nodes, and differentiates them. */
  #differentiateAgain(
    record: (recorder: Recorder) => readonly Tensor[],
    gradients: readonly (Tensor | undefined)[],
  ): void {
    const first = this.#nodes.length;
    const outputs = record(this);
    for (const [at, output] of outputs.entries()) {
      const gradient = gradients[at];
      if (gradient === undefined) continue;
      const value = this.#values.get(output.buffer);
      if (!(value?.gradient instanceof ActivationGradient)) throw new Error("a segment is not what it was before");
      this.#assign(value.gradient, output, gradient);
    }
    this.release(...outputs);
    this.#unwind(first);
  }

  #assign(to: ActivationGradient, output: Tensor, gradient: Tensor): void {
    const { into, finish } = to.target(this.run, output);
    recordCopy(this.run, gradient, into);
    finish();
  }

  #value(tensor: Tensor): Value {
    let value = this.#values.get(tensor.buffer);
    if (value === undefined) {
      value = { tensor, gradient: undefined, held: 0, producers: 0, released: false };
      this.#values.set(tensor.buffer, value);
    }
    return value;
  }

  /** Keeps the memory of these tensors until `#let`. */
  #hold(tensors: readonly Tensor[]): Value[] {
    const values = [...new Set(tensors.map((tensor) => this.#value(tensor)))];
    for (const value of values) value.held++;
    return values;
  }

  #let(values: readonly Value[]): void {
    for (const value of values) {
      value.held--;
      if (value.held === 0 && value.released) this.#free(value.tensor);
    }
  }

  #free(tensor: Tensor): void {
    this.#values.delete(tensor.buffer);
    this.run.release(tensor);
  }
}

/** The operands that are there, by name. */
function present<R extends Roles>(record: Of<R, Tensor>): [keyof R, Tensor][] {
  return Object.entries<Tensor | undefined>(record).filter(
    (entry): entry is [string, Tensor] => entry[1] !== undefined,
  );
}

function byName<R extends Roles>(
  names: readonly [keyof R, Tensor][],
  values: readonly (Tensor | undefined)[],
): Some<R, Tensor> {
  return Object.fromEntries(names.map(([name], at) => [name, values[at]])) as Some<R, Tensor>; // the roles' names
}
