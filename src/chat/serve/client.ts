import { isIPv6 } from "node:net";

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
