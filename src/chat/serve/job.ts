import { isIPv6 } from "node:net";
import type { AdapterChoice } from "../../adapters/merge/merged-checkpoint.ts";
import type { ReplyOptions, ReplyPiece } from "../generation/reply.ts";

/** Who asks. */
export interface Client {
  /** Where the request comes from: what nobody can make up. */
  readonly network: string;
  /** What the request says of itself (OpenAI's `user`): tells people behind one address apart. */
  readonly user: string;
}

/**
 * The network that counts as one place: an IPv4 address, or the first 64 bits of an IPv6 one, since whoever has one of those
 * has all the addresses in it (RFC 6177).
 * @param address as the system writes it; IPv4 may stand within IPv6 (`::ffff:192.0.2.1`)
 */
export function networkOf(address: string): string {
  const mapped = /^::ffff:([\d.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [head = "", tail] = address.split("::").map((half) => half.split(":").filter((group) => group !== ""));
  const missing = tail === undefined ? 0 : 8 - head.length - tail.length;
  const groups = [...head, ...Array<string>(missing).fill("0"), ...(tail ?? [])];
  return groups.slice(0, 4).join(":");
}

/** A model that clients can name: the base, or the base with an adapter. */
export interface ServedModel {
  readonly id: string;
  /** None: the base. */
  readonly adapters: readonly AdapterChoice[];
  /** It was trained without the chat template: a chat continues its last message as it stands. */
  readonly raw: boolean;
  /**
   * The weights that it needs: the base's id, or where its adapters are merged into them a symbol of its own, as its id may be
   * given to another adapter later.
   */
  readonly weights: string | symbol;
}

/** Are a model's adapters merged into the weights, so that no other's rows may stand beside its own? */
export function isMerged({ weights }: ServedModel): boolean {
  return typeof weights === "symbol";
}

/** Something to compute of a prompt: by default a completion. */
export interface Job<Options = ReplyOptions> {
  /** Who asks; clients take turns. */
  readonly client: Client;
  readonly model: ServedModel;
  /** The whole prompt. */
  readonly ids: readonly number[];
  /** `signal` says that nobody wants the answer any more. */
  readonly options: Options & { readonly signal: AbortSignal };
}

/** What is told of a job: its place among those that wait, from 1, while that changes; 0 when its turn has come; then its text. */
export type JobPiece = ReplyPiece | number;
