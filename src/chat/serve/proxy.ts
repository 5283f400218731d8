import { BlockList, isIP } from "node:net";
import { RandloraError } from "../../files/errors.ts";

/** Proxies of one request at most: who sends more is not answered by any of them. */
const MOST_HOPS = 32;

/** Addresses of proxies that say truly where a request comes from: `--trusted-proxy`. */
export class TrustedProxies {
  readonly #list = new BlockList();
  readonly #isEmpty: boolean;

  /** @param texts addresses, or networks as 10.0.0.0/8. @throws RandloraError `usage` */
  constructor(texts: readonly string[]) {
    this.#isEmpty = texts.length === 0;
    for (const text of texts) {
      const [address = "", bits, ...more] = text.split("/");
      const kind = isIP(address);
      const length = kind === 4 ? 32 : 128;
      const prefix = bits === undefined ? length : /^\d{1,3}$/.test(bits) ? Number(bits) : -1;
      if (kind === 0 || more.length > 0 || prefix < 0 || prefix > length) {
        const hint = "name an address, or a network such as 10.0.0.0/8";
        throw new RandloraError("usage", `--trusted-proxy ${text}: this is no address`, hint);
      }
      this.#list.addSubnet(address, prefix, kind === 4 ? "ipv4" : "ipv6");
    }
  }

  /**
   * Where a request comes from: the peer, or where a trusted peer says that it got it from (Forwarded, RFC 7239, or
   * X-Forwarded-For), up to the first address on the way back that is not trusted. Where both headers are there and disagree it is the
   * proxy: one of them may be the client's own, so a proxy should remove the one that it does not write.
   */
  clientOf(peer: string, headers: Headers): string {
    if (this.#isEmpty || !this.#isTrusted(peer)) return peer;
    const [first = peer, ...others] = hopsOf(headers).map((hops) => this.#behind(peer, hops));
    // A proxy writes one of the headers, and passes on what a client wrote into the other: neither can be told from that.
    return others.every((other) => other === first) ? first : peer;
  }

  #behind(peer: string, hops: readonly string[]): string {
    let client = peer;
    for (const hop of hops.toReversed()) {
      // What is no address (`unknown`, a made-up name) tells nobody apart.
      if (isIP(hop) === 0) return client;
      client = hop;
      if (!this.#isTrusted(hop)) return client;
    }
    return client;
  }

  #isTrusted(address: string): boolean {
    const plain = /^::ffff:([\d.]+)$/i.exec(address)?.[1] ?? address;
    const kind = isIP(plain);
    return kind !== 0 && this.#list.check(plain, kind === 4 ? "ipv4" : "ipv6");
  }
}

/** The addresses that a request was passed on from, the client's first, as each header has them that is there. */
function hopsOf(headers: Headers): readonly (readonly string[])[] {
  const parts = (name: string): string[] | undefined => headers.get(name)?.split(",").slice(-MOST_HOPS);
  const forwarded = parts("forwarded")?.map((part) => /(?:^|;)\s*for\s*=\s*"?([^";,]*)"?/i.exec(part)?.[1] ?? "");
  const plain = parts("x-forwarded-for")?.filter((part) => part.trim() !== "");
  return [forwarded, plain].filter((hops) => hops !== undefined).map((hops) => hops.map(withoutPort));
}

/** `[2001:db8::1]:4711` and `192.0.2.1:4711` without the port. */
function withoutPort(text: string): string {
  const hop = text.trim();
  return /^\[([^\]]*)\]/.exec(hop)?.[1] ?? /^([\d.]+):\d+$/.exec(hop)?.[1] ?? hop;
}
