import { scaleLinear } from "d3-scale";
import type { CkaReport } from "./report.ts";
import type { Point } from "../../../terminal/charts/axes.ts";
import { PALETTE, svgChart } from "../../../terminal/charts/svg-chart.ts";
import { escape, round } from "../../../terminal/charts/svg.ts";

/** CKA by depth, as figure 4a of the RandLoRA paper: successive outputs of attention and MLP, one curve an adapter. */
export function ckaSvg({ reference, adapters, layers }: CkaReport): string {
  const curves = adapters.map((name, adapter) => ({
    name,
    color: PALETTE[adapter % PALETTE.length] ?? "",
    // By the number of the module, from 0: attention and MLP of each block in turn.
    points: layers.flatMap(({ values }, at): Point[] => {
      const value = values[adapter];
      return value !== undefined && Number.isFinite(value) ? [[at, value]] : [];
    }),
  }));
  const values = curves.flatMap(({ points }) => points.map(([, value]) => value));
  const y = scaleLinear([Math.min(0.99, ...values), Math.max(1, ...values)], [0, 1]).nice(6);
  const [from = 0, to = 1] = y.domain();
  const blocks = scaleLinear([0, Math.max(1, layers.length / 2 - 1)], [0, 1]);
  const axes = {
    x: {
      from: 0,
      to: Math.max(1, layers.length - 1),
      ticks: blocks
        .ticks(8)
        .filter((block) => Number.isInteger(block) && 2 * block < layers.length)
        .map((block) => 2 * block),
      format: (tick: number) => String(tick / 2),
    },
    y: { from, to, ticks: y.ticks(6), format: y.tickFormat(6) },
  };
  const legend = curves.map(({ name, color }) => ({ text: name, color }));
  const names = { x: "block: attention, MLP", y: `CKA with ${reference}` };
  return svgChart({ title: "similarity of representations", axes, names, legend }, (placeX, placeY, path) =>
    curves.flatMap(({ name, color, points }) => {
      const dots = points.map(([at, value]) => {
        const title = escape(`${name}, ${layers[at]?.name ?? ""}: ${value.toFixed(4)}`);
        return `<circle cx="${round(placeX(at))}" cy="${round(placeY(value))}" r="3" fill="${color}"><title>${title}</title></circle>`;
      });
      return [`<path d="${path(points)}" fill="none" stroke="${color}" stroke-width="2"/>`, ...dots];
    }),
  );
}
