// `import … from "randlora"`: the library, which is in the package of this platform.
import "./needs-bun.mjs";
import { createRequire } from "node:module";
import { platformFile } from "./platform.mjs";

// Its names are written out: an import must find them before anything runs.
export const { RandloraError, chat, compare, embed, evaluate, finetune, merge, openChat, serve } = createRequire(
  import.meta.url,
)(platformFile("library/src/library/index.js"));
