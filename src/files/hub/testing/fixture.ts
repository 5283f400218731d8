import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HubFailure } from "../failure.ts";
import type { HubSettings } from "../settings.ts";
import { etagOf, type FakeFiles } from "./content.ts";
import { FakeHub, type FakeRepository } from "./hub-server.ts";

/** Bytes that differ everywhere, so that a shifted or repeated part is noticed. */
export function randomBytes(length: number, seed: number): Uint8Array {
  let state = seed * 2654435761 + 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state >>> 24;
  });
}

/** A model with everything that real repositories have beside what is needed. */
export const MODEL_FILES = {
  ".gitattributes": "*.safetensors filter=lfs\n",
  "README.md": "# A model\n",
  "config.json": '{"model_type": "llama"}\n',
  "generation_config.json": '{"eos_token_id": 2}\n',
  "tokenizer.json": randomBytes(20_000, 2),
  "tokenizer_config.json": "{}\n",
  "chat_template.jinja": "{{ messages }}\n",
  "model.safetensors": randomBytes(300_000, 1),
  "pytorch_model.bin": randomBytes(1000, 3),
  "onnx/model.onnx": randomBytes(1000, 4),
  "onnx/config.json": "{}\n",
} satisfies FakeFiles;

/** Those of them that a model needs. */
export const NEEDED = [
  "chat_template.jinja",
  "config.json",
  "generation_config.json",
  "model.safetensors",
  "tokenizer.json",
  "tokenizer_config.json",
];

/** The blob of its weights. */
export const WEIGHTS = etagOf(MODEL_FILES["model.safetensors"]);

/** A Hub with `org/model`, and an empty cache. */
export class Fixture implements AsyncDisposable {
  readonly cacheDir = mkdtempSync(join(tmpdir(), "randlora-hub-"));

  private constructor(readonly hub: FakeHub) {}

  static async start(repositories: Readonly<Record<string, FakeRepository>> = {}): Promise<Fixture> {
    return new Fixture(await FakeHub.start({ "org/model": { revisions: { main: MODEL_FILES } }, ...repositories }));
  }

  settings(changes: Partial<HubSettings> = {}): HubSettings {
    return {
      endpoint: this.hub.url,
      cacheDir: this.cacheDir,
      token: undefined,
      offline: false,
      symlinks: true,
      timeoutMs: 5000,
      retryDelayMs: 1,
      ...changes,
    };
  }

  /** Names in a folder of the cache, sorted; none when there is no such folder. */
  list(...path: readonly string[]): string[] {
    try {
      return readdirSync(join(this.cacheDir, ...path)).toSorted();
    } catch {
      return [];
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hub[Symbol.asyncDispose]();
    rmSync(this.cacheDir, { recursive: true, force: true });
  }
}

/** The failure that `work` must end with. */
export async function failureOf(work: Promise<unknown>): Promise<HubFailure> {
  const thrown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (thrown instanceof HubFailure) return thrown;
  throw new Error(`expected a HubFailure, not ${String(thrown)}`, { cause: thrown });
}
