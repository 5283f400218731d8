/**
 * Modules that transformers calls otherwise than checkpoints do, and than it did itself before (conversion_mapping.py;
 * DINOv2's since 5.20, routers' since 5): the name now, and the stored one.
 */
const RENAMED: Readonly<Record<string, readonly (readonly [now: string, stored: string])[]>> = {
  dinov2: [
    ["attention.q_proj", "attention.attention.query"],
    ["attention.k_proj", "attention.attention.key"],
    ["attention.v_proj", "attention.attention.value"],
    ["attention.o_proj", "attention.output.dense"],
  ],
  mixtral: [["mlp.gate", "block_sparse_moe.gate"]],
  granitemoe: [["block_sparse_moe.router", "block_sparse_moe.router.layer"]],
};

function renamedOf(modelType: string | undefined): readonly (readonly [now: string, stored: string])[] {
  return modelType !== undefined && Object.hasOwn(RENAMED, modelType) ? (RENAMED[modelType] ?? []) : [];
}

/** The checkpoint's path of a module, or of a tensor, that may be in either spelling. */
export function storedPath(path: string, modelType: string | undefined): string {
  return renamedOf(modelType).reduce((result, [now, stored]) => {
    return `.${result}.`.includes(`.${stored}.`) ? result : replaceSegments(result, now, stored);
  }, path);
}

/** transformers 5's path of a module that may be in either spelling: what adapters are written with. */
export function modulePath(path: string, modelType: string | undefined): string {
  return renamedOf(modelType).reduce((result, [now, stored]) => replaceSegments(result, stored, now), path);
}

/** transformers 5's form of a target, which is the end of a path: `query`, `attention.query` or `attention.attention.query`. */
export function targetName(target: string, modelType: string | undefined): string {
  for (const [now, stored] of renamedOf(modelType)) {
    if (target === stored || target.endsWith(`.${stored}`)) return modulePath(target, modelType);
    if (stored.endsWith(`.${target}`)) return now.slice(now.lastIndexOf(".") + 1);
  }
  return target;
}

/** Replaces `from` where it is whole segments of a dotted path. */
function replaceSegments(path: string, from: string, to: string): string {
  return `.${path}.`.replace(`.${from}.`, `.${to}.`).slice(1, -1);
}
