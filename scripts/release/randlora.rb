class Randlora < Formula
  desc "Fine-tune, merge and chat with RandLoRA-adapted language models"
  homepage "https://github.com/@REPOSITORY@"
  version "@VERSION@"
  license "Apache-2.0"

  on_macos do
    on_arm do
      url "@BASE@/randlora-@VERSION@-darwin-arm64.tar.gz"
      sha256 "@darwin-arm64@"
    end
    on_intel do
      url "@BASE@/randlora-@VERSION@-darwin-x64.tar.gz"
      sha256 "@darwin-x64@"
    end
  end

  on_linux do
    on_arm do
      url "@BASE@/randlora-@VERSION@-linux-arm64.tar.gz"
      sha256 "@linux-arm64@"
    end
    on_intel do
      url "@BASE@/randlora-@VERSION@-linux-x64.tar.gz"
      sha256 "@linux-x64@"
    end
  end

  def install
    bin.install "randlora"
    generate_completions_from_executable(bin/"randlora", "completion")
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/randlora --version")
  end
end
