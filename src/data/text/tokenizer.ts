import { Detokenizer, type DetokenizerOptions } from "./detokenizer.ts";
import { type AddedToken, TokenSplitter } from "./tokenizer/added-tokens.ts";
import { buildDecoder, type StageFactory } from "./tokenizer/decoder.ts";
import type { TokenizerConfig } from "../../files/read-text.ts";
import { buildModel, readTokenizerFile } from "./tokenizer/file.ts";
import { buildNormalizer, type Normalizer } from "./tokenizer/normalizer.ts";
import { explain } from "./tokenizer/part.ts";
import { buildPostProcessor, type PostProcessor } from "./tokenizer/post-processor.ts";
import { buildPreTokenizer, type PreTokenizer } from "./tokenizer/pre-tokenizer.ts";
import { LONG_PIECE, type TokenModel, Turn } from "./tokenizer/token-model.ts";
import { growing, marksOf, type PlainText, type Range, sectionsOf, tokenRanges } from "./tokenizer/token-ranges.ts";

/** An id that no token has. */
const NO_TOKEN = -1;

/** One that tokenizer_config.json names. */
export interface NamedToken {
  readonly id: number;
  readonly text: string;
}

/**
 * Text to token ids and back, as Hugging Face's `tokenizers` does it for the same tokenizer.json. (transformers 5
 * rebuilds some tokenizers from their class name and then departs from the file; the file is followed here.)
 *
 * @huggingface/tokenizers translates the regular expressions. The rest is ours: in its 0.2.0 ids differ from the
 * reference's for digits and white space outside ASCII, split behaviors, single-word tokens and templates, and it has no
 * streaming decoder.
 */
export class Tokenizer {
  /** Tokens that are looked for in the text itself, special or not, in the file's order. */
  readonly addedTokens: readonly AddedToken[];
  readonly bos: NamedToken | undefined;
  readonly eos: NamedToken | undefined;
  readonly pad: NamedToken | undefined;
  readonly unk: NamedToken | undefined;
  /** One more than the highest id: a model whose embedding has fewer rows does not fit. */
  readonly vocabSize: number;

  readonly #origin: string;
  readonly #idOf: Map<string, number>;
  readonly #tokenOf = new Map<number, string>();
  readonly #special: ReadonlySet<number>;
  readonly #model: TokenModel;
  readonly #normalize: Normalizer;
  readonly #cut: PreTokenizer;
  readonly #addSpecial: PostProcessor;
  readonly #decoder: StageFactory;
  readonly #raw: TokenSplitter;
  readonly #normalized: TokenSplitter;
  /** Are there control tokens that are looked for when the places in the text are no longer known? */
  readonly #hasNormalizedControls: boolean;

  /**
   * @param file the parsed tokenizer.json
   * @param config the parsed tokenizer_config.json
   * @param origin the file, for errors that a text brings to light
   * @throws {PartError} when a component is malformed or of an unsupported type
   */
  constructor(file: unknown, config: TokenizerConfig, origin = "tokenizer.json") {
    this.#origin = origin;
    const parts = readTokenizerFile(file);
    this.addedTokens = parts.added_tokens;
    this.#model = buildModel(parts.model);
    this.#normalize = buildNormalizer(parts.normalizer);
    this.#cut = buildPreTokenizer(parts.pre_tokenizer);
    this.#decoder = buildDecoder(parts.decoder);
    this.#raw = new TokenSplitter(this.addedTokens.filter((token) => !token.normalized));
    this.#normalized = new TokenSplitter(
      this.addedTokens.filter((token) => token.normalized),
      this.#normalize,
    );
    this.#hasNormalizedControls = this.addedTokens.some(({ normalized, special }) => normalized && special);
    this.#special = new Set(this.addedTokens.filter((token) => token.special).map((token) => token.id));
    this.#idOf = new Map(this.#model.ids);
    for (const { content, id } of this.addedTokens) this.#idOf.set(content, id);
    for (const [token, id] of this.#model.ids) this.#tokenOf.set(id, token);
    for (const { content, id, normalized } of this.addedTokens) {
      // As the reference has it: what is looked for in its normalized form is also written in it.
      this.#tokenOf.set(id, normalized ? this.#normalize(content) : content);
    }
    let size = 0;
    for (const id of this.#tokenOf.keys()) size = Math.max(size, id + 1);
    this.vocabSize = size;
    this.bos = this.#named(config.bos_token);
    this.eos = this.#named(config.eos_token);
    this.pad = this.#named(config.pad_token);
    this.unk = this.#named(config.unk_token);
    this.#addSpecial = this.#configured(config) ?? buildPostProcessor(parts.post_processor);
  }

  /** What this tokenizer begins a text with by itself (most often `bos`); undefined where it adds nothing. */
  get beginning(): number | undefined {
    const [first] = this.#addSpecial([NO_TOKEN]);
    return first === NO_TOKEN ? undefined : first;
  }

  /**
   * @param options.special add the special tokens that this tokenizer puts around a text (default); text that looks
   *   like a special token is one, either way
   * @returns the ids; lone surrogates count as U+FFFD
   */
  encode(text: string, { special = true }: { special?: boolean } = {}): number[] {
    const ids: number[] = [];
    for (const [i, section] of this.#raw.split(text.toWellFormed()).entries()) {
      if (typeof section === "number") ids.push(section);
      else this.#encodeSection(section, i === 0, ids);
    }
    return special ? [...this.#addSpecial(ids)] : ids;
  }

  /**
   * As `encode`, for a text of any length in a process that has other work: that has its turn every few milliseconds,
   * and a text of more than `most` ids is given up as soon as there are so many.
   * @param options.plain parts of the text in which control tokens are no more than text
   * @returns undefined: more than `most`
   */
  async encodeWithin(
    text: string,
    most: number,
    { special = true, plain = [] }: { special?: boolean; plain?: readonly Range[] } = {},
  ): Promise<number[] | undefined> {
    const ids: number[] = [];
    const turn = new Turn();
    for (const [i, section] of sectionsOf(this.#raw, text, plain, this.#hasNormalizedControls).entries()) {
      for (const piece of typeof section === "number" ? [section] : this.#pieces(section, i === 0)) {
        if (typeof piece === "number") ids.push(piece);
        else if (piece.length < LONG_PIECE) this.#model.encode(piece, ids);
        else if (ids.length + this.#model.atLeast(piece) > most) return undefined;
        else for (const _ of this.#model.encodeByPortions(piece, ids)) if (turn.isOver()) await turn.end();
        if (ids.length > most) return undefined;
        if (turn.isOver()) await turn.end();
      }
    }
    const whole = special ? [...this.#addSpecial(ids)] : ids;
    return whole.length > most ? undefined : whole;
  }

  /**
   * As `encode`, but without special tokens by default, and which tokens hold a part of one of `spans` (transformers'
   * `return_assistant_tokens_mask`), also where they straddle its end.
   *
   * @param spans parts of the text in UTF-16 units, which begin and end between characters: in order, disjoint
   * @returns as many marks as ids, 1 inside and 0 outside
   */
  encodeMarked(
    text: string,
    spans: readonly Range[],
    { special = false }: { special?: boolean } = {},
  ): { ids: number[]; marks: number[] } {
    const wellFormed = text.toWellFormed();
    const ids: number[] = [];
    const marks: number[] = [];
    let from = 0;
    for (const [i, { start, end, id }] of this.#raw.place(wellFormed).entries()) {
      while ((spans[from]?.end ?? Infinity) <= start) from++;
      let to = from;
      while ((spans[to]?.start ?? Infinity) < end) to++;
      if (id !== undefined) {
        ids.push(id);
        marks.push(to > from ? 1 : 0);
        continue;
      }
      const section = wellFormed.slice(start, end);
      const ranges: Range[] = [];
      this.#encodeSection(section, i === 0, ids, ranges);
      const place = growing((from, at) => this.#size(section.slice(from, at), i === 0 && from === 0));
      const placeOf = (at: number) => (at >= end ? Infinity : place(Math.max(at - start, 0)));
      const touching = spans.slice(from, to).map((span) => ({ start: placeOf(span.start), end: placeOf(span.end) }));
      for (const mark of marksOf(ranges, touching)) marks.push(mark);
    }
    if (!special) return { ids, marks };
    // Negative: places in the text, not ids around it.
    const placed = this.#addSpecial(ids.map((_, at) => -1 - at));
    return { ids: placed.map((id) => ids[-1 - id] ?? id), marks: placed.map((id) => marks[-1 - id] ?? 0) };
  }

  /** @param options.skipSpecial leave special tokens out; ids beyond the vocabulary are always left out */
  decode(ids: readonly number[], options: { skipSpecial?: boolean } = {}): string {
    const detokenizer = this.detokenizer(options);
    let text = "";
    for (const id of ids) text += detokenizer.push(id);
    return text + detokenizer.flush();
  }

  /** A decoder for ids that come one by one; its pieces add up to `decode` of all of them. */
  detokenizer({ skipSpecial = false }: DetokenizerOptions = {}): Detokenizer {
    const tokenOf = (id: number) => (skipSpecial && this.#special.has(id) ? undefined : this.#tokenOf.get(id));
    return new Detokenizer(tokenOf, this.#decoder, (error) => explain(error, this.#origin));
  }

  tokenToId(token: string): number | undefined {
    return this.#idOf.get(token);
  }

  /** The token as the vocabulary writes it (`Ġthe`), not its text. */
  idToToken(id: number): string | undefined {
    return this.#tokenOf.get(id);
  }

  /** Control tokens: begin, end, roles. */
  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  /** @param ranges gets the place of each token among the section's pieces, where it is wanted */
  #encodeSection(section: string, first: boolean, ids: number[], ranges?: Range[]): void {
    let place = 0;
    for (const piece of this.#pieces(section, first)) {
      const from = ids.length;
      if (typeof piece === "number") ids.push(piece);
      else this.#model.encode(piece, ids);
      if (ranges === undefined) continue;
      const text = this.#written(piece);
      const tokens = ids.slice(from).map((id) => this.#tokenOf.get(id) ?? "");
      for (const { start, end } of tokenRanges(text, tokens)) ranges.push({ start: place + start, end: place + end });
      place += text.length;
    }
  }

  /** Length of a section's pieces, all together. */
  #size(section: string, first: boolean): number {
    let size = 0;
    for (const piece of this.#pieces(section, first)) size += this.#written(piece).length;
    return size;
  }

  /** What the model is given of a section, piece by piece, and the ids of added tokens between. */
  *#pieces(section: string | PlainText, first: boolean): Generator<string | number> {
    try {
      const parts =
        typeof section === "string"
          ? this.#normalized.split(this.#normalize(section))
          : [this.#normalize(section.plain)];
      for (const [i, part] of parts.entries()) {
        if (typeof part === "number") yield part;
        else for (const piece of this.#cut(part, first && i === 0)) if (piece !== "") yield piece;
      }
    } catch (error) {
      throw explain(error, this.#origin);
    }
  }

  #written(piece: string | number): string {
    return typeof piece === "number" ? (this.#tokenOf.get(piece) ?? "") : piece;
  }

  #named(text: string | null): NamedToken | undefined {
    const id = text === null ? undefined : this.#idOf.get(text);
    return text === null || id === undefined ? undefined : { id, text };
  }

  /**
   * `add_bos_token` or `add_eos_token` in tokenizer_config.json replace the post-processor, as in transformers
   * (`TokenizersBackend.update_post_processor`).
   */
  #configured({ add_bos_token, add_eos_token }: TokenizerConfig): PostProcessor | undefined {
    if (add_bos_token === null && add_eos_token === null) return undefined;
    const before = add_bos_token === true && this.bos !== undefined ? [this.bos.id] : [];
    const after = add_eos_token === true && this.eos !== undefined ? [this.eos.id] : [];
    return (ids) => [...before, ...ids, ...after];
  }
}
