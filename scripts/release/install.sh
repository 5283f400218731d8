#!/bin/sh
# Installs randlora into ~/.local/bin (RANDLORA_INSTALL_DIR), for this user alone: fetches the archive of this platform,
# holds it to SHA256SUMS, starts what is in it, and only then puts it in the place of an older one.
set -eu
base=${RANDLORA_RELEASE_URL:-@BASE@}
folder=${RANDLORA_INSTALL_DIR:-$HOME/.local/bin}

fail() {
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

case $(uname -s) in
  Linux) os=linux ;;
  Darwin) os=darwin ;;
  *) fail "no binary for $(uname -s)" "Windows: npm install -g randlora, or the archive of the release page" ;;
esac
case $(uname -m) in
  x86_64 | amd64) cpu=x64 ;;
  aarch64 | arm64) cpu=arm64 ;;
  *) fail "no binary for $(uname -m)" "there are binaries for x86_64 and arm64" ;;
esac
if [ $os = linux ] && ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
  fail "randlora needs glibc, and this system has another C library (musl?)" "use a system with glibc, such as Debian"
fi

fetch() {
  if command -v curl >/dev/null; then curl -fsSL -o "$2" "$1"; else wget -qO "$2" "$1"; fi ||
    fail "$1: cannot be fetched" "the network, and whether this release has a binary for $os-$cpu"
}
digest() {
  if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}

mkdir -p "$folder"
# Beside the result, so that a rename can publish it.
work=$(mktemp -d "$folder/.randlora.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fetch "$base/SHA256SUMS" "$work/sums"
archive=$(sed -n "s/^[0-9a-f]\{64\}  \(randlora-.*-$os-$cpu\.tar\.gz\)\$/\1/p" "$work/sums")
[ -n "$archive" ] || fail "$base/SHA256SUMS names no binary for $os-$cpu" "see the release page for the platforms"
fetch "$base/$archive" "$work/archive"
grep -qxF "$(digest "$work/archive")  $archive" "$work/sums" ||
  fail "$archive is not the file that SHA256SUMS names" "try again; nothing was installed"
tar -xzf "$work/archive" -C "$work" --strip-components=1
version=$("$work/randlora" --version) || fail "$archive holds a binary that does not start here" "nothing was installed"
mv -f "$work/randlora" "$folder/randlora"
echo "installed randlora $version as $folder/randlora"
case :$PATH: in
  *":$folder:"*) ;;
  *) echo "hint: add it to the PATH: export PATH=\"$folder:\$PATH\"" ;;
esac
