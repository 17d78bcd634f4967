#!/bin/bash
# bench-cold.sh [SERVER...]: with N names (set N=1000000), time from exec to the
# first answer for the last name of the zone, memory then. The node starts from its own database, after it has taken updates and
# was killed with SIGKILL; the others from zone text.
. "$(dirname "$0")/lib.sh"
ZF=$W/zone-$N/$ZONE.zone; [ -f "$ZF" ] || N=$N "$HERE/gen-zone.sh" >/dev/null
LAST=$(tail -1 "$W/zone-$N/hits.txt" | cut -d' ' -f1)
ready() { "$HERE/probe.py" "$PORT" "$LAST" TXT 60; }
killed() { start dnsmesh 1 || exit 1; build
  "$HERE/sign-updates.py" 1 5000 "$ZONE" bench.key "$SECRET" "$W/upd.bin"
  "$W/udpgen" -B -1 -p "$PORT" -t 1 -k 8 -w 8 -b 8 -l 10 -T 5 -f "$W/upd.bin" > /dev/null
  kill -9 "$SRV_PID"; wait "$SRV_PID" 2>/dev/null; SRV_PID=; export KEEP_NODE=1; }
for s in ${*:-dnsmesh nsd knot}; do for i in $(seq "$R"); do
  if [ "$s" = dnsmesh ]; then unset KEEP_NODE; killed; fi
  cat "$ZF" > /dev/null
  m0=$(mach); t0=$(date +%s.%N); start "$s" 1 || exit 1; t1=$(date +%s.%N); m1=$(mach)
  read -r u sy <<< "$(cpu)"; sleep 1; r=$(rss_kb)
  awk -v s="$s" -v n="$N" -v t0="$t0" -v t1="$t1" -v c=$((u+sy)) -v r="$r" -v m0="$m0" -v m1="$m1" 'BEGIN{split(m0,a," ");split(m1,b," ");printf "cold/%s/%d\tseconds=%.2f\tcpu_s=%.2f\tother_cores=%.2f\tpss_MiB=%.0f\tbytes_per_name=%.0f\n",s,n,t1-t0,c/100,((b[1]-a[1])-c)/100/(t1-t0),r/1024,r*1024/n}' | tee -a "$OUT"
  stop; done; done
