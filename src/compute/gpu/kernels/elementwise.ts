import { plain } from "../../rows/functions.ts";
import { gatedActivation } from "../../rows/gates.ts";
import { type Node, reached, type RowKernel } from "../../rows/language.ts";
import { kernelFamily } from "./family.ts";
import { type GpuKernel, type UniformMembers, uniformStruct } from "./parameters.ts";

/** Vectors of 4 elements that one workgroup handles. */
export const ELEMENTWISE_WIDTH = 64;
/** Threads of a workgroup, where it handles a segment of a row. */
const THREADS = 128;

const ofBits = (operator: string) => (x: string, bits: string) =>
  `bitcast<vec4<f32>>(bitcast<vec4<u32>>(${x}) ${operator} ${bits})`;

const OPERATIONS: Readonly<Record<string, (...args: readonly string[]) => string>> = {
  add: (a, b) => `${a} + ${b}`,
  sub: (a, b) => `${a} - ${b}`,
  mul: (a, b) => `${a} * ${b}`,
  div: (a, b) => `${a} / ${b}`,
  min: (a, b) => `min(${a}, ${b})`,
  max: (a, b) => `max(${a}, ${b})`,
  abs: (x) => `abs(${x})`,
  root: (x) => `sqrt(${x})`,
  within: (x) => `select(vec4<f32>(0), ${x}, inside)`,
  exp: (x) => `exp(${x})`,
  tanh: (x) => `safe_tanh(${x})`,
  unless: (x, a, b) => `select(${x}, vec4<f32>(0), ${a} < ${b})`,
  and: ofBits("&"),
  or: (a, b) => ofBits("|")(a, `bitcast<vec4<u32>>(${b})`),
};

/** What WGSL has by itself stays. */
const lowered = (roots: readonly Node[]): Node[] => plain(roots, (op) => op in OPERATIONS);

/** A graph in WGSL: a line for each of its numbers that has no name, and what its roots are called. */
function written(values: readonly Node[], loaded: (operand: string) => string, known = new Map<Node, string>()) {
  const names = new Map(known);
  const lines: string[] = [];
  for (const node of reached(values, new Set(known.keys()))) {
    const { op, args, data } = node;
    if (names.has(node)) continue;
    if (op === "number") names.set(node, `vec4<f32>(${Object.is(data, -0) ? "-0.0" : data})`);
    else if (op === "bits") names.set(node, `vec4<u32>(${data}u)`);
    else if (op === "parameter") names.set(node, `vec4<f32>(p.${data})`);
    else {
      const write = op === "load" ? () => loaded(String(data)) : OPERATIONS[op];
      if (write === undefined) throw new Error(`there is no WGSL for ${op}`);
      const name = `v${names.size}`;
      lines.push(`  let ${name} = ${write(...args.map((arg) => names.get(arg) ?? ""))};`);
      names.set(node, name);
    }
  }
  return { lines, names, values: values.map((value) => names.get(value) ?? "") };
}

/** A row kernel as a GPU computes it. */
interface GpuRows {
  readonly kernel: GpuKernel<UniformMembers>;
  /** In the order of its bindings. */
  readonly operands: readonly string[];
}

const known = new Map<string, GpuRows>();

/**
 * The kernel of some targets of a row kernel.
 * @param inOne they are regions of one buffer, which the last binding is
 */
export function elementwiseKernel(rows: RowKernel, targets: readonly string[], inOne: boolean): GpuRows {
  const key = [rows.name, ...targets, ...(inOne ? ["in one"] : [])].join("/");
  const made = known.get(key) ?? write(rows, key, targets, inOne);
  known.set(key, made);
  return made;
}

function write(rows: RowKernel, key: string, targets: readonly string[], inOne: boolean): GpuRows {
  const nodes = lowered(targets.flatMap((target) => rows.targets[target] ?? []));
  const [result = ""] = targets;
  const read = rows.reads.filter((operand) => !targets.includes(operand));
  const bound = [...read, ...(inOne ? [result] : targets)];
  const operands = [...read, ...targets];
  const bindings = bound.map(
    (operand, at) =>
      `@group(0) @binding(${at + 1}) var<storage, ${read.includes(operand) ? "read" : "read_write"}> ${operand}: array<vec4<f32>>;`,
  );
  const rowOf = (operand: string) =>
    rows.shared.includes(operand)
      ? "0u"
      : rows.sums
        ? `row.x * p.${operand}_pitch + row.y * p.width`
        : `row * p.${operand}_pitch`;
  const places = operands.map((operand) => `  let ${operand}_row = p.${operand}_at + ${rowOf(operand)};`);
  const loaded = (operand: string) => `${operand}[${operand}_row + c]`;
  const stores = (values: readonly string[]) =>
    targets.map((target, at) => `${inOne ? result : target}[${target}_row + c] = ${values[at]};`);
  const text = `#include parameters

@group(0) @binding(0) var<uniform> p: Parameters;
${bindings.join("\n")}

#include safe_tanh
${rows.sums ? ofSegments(nodes, places, loaded, stores) : ofVectors(nodes, places, loaded, stores)}`;
  const parameters = uniformStruct<UniformMembers>({
    width: "u32", // vectors of 4 in a segment
    segments: "u32", // of a row
    ...Object.fromEntries(operands.map((operand) => [operand, "vectors"] as const)),
    ...Object.fromEntries(rows.parameters.map((parameter) => [parameter, "f32"] as const)),
  });
  return { kernel: kernelFamily(key, text, parameters)(rows.sums ? { THREADS } : {}), operands };
}

type Loaded = (operand: string) => string;
type Stores = (values: readonly string[]) => readonly string[];

/** One thread handles one vector of 4. */
function ofVectors(nodes: readonly Node[], places: readonly string[], loaded: Loaded, stores: Stores): string {
  const { lines, values } = written(nodes, loaded);
  return `
@compute @workgroup_size(${ELEMENTWISE_WIDTH})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= p.width * p.segments) {
    return;
  }
  let row = id.y;
  let c = id.x;
${[...places, ...lines, ...stores(values)].join("\n")}
}
`;
}

/** One workgroup handles a segment of a row: every thread adds up few terms, and reductions are trees. */
function ofSegments(nodes: readonly Node[], places: readonly string[], loaded: Loaded, stores: Stores): string {
  let names = new Map<Node, string>();
  const all = [...reached(nodes)];
  const text = [...places];
  const columns = (values: readonly Node[], then: (values: readonly string[]) => readonly string[]): void => {
    const { lines, values: found } = written(values, loaded, names);
    text.push("for (var c = thread; c < p.width; c += THREADS) {");
    if ([...reached(values)].some(({ op }) => op === "within")) {
      text.push("let inside = vec4<f32>(f32(c * 4u)) + vec4<f32>(0.0, 1.0, 2.0, 3.0) < vec4<f32>(p.columns);");
    }
    text.push(...lines, ...then(found), "}");
  };
  const depth = Math.max(...nodes.map(({ level }) => level));
  for (let level = 1; level <= depth; level++) {
    const sums = all.filter((node) => node.op === "sum" && node.level === level);
    const namesOf = sums.map((_, at) => `sum_${level}_${at}`);
    text.push(...namesOf.map((name) => `var ${name} = vec4<f32>(0.0);`));
    columns(
      sums.flatMap(({ args }) => args),
      (values) => namesOf.map((name, at) => `${name} += ${values[at]};`),
    );
    for (const [at, name] of namesOf.entries()) {
      const node = sums[at];
      if (node === undefined) continue;
      text.push(`let ${name}_of_all = vec4<f32>(sum_of_all(dot(${name}, vec4<f32>(1.0)), thread));`);
      names.set(node, `${name}_of_all`);
    }
    const scalars = written(
      all.filter((node) => !node.isEach && node.level === level),
      loaded,
      names,
    );
    text.push(...scalars.lines);
    names = scalars.names;
  }
  columns(nodes, stores);
  return `
#include reduce

const THREADS = \${THREADS}u;

@compute @workgroup_size(\${THREADS})
fn main(@builtin(workgroup_id) row: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
${text.join("\n")}
}
`;
}

/** Gates by their numbers, as other kernels gate what they compute. */
export function gates(): string {
  const { kinds = [] } = gatedActivation;
  const cases = kinds.map((kind, at) => {
    const { lines, values } = written(
      lowered(Object.values(gatedActivation.kernel(kind).targets)),
      (operand) => operand,
    );
    return `${at === 0 ? "default" : `case ${at}u`}: {\n${lines.join("\n")}\n  return ${values[0]};\n}`;
  });
  return `#include safe_tanh\nfn gated(kind: u32, gate: vec4<f32>, up: vec4<f32>) -> vec4<f32> {\nswitch kind {\n${cases.join("\n")}\n}\n}`;
}
