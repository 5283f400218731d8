import { afterAll, afterEach, beforeAll, beforeEach } from "bun:test";
import { type Browser, chromium, type Locator, type Page } from "playwright-core";
import type { AdapterChoice } from "../../../adapters/merge/merged-checkpoint.ts";
import { TemporaryFolder } from "../../../files/testing/folder.ts";
import type { LanguageModel } from "../../language-model.ts";
import { loadStoriesModel, serveStories, type TestServer, type TestServerOptions, writeAdapters } from "./server.ts";

/** The chat page in a browser, opened anew for each test of a file. */
export class ChatPage {
  #browser: Browser | undefined;
  #model: LanguageModel | undefined;
  #adapters: ReadonlyMap<string, AdapterChoice> = new Map();
  #serving: TestServer | undefined;
  #page: Page | undefined;
  /** What the browser said of the page: what breaks the page's own rules (CSP) is told here, too. */
  complaints: string[] = [];

  static forTests(): ChatPage {
    const chat = new ChatPage();
    const resources = new AsyncDisposableStack();
    beforeAll(async () => {
      // First: where there is no browser, nothing else need be cleaned up.
      const browser = await openBrowser();
      chat.#browser = browser;
      resources.defer(() => browser.close());
      const folder = resources.use(await TemporaryFolder.create());
      chat.#model = resources.use(await loadStoriesModel());
      chat.#adapters = await writeAdapters(folder.path);
    }, 120_000);
    afterAll(() => resources.disposeAsync());
    beforeEach(() => chat.open());
    afterEach(() => chat.#close());
    return chat;
  }

  get page(): Page {
    if (this.#page === undefined) throw new TypeError("the page is not open");
    return this.#page;
  }

  get serving(): TestServer {
    if (this.#serving === undefined) throw new TypeError("nothing is served");
    return this.#serving;
  }

  /** Opens the page of a server that is told this beside its adapters, in the place of the one before. */
  async open(options: TestServerOptions = {}): Promise<void> {
    await this.#close();
    if (this.#browser === undefined || this.#model === undefined) throw new TypeError("there is no browser");
    this.complaints = [];
    this.#serving = serveStories(this.#model, { adapters: this.#adapters, ...options });
    const context = await this.#browser.newContext({ colorScheme: "dark" });
    const page = await context.newPage();
    this.#page = page;
    page.setDefaultTimeout(15_000);
    page.on("console", (message) => this.complaints.push(message.text()));
    page.on("pageerror", (error) => this.complaints.push(error.message));
    await page.goto(this.#serving.address);
  }

  async #close(): Promise<void> {
    await this.#page?.context().close();
    await this.#serving?.[Symbol.asyncDispose]();
    this.#page = undefined;
    this.#serving = undefined;
  }

  answers(): Locator {
    return this.page.locator("article.assistant");
  }

  log(): Locator {
    return this.page.getByRole("log");
  }

  /** Waits for the end of an answer. */
  async settle(): Promise<void> {
    await this.page.locator("#log:not([aria-busy])").waitFor();
    await this.page.getByRole("button", { name: "Send" }).waitFor();
  }

  /** Limits answers, which are decoded greedily. */
  async setLength(tokens: number): Promise<void> {
    await this.page.getByRole("button", { name: "Settings" }).click();
    await this.page.getByLabel("Longest answer").fill(String(tokens));
    await this.page.getByLabel("Temperature").fill("0");
  }
}

/** Debian's name, and those of other systems. */
const NAMES = ["chromium", "chromium-browser", "google-chrome", "chrome"];

/** A browser without a window. */
async function openBrowser(): Promise<Browser> {
  const executablePath = NAMES.map((name) => Bun.which(name)).find((path) => path !== null);
  if (executablePath === undefined) throw new Error("no Chromium on the PATH: node scripts/setup.mjs --browser");
  // As root, in a container, Chromium's own sandbox does not start; the only page is ours.
  return await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}
