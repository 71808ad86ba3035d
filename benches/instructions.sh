#!/usr/bin/env bash
# Instructions that one write costs end to end: from the writer through both connections to the reader. They are counted
# (valgrind's callgrind), so they hardly change from run to run or with the machine's load.
#
#     benches/instructions.sh            prints the table of benches/README.md
#     benches/instructions.sh --check    fails where a figure is more than 2 % above what stands there
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || { echo 'valgrind is not installed' >&2; exit 1; }
bench=$(cargo bench --locked --bench instructions --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*instructions-[^"]*\)".*/\1/p')

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

# The difference of two runs: what happens once is in both.
slope() { # WRITE COUNT
    local once twice
    once=$(count "$1" "$2")
    twice=$(count "$1" "$((2 * $2))")
    echo $(((twice - once) / $2))
}

recorded() { sed -n "s/^| $1 | \([0-9]*\) |\$/\1/p" benches/README.md; }

[ "${1-}" = --check ] || printf '| bytes in a write | instructions |\n| ---: | ---: |\n'
while read -r write writes; do
    now=$(slope "$write" "$writes")
    if [ "${1-}" != --check ]; then
        echo "| $write | $now |"
        continue
    fi
    before=$(recorded "$write")
    echo "$write bytes: $now instructions, $before recorded"
    if [ "$((now * 100))" -gt "$((before * 102))" ]; then
        echo 'that is more than 2 % more' >&2
        exit 1
    fi
done <<'WRITES'
65536 400
512 20000
64 50000
WRITES
