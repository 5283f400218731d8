import { expect, test } from "bun:test";
import * as v from "valibot";
import { TemporaryFolder } from "../src/files/testing/folder.ts";
import { type MatValue, readMat } from "../src/data/images/formats/mat.ts";
import { readPickle } from "../src/data/images/formats/pickle.ts";
import { torchRandperm } from "../src/compute/random/randperm.ts";
import { pythonWithPeft, run } from "./environment.ts";

/** Random values as scipy writes them, the same in JSON; pickles of both protocols that are read; splits of torch. */
const SCRIPT = `
import json, pickle, random, sys
import numpy as np, torch
from scipy.io import savemat
draw = random.Random(4)
def value(depth):
    kind = draw.choice(["numbers", "text", "cells", "structs"] if depth < 3 else ["numbers", "text"])
    if kind == "numbers":
        dtype = draw.choice(["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
        shape = [draw.randrange(1, 4) for _ in range(draw.randrange(2, 5))]
        data = np.array([draw.randrange(0, 100) for _ in range(int(np.prod(shape)))], dtype=dtype).reshape(shape)
        return data, {"kind": kind, "dims": shape, "data": data.flatten(order="F").tolist()}
    if kind == "text":
        text = "".join(draw.choices("abc é_日1", k=draw.randrange(1, 9))).strip() or "x"
        return text, {"kind": kind, "text": text}
    if kind == "cells":
        items = [value(depth + 1) for _ in range(draw.randrange(1, 4))]
        cells = np.empty((1, len(items)), dtype=object)
        for i, (item, _) in enumerate(items): cells[0, i] = item
        return cells, {"kind": kind, "items": [told for _, told in items]}
    names = draw.sample(["a", "bee", "class", "fname"], draw.randrange(1, 4))
    rows = [{name: value(depth + 1) for name in names} for _ in range(draw.randrange(1, 4))]
    structs = np.empty((1, len(rows)), dtype=[(name, object) for name in names])
    for i, row in enumerate(rows): structs[0, i] = tuple(row[name][0] for name in names)
    return structs, {"kind": kind, "items": [{name: told for name, (_, told) in row.items()} for row in rows]}
mats = []
for i in range(60):
    variables = {f"v{k}": value(0) for k in range(3)}
    savemat(f"{sys.argv[1]}/{i}.mat", {k: data for k, (data, _) in variables.items()}, do_compression=bool(i % 2))
    mats.append({k: told for k, (_, told) in variables.items()})
plain = {"a": [1, 255, 256, -1, 2**31 - 1], "b": ["x", None, True, False], "c": {"d": 0.5, "e": ()}, "long": "y" * 300}
for protocol in (2, 3): open(f"{sys.argv[1]}/{protocol}.pickle", "wb").write(pickle.dumps(plain, protocol))
lengths = [draw.randrange(1, 3000) for _ in range(20)]
splits = []
for seed, n in enumerate(lengths):
    train = int(n * 0.8)
    parts = torch.utils.data.random_split(range(n), [train, n - train], generator=torch.Generator().manual_seed(seed))
    splits.append([list(part.indices) for part in parts])
json.dump({"mats": mats, "plain": plain, "splits": splits}, sys.stdout)
`;

const Answer = v.object({
  mats: v.array(v.record(v.string(), v.unknown())),
  plain: v.record(v.string(), v.unknown()),
  splits: v.array(v.tuple([v.array(v.number()), v.array(v.number())])),
});

/** As the script tells it: numbers of any dtype as a plain list. */
function told(value: MatValue): unknown {
  switch (value.kind) {
    case "numbers":
      return { ...value, data: Array.from(value.data) };
    case "text":
      return value;
    case "cells":
      return { ...value, items: value.items.map(told) };
    case "structs":
      return {
        ...value,
        items: value.items.map((item) =>
          Object.fromEntries(Object.entries(item).map(([key, inner]) => [key, told(inner)])),
        ),
      };
  }
}

/** Dictionaries as objects, however deep. */
function unmapped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unmapped);
  return value instanceof Map ? Object.fromEntries([...value].map(([key, inner]) => [key, unmapped(inner)])) : value;
}

test("MATLAB files are scipy's, pickles Python's, random splits torch's", async () => {
  await using folder = await TemporaryFolder.create();
  const answer = v.parse(Answer, JSON.parse(await run([await pythonWithPeft(), "-c", SCRIPT, folder.path])));
  const bytesOf = async (name: string) => new Uint8Array(await Bun.file(folder.at(name)).arrayBuffer());
  expect(answer.mats.length).toBe(60);
  for (const [i, expected] of answer.mats.entries()) {
    const variables = readMat(await bytesOf(`${i}.mat`), `${i}.mat`);
    expect(Object.fromEntries([...variables].map(([name, value]) => [name, told(value)]))).toEqual(expected);
  }
  for (const name of ["2.pickle", "3.pickle"])
    expect(unmapped(readPickle(await bytesOf(name), name))).toEqual(answer.plain);
  for (const [seed, [train, rest]] of answer.splits.entries()) {
    expect([...torchRandperm(train.length + rest.length, BigInt(seed))]).toEqual([...train, ...rest]);
  }
});
