import * as v from "valibot";
import { RandloraError } from "../../../files/errors.ts";
import { brief, oneLine } from "../../../files/failure.ts";
import { readJson } from "../../../files/read-whole.ts";
import { GrowingFile, type GrowingOptions } from "../../../files/growing-file.ts";
import { type PlaneReport, planeJson } from "./report.ts";

/** A million points, the most there are, have some 30 MB. */
const MOST_BYTES = 2 ** 26;
/** Milliseconds between two writes of the file, which is written whole. */
const SAVE_EVERY = 250;
const HINT = "name the file of the same plane, or begin a new one: --force replaces it";

/** What a plane is measured of, and where. */
export interface PlaneRequest extends Pick<PlaneReport, "x" | "y" | "samples" | "tokens"> {
  /** What was asked for, by flags' names: the points of a file belong to no other. */
  readonly settings: Readonly<Record<string, unknown>>;
}

type Corners = readonly [number, number, number];

const Loss = v.nullable(v.number());
const Stored = v.looseObject({
  settings: v.record(v.string(), v.unknown()),
  loss: v.array(v.array(Loss)),
  corners: v.strictObject({ A: Loss, B: Loss, C: Loss }),
  samples: v.number(),
  tokens: v.optional(v.number()),
});

/**
 * The points of a plane so far, row by row, as a file: what `--json` says, and what was asked for. It is whole at every
 * moment, a little behind; its last bytes do not depend on how often the work was interrupted.
 */
export class PlaneFile implements AsyncDisposable {
  readonly #file: GrowingFile;
  readonly #request: PlaneRequest;
  readonly #losses: number[];
  #corners: Corners | undefined;
  #savedAt = -Infinity;

  private constructor(
    file: GrowingFile,
    request: PlaneRequest,
    losses: readonly number[],
    corners: Corners | undefined,
  ) {
    this.#file = file;
    this.#request = request;
    this.#losses = [...losses];
    this.#corners = corners;
  }

  /**
   * Begins a file, or goes on with one.
   * @throws RandloraError as `GrowingFile.open`; `format` for one that is none; `usage` for one that was begun with other
   *   settings, `data` with other samples
   */
  static async open(path: string, request: PlaneRequest, options: GrowingOptions): Promise<PlaneFile> {
    const file = await GrowingFile.open(path, options);
    try {
      const known = file.begun === undefined ? undefined : await readPoints(file.begun, request);
      return new PlaneFile(file, request, known?.losses ?? [], known?.corners);
    } catch (thrown) {
      await file[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  /** Where points are written until {@link finish}. */
  get path(): string {
    return this.#file.path;
  }

  /** What is known already, row by row; NaN where a loss overflowed. */
  get losses(): readonly number[] {
    return this.#losses;
  }

  /**
   * Takes the corners' losses, which tell whether the points that are known are of the same weights, samples and device.
   * @throws RandloraError `data` if they are not
   */
  setCorners(corners: Corners): void {
    const had = this.#corners;
    if (had !== undefined && this.#losses.length > 0 && !Bun.deepEquals(had, corners)) {
      const cause = `its corners have losses of ${had.join(", ")}, and now ${corners.join(", ")}`;
      throw new RandloraError(
        "data",
        `${oneLine(this.path)}: ${cause}`,
        `models, samples or device are others; ${HINT}`,
      );
    }
    this.#corners = corners;
  }

  /** Takes the next point; writes the file now and then. @throws RandloraError `file` */
  async add(loss: number): Promise<void> {
    this.#losses.push(loss);
    if (performance.now() - this.#savedAt >= SAVE_EVERY) await this.save();
  }

  /** @throws RandloraError `file` */
  async save(): Promise<void> {
    const { settings, ...of } = this.#request;
    const report = {
      ...of,
      loss: rowsOf(this.#losses, of.x.length),
      corners: this.#corners ?? ([NaN, NaN, NaN] as const),
    };
    await this.#file.save(`${JSON.stringify({ settings, ...planeJson(report) }, undefined, 1)}\n`);
    this.#savedAt = performance.now();
  }

  /** All points are there. @throws RandloraError `file` */
  async finish(): Promise<void> {
    await this.#file.finish();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file[Symbol.asyncDispose]();
  }
}

/** Losses row by row as rows, the last of which may be shorter. */
export function rowsOf(losses: readonly number[], width: number): number[][] {
  return Array.from({ length: Math.ceil(losses.length / width) }, (_, row) =>
    losses.slice(row * width, (row + 1) * width),
  );
}

async function readPoints(path: string, request: PlaneRequest): Promise<{ losses: number[]; corners: Corners }> {
  const name = oneLine(path);
  const parsed = v.safeParse(Stored, await readJson(path, MOST_BYTES, HINT));
  if (!parsed.success) {
    const [issue] = parsed.issues;
    const cause = `${v.getDotPath(issue) ?? "it"}: ${brief(issue.message)}`;
    throw new RandloraError("format", `${name}: not the points of a plane: ${cause}`, HINT);
  }
  const { settings, loss, corners, samples, tokens } = parsed.output;
  for (const [flag, wanted] of Object.entries(request.settings)) {
    if (Bun.deepEquals(settings[flag], wanted)) continue;
    const [now, had] = [wanted, settings[flag]].map((value) => brief(JSON.stringify(value) ?? "nothing"));
    const cause = `${flag} ${now}: its points are of another plane, which had ${had}`;
    throw new RandloraError("usage", `${name}: ${cause}`, HINT);
  }
  if (samples !== request.samples || tokens !== request.tokens) {
    throw new RandloraError(
      "data",
      `${name}: its points are of ${samples} samples, and there are ${request.samples}`,
      HINT,
    );
  }
  const losses = loss.flat().map((value) => value ?? NaN);
  const isInRows = Bun.deepEquals(
    rowsOf(losses, request.x.length).map(({ length }) => length),
    loss.map(({ length }) => length),
  );
  if (!isInRows || losses.length > request.x.length * request.y.length) {
    throw new RandloraError("format", `${name}: not the points of a plane: rows of other lengths`, HINT);
  }
  return { losses, corners: [corners.A ?? NaN, corners.B ?? NaN, corners.C ?? NaN] };
}
