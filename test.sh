#!/usr/bin/env bash
# The one test command: installs what the suite needs where it is missing, then runs the whole suite.
set -euo pipefail
cd "$(dirname "$0")"

install_redis() {
    local root=()
    if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null; then
        root=(sudo)
    fi
    if command -v apt-get >/dev/null; then
        "${root[@]}" apt-get update -q
        DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -q --no-install-recommends redis-server
    elif command -v dnf >/dev/null; then
        # Newer Fedoras have Valkey under Redis's name.
        "${root[@]}" dnf install -y redis || "${root[@]}" dnf install -y valkey-compat-redis
    elif command -v brew >/dev/null; then
        brew install redis
    else
        echo "test.sh: the suite starts its own Redis servers and needs the program redis-server:" >&2
        echo "test.sh: install Redis 6.2 or later so that \`redis-server --version\` works, then run ./test.sh again" >&2
        exit 1
    fi
}

command -v redis-server >/dev/null || install_redis

# Without --all-targets, so that documentation tests run too. Examples are built, and run by the binaries `attribute` and `web`.
cargo test --workspace --all-features "$@"
