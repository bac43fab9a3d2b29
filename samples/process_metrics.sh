#!/bin/sh
# Hand what is new in a folder of physiology_server to a pipeline: CSV on standard output, each line once.
#
#   ./process_metrics.sh /data/staging/physiology >> values.csv
#
# Run it as often as you like, from cron for instance. It remembers how far it came in FOLDER/.process_metrics.offset,
# or in a second argument; a line that is still being written is left for the next time. Needs a POSIX shell and Python.
set -eu

folder=${1:?usage: process_metrics.sh FOLDER [OFFSET_FILE]}
state=${2:-$folder/.process_metrics.offset}
metrics=$folder/core_metrics.jsonl

[ -f "$metrics" ] || { echo "process_metrics.sh: there is no $metrics" >&2; exit 1; }
offset=$(cat "$state" 2>/dev/null || echo 0)
size=$(wc -c <"$metrics")
[ "$size" -ge "$offset" ] || offset=0   # the file was begun again

batch=$(mktemp)
trap 'rm -f "$batch"' EXIT
whole=$(tail -c "+$((offset + 1))" "$metrics" | wc -l)
tail -c "+$((offset + 1))" "$metrics" | head -n "$whole" >"$batch"

"${PYTHON:-python3}" -c '
import json, sys
for line in sys.stdin.buffer:
    try:
        envelope = json.loads(line)
        row = [envelope["timestamp"]]
        for name in ("pulse", "breathing"):
            strict = envelope["payload"].get(name, {}).get("strict", {})
            row += [strict.get("value", ""), strict.get("confidence", "")]
    except (ValueError, TypeError, KeyError, AttributeError):
        print("process_metrics.sh: left out:", line[:80], file=sys.stderr)  # it would stand in the way for ever
        continue
    print(*row, sep=",")
' <"$batch"

echo $((offset + $(wc -c <"$batch"))) >"$state"
