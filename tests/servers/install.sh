#!/usr/bin/env bash
# Run a pip command and show how far it is: one line that changes in a terminal, a line now and then in a log.
# install.sh LOG COMMAND...   Prints the end of the log and returns pip's exit code if pip fails.
log=$1
shift
"$@" > "$log" 2>&1 &
pid=$!
trap 'kill $pid 2>/dev/null' INT TERM
said="" seconds=0
while kill -0 $pid 2>/dev/null; do
  collected=$(grep -c '^ *Collecting ' "$log")
  name=$(grep -E '^ *(Collecting|Downloading) ' "$log" | tail -n 1 | awk '{print $2}' | sed 's/[=<>!~;[].*//; s/-[0-9].*//')
  now="  $collected packages found${name:+, the last one $name}"
  if grep -q '^Installing collected packages' "$log"; then
    now="  installing $(grep '^Installing collected packages' "$log" | tr , '\n' | wc -l) packages: the longest step"
  fi
  if [ -t 1 ]; then
    printf '\r\033[K%s (%s s)' "$now" $seconds
  elif [ "$now" != "$said" ] && [ $((seconds % 5)) -eq 0 ]; then
    echo "$now"
    said=$now
  fi
  sleep 1
  seconds=$((seconds + 1))
done
[ -t 1 ] && printf '\r\033[K'
wait $pid
code=$?
[ $code -eq 0 ] || tail -n 20 "$log" >&2
exit $code
