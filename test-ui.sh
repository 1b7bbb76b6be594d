#!/usr/bin/env bash
# Tests the page of `distlock ui` in a browser, which it installs if it is missing. `--pictures` also takes the pictures of
# distlock-cli/README.md.
set -euo pipefail
cd "$(dirname "$0")"

install_browser() {
    local root=()
    if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null; then
        root=(sudo)
    fi
    if command -v apt-get >/dev/null; then
        "${root[@]}" apt-get update -q
        DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -q --no-install-recommends chromium chromium-driver fonts-dejavu-core
    elif command -v dnf >/dev/null; then
        "${root[@]}" dnf install -y chromium chromedriver
    else
        echo "test-ui.sh: the tests of the page need a browser and the program chromedriver:" >&2
        echo "test-ui.sh: install Chromium so that \`chromedriver --version\` works, then run ./test-ui.sh again" >&2
        exit 1
    fi
}

command -v chromedriver >/dev/null || install_browser

if [ "${1-}" = --pictures ]; then
    shift
    export DISTLOCK_PICTURES="$PWD/distlock-cli/images"
fi
# A browser takes much of the machine, so few run side by side.
cargo test -p distlock-cli --test page "$@" -- --test-threads 2
