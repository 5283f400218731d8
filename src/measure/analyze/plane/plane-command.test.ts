import { expect, test } from "bun:test";
import { ALONE } from "../../../mpi/processes.ts";
import { together } from "../../../mpi/testing/together.ts";
import { measurePlane } from "./plane-command.ts";

const PLACES = { x: [0, 0.25, 0.5, 0.75], y: [0, 0.5, 1] };
const lossAt = async (x: number, y: number) => (x === 0.75 && y === 1 ? Infinity : x + 10 * y);

test("any number of processes measures each point once, to the losses of one", async () => {
  const rows: number[] = [];
  const whole = await measurePlane(lossAt, PLACES, undefined, (row) => rows.push(row), ALONE);
  expect(whole).toEqual({
    corners: [0, 10.5, 1],
    loss: [
      [0, 0.25, 0.5, 0.75],
      [5, 5.25, 5.5, 5.75],
      [10, 10.25, 10.5, NaN],
    ],
  });
  expect(rows).toEqual([0, 1, 2]);
  for (const size of [2, 3, 5]) {
    let measured = 0;
    const counted = (x: number, y: number) => (measured++, lossAt(x, y));
    const all = together(size).map((processes) => measurePlane(counted, PLACES, undefined, () => {}, processes));
    for (const plane of await Promise.all(all)) expect(plane).toEqual(whole);
    expect(measured).toBe(12 + 3);
  }
});
