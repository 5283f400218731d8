/** The least that a system gives a process. */
export const SYSTEM_PAGE = 4096;

/** Pages of memories that have been written, each counted once however often that was. */
export class WrittenPages {
  /** By memory: 1 for each page that is one of them. */
  readonly #pages = new Map<number, Uint8Array>();
  #count = 0;

  get bytes(): number {
    return this.#count * SYSTEM_PAGE;
  }

  add(memory: number, at: number, size: number): void {
    if (size === 0) return;
    const end = Math.ceil((at + size) / SYSTEM_PAGE);
    const known = this.#pages.get(memory) ?? new Uint8Array();
    const pages = known.length < end ? new Uint8Array(Math.max(end, 2 * known.length)) : known;
    if (pages !== known) pages.set(known);
    this.#pages.set(memory, pages);
    for (let page = Math.floor(at / SYSTEM_PAGE); page < end; page++) {
      if (pages[page] === 0) this.#count++;
      pages[page] = 1;
    }
  }
}
