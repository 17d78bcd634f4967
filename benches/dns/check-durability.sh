#!/bin/bash
# check-durability.sh [SERVER...]: how many flushes a server makes for a number
# of UPDATEs answered one after another (strace attached, rates mean nothing).
. "$(dirname "$0")/lib.sh"
build; ZF=$W/zone-$N/$ZONE.zone
for s in ${*:-dnsmesh knot bind}; do
  case $s in
  knot) KNOTCONF=knot-ddns.conf start knot 1 ;;
  bind) rm -rf "$W/bind"; mkdir -p "$W/bind"; cp "$ZF" "$W/bind/zone.db"; KEEP=1 BINDCONF=named-ddns.conf start bind 1 ;;
  *) start "$s" 1 ;;
  esac || exit 1
  "$HERE/sign-updates.py" 1 200 "$ZONE" bench.key "$SECRET" "$W/upd.bin"
  strace -f -c -e trace=fsync,fdatasync,msync,sync_file_range -o "$W/strace.txt" -p "$SRV_PID" 2>/dev/null & sp=$!
  sleep 0.5; "$W/udpgen" -B -1 -p "$PORT" -t 1 -k 1 -w 1 -l 30 -T 5 -f "$W/upd.bin" | cut -d' ' -f1-4
  kill -INT $sp; wait $sp 2>/dev/null
  echo "$s: flushes during 200 updates:"; awk 'NR>2&&$4~/^[0-9]+$/{print "   ",$NF,$4}' "$W/strace.txt"; stop
done
