import type { UnmergedAdapters } from "../../adapters/merge/in-memory/beside.ts";
import type { GeneratorName } from "../../compute/random/names.ts";
import type { AdapterLinears } from "../../models/blocks/linears.ts";
import { BASE_ROWS } from "../../models/blocks/row-linears.ts";
import { isMemory } from "../../files/errors.ts";
import type { LanguageModel } from "../language-model.ts";
import { isMerged, type ServedModel } from "./job.ts";

export interface PlacedAdaptersOptions {
  /** `--generator`. */
  readonly generator?: GeneratorName | undefined;
  /** Adapters that are held in the device's memory at most; 0: all of them are merged. */
  readonly most: number;
  /** Does an adapter have rows to go through it? Such a one does not give way. */
  readonly isUsed: (adapter: AdapterLinears) => boolean;
}

/** What the rows of a model go through beside the weights; undefined: nothing. */
export interface Rows {
  readonly adapter: AdapterLinears | undefined;
}

/**
 * What of models is in the device's memory: the base's weights, or those with merged adapters, and adapters beside them, of which the one that
 * was asked for longest ago gives way.
 */
export class PlacedAdapters {
  readonly #model: LanguageModel;
  readonly #options: PlacedAdaptersOptions;
  /** The one asked for last is the last. */
  readonly #placed = new Map<ServedModel, UnmergedAdapters>();
  #placing: Promise<void> | undefined;
  #resident: string | symbol | undefined;

  constructor(model: LanguageModel, options: PlacedAdaptersOptions) {
    this.#model = model;
    this.#options = options;
  }

  /** The weights that are in place; undefined after a switch that failed, and before the first. */
  get resident(): string | symbol | undefined {
    return this.#resident;
  }

  /**
   * Makes a model's weights those in place. That is never given up half-way: the next time would have to begin with putting the weights back.
   * Waits for an adapter that is on its way: it would be written to the device meanwhile.
   * @param onChange told before they change
   * @throws RandloraError as `LanguageModel.setAdapters`
   */
  async makeResident(model: ServedModel, onChange: () => void): Promise<void> {
    await this.#placing?.catch(() => {}); // whoever began it is told
    if (this.#resident === model.weights) return;
    this.#resident = undefined;
    onChange();
    const merged = isMerged(model) ? model.adapters : [];
    await this.#model.setAdapters(merged, { generator: this.#options.generator });
    this.#resident = model.weights;
  }

  /** Places the adapters of the first models, as far as there is room. @returns their rows, the base's first */
  async placeFirst([base, ...others]: readonly ServedModel[]): Promise<readonly (Rows | undefined)[]> {
    const placed = others.filter((model) => !isMerged(model)).slice(0, this.#options.most);
    for (const model of placed) {
      try {
        await this.place(model);
      } catch (thrown) {
        // It is tried again when somebody asks for it, and others may give way.
        if (isMemory(thrown)) break;
        throw thrown;
      }
    }
    const rows = placed.map((model) => this.rowsOf(model)).filter((one) => one !== undefined);
    return [base && this.rowsOf(base), ...rows];
  }

  /** Is one on its way to the device? */
  get isPlacing(): boolean {
    return this.#placing !== undefined;
  }

  /** Has a model's adapter been placed, or could it be: is there room, or an adapter without rows that gives way? */
  mayPlace(model: ServedModel): boolean {
    const { most, isUsed } = this.#options;
    if (most === 0 || isMerged(model) || model.adapters.length === 0 || this.#placed.has(model)) return true;
    return this.#placed.size < most || [...this.#placed.values()].some(({ over }) => !isUsed(over));
  }

  /** What a model's rows go through; undefined: its adapter has not been placed, or has given way. */
  rowsOf(model: ServedModel): Rows | undefined {
    if (this.#options.most === 0 || isMerged(model)) return { adapter: undefined };
    if (model.adapters.length === 0) return { adapter: BASE_ROWS };
    const found = this.#placed.get(model);
    if (found === undefined) return undefined;
    this.#placed.delete(model);
    this.#placed.set(model, found);
    return { adapter: found.over };
  }

  /**
   * Places a model's adapter where there is room: not where all of those that are placed have rows that go through them. Where one is on
   * its way already, waits for that one instead.
   * @throws RandloraError as `LanguageModel.placeBeside`
   */
  async place(model: ServedModel): Promise<void> {
    if (this.#placing !== undefined) return void (await this.#placing.catch(() => {})); // whoever began it is told
    this.#placing = this.#place(model).finally(() => (this.#placing = undefined));
    await this.#placing;
  }

  /** Says that nobody will ask for a model again: it is the next to give way. */
  forget(model: ServedModel): void {
    const found = this.#placed.get(model);
    if (found === undefined) return;
    const others = [...this.#placed].filter(([other]) => other !== model);
    this.#placed.clear();
    for (const [one, placed] of [[model, found] as const, ...others]) this.#placed.set(one, placed);
  }

  /** Gives back all of them, which no rows may go through any more; the weights may be others. */
  async clear(): Promise<void> {
    await this.#placing?.catch(() => {}); // whoever began it is told
    this.#dropTo(0, () => false);
    this.#resident = undefined;
  }

  async #place(model: ServedModel): Promise<void> {
    const { generator, most, isUsed } = this.#options;
    const place = async () => {
      this.#placed.set(model, await this.#model.placeBeside(model.adapters, { generator }));
    };
    // What was sent to the device may still read what gives way.
    if (this.#placed.size >= most) await this.#model.gpu.idle();
    this.#dropTo(most - 1, isUsed);
    if (this.#placed.size >= most) return;
    try {
      await place();
    } catch (thrown) {
      if (!isMemory(thrown)) throw thrown;
      await this.#model.gpu.idle();
      this.#dropTo(0, isUsed);
      await place();
    }
  }

  /** Gives back what has no rows, from the one that was asked for longest ago on, until there are so many. */
  #dropTo(most: number, isUsed: (adapter: AdapterLinears) => boolean): void {
    for (const [model, placed] of this.#placed) {
      if (this.#placed.size <= most) return;
      if (isUsed(placed.over)) continue;
      this.#placed.delete(model);
      placed[Symbol.dispose]();
    }
  }
}
