import { Contradiction, RandloraError } from "../../files/errors.ts";
import type { ImageClassifier } from "./classifier.ts";
import type { LoadedImageModel } from "./model.ts";
import type { ImageSet } from "../../data/images/datasets/types.ts";
import type { HeadFlags } from "./options.ts";

/** A head as it was asked for, of whichever model. */
export interface HeadChoice {
  /** No encoder of texts is needed. */
  readonly withoutText: boolean;
  /**
   * @param set the classes of a head of texts, and of one whose rows nothing names
   * @param folder of the model's tokenizer
   * @throws RandloraError as `ImageClassifier.trained` and `ImageClassifier.zeroShot`
   */
  classifierOf(
    opened: LoadedImageModel,
    set: Pick<ImageSet, "classes" | "texts">,
    folder: string,
  ): Promise<ImageClassifier>;
}

/**
 * @param dataset whose templates `openai` means
 * @throws RandloraError `usage` for flags that contradict each other; as `promptTemplates`
 */
export async function chooseHead({ head, templates }: HeadFlags, dataset: string | undefined): Promise<HeadChoice> {
  if (templates !== undefined && head !== undefined && head !== "zero-shot") {
    const cause = `--templates and --head ${head}: such a head reads no texts`;
    throw new Contradiction(["templates", "head"], cause, "leave one out");
  }
  const { ImageClassifier } = await import("./classifier.ts");
  const { promptTemplates } = await import("../../data/images/prompts.ts");
  const { loadTokenizer } = await import("../../data/text/load-tokenizer.ts");
  const prompts = await promptTemplates(templates ?? "simple", dataset);
  return {
    withoutText: head === "linear" || head === "cls",
    async classifierOf(opened, { classes, texts }, folder) {
      if (head === "zero-shot" || (head === undefined && readsTextsAlone(opened))) {
        const options = { classes, texts, templates: prompts, loadTokenizer: () => loadTokenizer(folder) };
        return await ImageClassifier.zeroShot(opened, options);
      }
      if (templates !== undefined) {
        throw new RandloraError("usage", "--templates: the head was trained", "give --head zero-shot as well");
      }
      return ImageClassifier.trained(opened, head, classes);
    },
  };
}

/** Is there no head but one of texts? */
function readsTextsAlone({ trained, model }: LoadedImageModel): boolean {
  return trained === undefined && model.text !== undefined;
}
