#!/usr/bin/env bash
# Makes sure that a Chromium is there for the browser tests: installs Debian's where it may, else says how.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
  if command -v "$name" > /dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  echo "Installing Chromium for the browser tests ..."
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium > /dev/null
  exit 0
fi
echo "The browser tests need Chromium, and this user may not install it. As root:" >&2
echo "    apt-get install chromium        (Debian; on Ubuntu: snap install chromium)" >&2
echo "Without it they are skipped here; in CI that is a failure." >&2
[ -z "${CI:-}" ]
