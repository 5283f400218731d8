import { RandloraError } from "../../../files/errors.ts";
import { latin1, viewOf } from "./bytes.ts";

/** What a pickle holds. Nothing of it is run: an object is its type's name, its arguments and its state. */
export type Pickled =
  | null
  | boolean
  | number
  | string
  | Uint8Array
  | readonly Pickled[]
  | ReadonlyMap<string, Pickled>
  | PickledType
  | PickledObject;

export class PickledType {
  constructor(readonly name: string) {}
}

export class PickledObject {
  state: Pickled = null;
  constructor(
    readonly type: string,
    readonly args: readonly Pickled[],
  ) {}
}

const MARK = Symbol("mark");
type Entry = Pickled | typeof MARK;

/**
 * Reads a pickle of plain data, protocol 0x80 2 to 3, as CIFAR's batches are: numbers, texts, bytes, lists, tuples,
 * dictionaries with text keys, and objects such as NumPy's arrays, described and not made.
 *
 * @param name of the file, fit to be printed
 * @throws {RandloraError} `format` for anything else
 */
export function readPickle(bytes: Uint8Array, name: string): Pickled {
  const fail = (problem: string): never => {
    throw new RandloraError("format", `${name}: not a pickle that can be read: ${problem}`, "fetch the set again");
  };
  const view = viewOf(bytes);
  const stack: Entry[] = [];
  const memo = new Map<number, Entry>();
  let at = 0;
  const take = (length: number): Uint8Array => {
    if (!(length >= 0 && at + length <= bytes.length)) fail("it is cut short");
    at += length;
    return bytes.subarray(at - length, at);
  };
  const u8 = () => take(1)[0] as number;
  const u32 = () => viewOf(take(4)).getUint32(0, true);
  const line = () => {
    const end = bytes.indexOf(0x0a, at);
    if (end < 0) fail("it is cut short");
    const text = latin1(take(end - at));
    at++;
    return text;
  };
  const pop = (): Entry => (stack.length === 0 ? fail("nothing to take") : (stack.pop() as Entry));
  const value = (): Pickled => {
    const entry = pop();
    return entry === MARK ? fail("nothing to take") : entry;
  };
  const sinceMark = (): Pickled[] => {
    const start = stack.findLastIndex((entry) => entry === MARK);
    if (start < 0) return fail("no mark");
    const values = stack.splice(start).slice(1);
    return values as Pickled[];
  };
  const list = (): Pickled[] => {
    const top = stack.at(-1);
    return Array.isArray(top) ? top : fail("no list to add to");
  };
  const put = (values: readonly Pickled[]) => {
    const top = stack.at(-1);
    if (!(top instanceof Map)) return fail("no dictionary to add to");
    for (let i = 0; i + 1 < values.length; i += 2) {
      const key = values[i] as Pickled;
      const text = key instanceof Uint8Array ? latin1(key) : key;
      if (typeof text !== "string") return fail("a key is no text");
      top.set(text, values[i + 1] as Pickled);
    }
  };
  const tuple = (length: number) => {
    const values = Array.from({ length }, value);
    stack.push(values.toReversed());
  };
  let encoded = 0;
  const reduce = () => {
    const args = value();
    const type = value();
    if (!(type instanceof PickledType) || !Array.isArray(args)) return fail("an object without a type");
    const [text, encoding] = args as readonly Pickled[];
    // How Python 3 writes bytes for Python 2.
    const isBytes = type.name === "_codecs.encode" && encoding === "latin1" && typeof text === "string";
    if (!isBytes) return stack.push(new PickledObject(type.name, args));
    // A text that is remembered could become bytes again and again.
    encoded += text.length;
    if (encoded > bytes.length) return fail("more bytes than are in it");
    return stack.push(Buffer.from(text, "latin1"));
  };
  for (;;) {
    const code = u8();
    switch (String.fromCharCode(code)) {
      case "\x80":
        if (u8() > 3) fail("its protocol is too new");
        break;
      case ".":
        return value();
      case "(":
        stack.push(MARK);
        break;
      case "N":
        stack.push(null);
        break;
      case "\x88":
      case "\x89":
        stack.push(code === 0x88);
        break;
      case "K":
        stack.push(u8());
        break;
      case "M":
        stack.push(viewOf(take(2)).getUint16(0, true));
        break;
      case "J":
        stack.push(viewOf(take(4)).getInt32(0, true));
        break;
      case "G":
        stack.push(view.getFloat64((take(8), at - 8)));
        break;
      case "U":
      case "C":
        stack.push(take(u8()));
        break;
      case "T":
      case "B":
        stack.push(take(u32()));
        break;
      case "X":
        stack.push(new TextDecoder().decode(take(u32())));
        break;
      case "}":
        stack.push(new Map());
        break;
      case "]":
        stack.push([]);
        break;
      case ")":
        stack.push([]);
        break;
      case "a": {
        const item = value();
        list().push(item);
        break;
      }
      case "e": {
        const items = sinceMark();
        for (const item of items) list().push(item);
        break;
      }
      case "s": {
        const item = value();
        put([value(), item]);
        break;
      }
      case "u":
        put(sinceMark());
        break;
      case "t":
        stack.push(sinceMark());
        break;
      case "\x85":
      case "\x86":
      case "\x87":
        tuple(code - 0x84);
        break;
      case "c":
        stack.push(new PickledType(`${line()}.${line()}`));
        break;
      case "R":
        reduce();
        break;
      case "b": {
        const state = value();
        const object = stack.at(-1);
        if (!(object instanceof PickledObject)) return fail("nothing to build");
        object.state = state;
        break;
      }
      case "q":
        memo.set(u8(), stack.at(-1) ?? fail("nothing to remember"));
        break;
      case "r":
        memo.set(u32(), stack.at(-1) ?? fail("nothing to remember"));
        break;
      case "h":
      case "j": {
        const entry = memo.get(code === 0x68 ? u8() : u32());
        if (entry === undefined) return fail("nothing was remembered");
        stack.push(entry);
        break;
      }
      default:
        return fail(`an unknown instruction, 0x${code.toString(16)}`);
    }
  }
}
