#!/usr/bin/env bash
# Makes sure that what tests need of the system is there, a Chromium for the browser's and WordNet for METEOR's:
# installs Debian's packages where it may, else says how.
set -euo pipefail
missing=()
if ! command -v chromium chromium-browser google-chrome > /dev/null; then missing+=(chromium); fi
if [ ! -e "${WNSEARCHDIR:-/usr/share/wordnet}/data.noun" ]; then missing+=(wordnet-base); fi
if [ ${#missing[@]} = 0 ]; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  echo "Installing ${missing[*]} for the tests ..."
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" > /dev/null
  exit 0
fi
echo "The tests need ${missing[*]}, and this user may not install it. As root:" >&2
echo "    apt-get install ${missing[*]}        (Debian; Chromium on Ubuntu: snap install chromium)" >&2
echo "Without it their tests are skipped here; in CI that is a failure." >&2
[ -z "${CI:-}" ]
