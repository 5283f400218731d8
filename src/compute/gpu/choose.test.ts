import { describe, expect, test } from "bun:test";
import { adapterFlags, checkOpened, DRIVER_HINT, type GpuEntry, isSoftware, parseGpuList, pickGpu } from "./choose.ts";

const CARD = { name: "NVIDIA GeForce RTX 4090", backend: "vulkan", software: false };
const OTHER = { name: "NVIDIA GeForce RTX 3060", backend: "vulkan", software: false };
const LAVAPIPE = { name: "llvmpipe (LLVM 19.1.7, 256 bits)", backend: "vulkan", software: true };
const LIST: readonly GpuEntry[] = [CARD, OTHER, LAVAPIPE];

test("Dawn's text becomes a list: quotes inside names survive, what is listed twice counts once", () => {
  const text = [
    "no adapter matches",
    " * backend: 'vulkan', name: 'Bob's GPU'",
    " * backend: 'vulkan', name: 'SwiftShader Device (LLVM 10)'",
    " * backend: 'vulkan', name: 'SwiftShader Device (LLVM 10)'",
    " * backend: 'opengl', name: 'Bob's GPU'",
  ].join("\n");
  expect(parseGpuList(text)).toEqual([
    { name: "Bob's GPU", backend: "vulkan", software: false },
    { name: "SwiftShader Device (LLVM 10)", backend: "vulkan", software: true },
    { name: "Bob's GPU", backend: "opengl", software: false },
  ]);
  expect(parseGpuList("no adapters")).toEqual([]);
});

test.each([
  ["llvmpipe (LLVM 19.1.7, 256 bits)", true],
  ["Microsoft Basic Render Driver", true],
  ["SwiftShader Device", true],
  ["AMD Radeon RX 7900", false],
  ["Apple M2", false],
])("%s: software %p", (name, software) => {
  expect(isSoftware(name)).toBe(software);
});

describe("--device", () => {
  test.each([
    ["0", CARD],
    ["2", LAVAPIPE],
    ["software", LAVAPIPE],
    ["rtx 4090", CARD],
    ["rtx 3060", OTHER],
    ["LLVMpipe", LAVAPIPE],
    ["4090", CARD],
    ["3060", OTHER],
  ])("%s picks one", (choice, entry) => {
    expect(pickGpu(LIST, choice)).toBe(entry);
  });

  test.each([
    ["5080", "--device 5080: no GPU has this index, or this in its name"],
    ["3", "--device 3: no GPU has this index"],
    ["radeon", "--device radeon: no such GPU"],
  ])("%s is refused with the list", (choice, message) => {
    const hint = "there are: cpu, 0 NVIDIA GeForce RTX 4090 (vulkan), 1 NVIDIA GeForce RTX 3060 (vulkan), 2 llvmpipe";
    expect(() => pickGpu(LIST, choice)).toThrow(
      expect.objectContaining({ code: "gpu", message, hint: expect.stringContaining(hint) }),
    );
  });

  test.each(["nvidia", "rtx", "060"])("%s is refused with those that it may be", (choice) => {
    const list = [{ ...CARD, name: "NVIDIA GeForce RTX 4060" }, OTHER, LAVAPIPE];
    expect(() => pickGpu(list, choice)).toThrow(
      expect.objectContaining({
        code: "gpu",
        message: `--device ${choice}: more than one GPU has this in its name`,
        hint: "choose one of these: 0 NVIDIA GeForce RTX 4060 (vulkan), 1 NVIDIA GeForce RTX 3060 (vulkan)",
      }),
    );
  });

  test("a whole name is that card's, though another one's has more behind it", () => {
    const better = { ...CARD, name: `${CARD.name} D` };
    expect(pickGpu([better, CARD], CARD.name.toLowerCase())).toBe(CARD);
    expect(pickGpu([better, CARD], "4090 d")).toBe(better);
    expect(() => pickGpu([better, CARD], "4090")).toThrow("more than one GPU");
  });

  test("a card that was opened instead of the chosen one is named", () => {
    const better = { ...CARD, name: "NVIDIA GeForce RTX 4090 D" };
    expect(() => checkOpened([better, CARD], CARD, "nvidia-geforce-rtx-4090-d")).toThrow(
      expect.objectContaining({
        code: "gpu",
        message: `${CARD.name} (vulkan) was chosen, and the driver opened nvidia-geforce-rtx-4090-d instead`,
      }),
    );
    for (const device of ["nvidia-geforce-rtx-4090", "0x2684", "", "spelled-otherwise"]) {
      expect(() => checkOpened([better, CARD], CARD, device)).not.toThrow();
    }
    expect(() => checkOpened(LIST, LAVAPIPE, "llvmpipe-llvm-19-1-7-256-bits-")).not.toThrow();
  });

  test("without any GPU the hint is how to get one", () => {
    expect(() => pickGpu([], "0")).toThrow(expect.objectContaining({ hint: DRIVER_HINT }));
    expect(() => pickGpu(LIST.slice(0, 2), "software")).toThrow("no such GPU");
  });
});

test("a card is opened under the backend that was picked", () => {
  const list = [CARD, { ...CARD, backend: "d3d12" }];
  expect(list.map((_, index) => adapterFlags(pickGpu(list, String(index)))[0])).toEqual([
    "backend=vulkan",
    "backend=d3d12",
  ]);
});
