// Prepares the images that it is given in a thread, and prints sums of their bytes: compiled, it shows that threads are found.
import { ImagePool } from "../pool.ts";
import { parsePreprocessing } from "../preprocessing.ts";

using pool = new ImagePool(1);
const preprocessing = parsePreprocessing({ size: 14, crop_size: 14 }, "settings");
for (const file of process.argv.slice(2)) {
  const bytes = await pool.run({ source: { name: file, from: { file } }, upright: true, preprocessing });
  process.stdout.write(`${bytes.reduce((sum, value) => sum + value, 0)}\n`);
}
