#!/usr/bin/env bash
# Instructions that the frames of a peer cost the end that they reach, counted by valgrind's callgrind: hostile ones beside
# honest ones. Fails where
#
#   * a frame costs more than FRAME honest frames of one byte, or a byte on the wire more than BYTE instructions; a flood
#     with which the connection ends may cost END more, and END_STREAM more for each stream that is open;
#   * a frame of a flood that goes on costs more than FLAT % of that when many streams are open, or when it is longer.
#
#     benches/hostile.sh            prints the table of benches/README.md
#     benches/hostile.sh --short    looks at shorter floods, and at fewer streams
set -euo pipefail
cd "$(dirname "$0")/.."

readonly FRAME=6 BYTE=150 END=40000 END_STREAM=1000 FLAT=120
frames=100000 few=10 many=10000 longer=1000000
[ "${1-}" != --short ] || { frames=30000 many=1000 longer=100000; }

command -v valgrind >/dev/null || { echo 'valgrind is not installed' >&2; exit 1; }
bench=$(cargo bench --locked --bench hostile --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*hostile-[^"]*\)".*/\1/p')
said=$(mktemp)
trap 'rm -f "$said"' EXIT

fail() { echo "error: $*" >&2; exit 1; }

# Sets taken and bytes, what the connection took of the flood, and cost, the instructions for that.
count() { # KIND FRAMES STREAMS
    local answer
    answer=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect='*endpoint::take*' \
        "$bench" "$@" 2>"$said") || fail "$*: $(sed -n 's/^Error: //p' "$said")"
    read -r taken bytes <<<"$answer"
    cost=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$said")
}

# Holds what was counted last against the bounds.
within_bounds() { # KIND STREAMS ENDS
    local more=0
    [ "$3" = - ] || more=$((END + $2 * END_STREAM))
    [ "$cost" -le "$((taken * FRAME * honest / 100 + more))" ] ||
        fail "$taken frames of $1 with $2 streams cost $cost instructions: more than $FRAME honest ones each"
    [ "$cost" -le "$((bytes * BYTE + more))" ] ||
        fail "$bytes bytes of $1 with $2 streams cost $cost instructions: more than $BYTE each"
}

# With two decimals, from hundredths.
decimal() { printf '%d.%02d' "$(($1 / 100))" "$(($1 % 100))"; }

# One more cell of the table: what a frame costs otherwise. It must be about the same.
flat() { # KIND FRAMES STREAMS
    count "$@"
    local now=$((cost * 100 / taken))
    [ "$now" -le "$((${a_frame[$1]} * FLAT / 100))" ] ||
        fail "$1: $((now / 100)) instructions a frame with $2 frames and $3 streams, $((${a_frame[$1]} / 100)) otherwise"
    printf ' %d |' "$((now / 100))"
}

echo "| kind | frames | a frame | a byte | to honest ones | $many streams | $longer frames | ends with |"
echo '| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |'
# In hundredths of an instruction; that of honest-1, which comes first, is what all are bounded by.
declare -A a_frame
while read -r kind like ends; do
    case $kind in
        honest-16384) count "$kind" 2000 "$few" ;;
        *) count "$kind" "$frames" "$few" ;;
    esac
    a_frame[$kind]=$((cost * 100 / taken))
    honest=${a_frame[honest-1]}
    [ "$kind" = "$like" ] || within_bounds "$kind" "$few" "$ends"
    printf '| %s | %d | %d | %s | %s |' "$kind" "$taken" "$((cost / taken))" "$(decimal "$((cost * 100 / bytes))")" \
        "$(decimal "$((a_frame[$kind] * 100 / a_frame[$like]))")"
    if [ "$ends" = - ] && [ "$like" = honest-1 ]; then
        flat "$kind" "$frames" "$many"
        flat "$kind" "$longer" "$few"
    else
        printf ' | |'
    fi
    echo " ${ends#-} |"
    # With many streams more of them have to be told of the end.
    if [ "$ends" != - ] && [ "$kind" != closed-streams ]; then
        count "$kind" "$frames" "$many"
        within_bounds "$kind" "$many" "$ends"
    fi
done < <("$bench")
