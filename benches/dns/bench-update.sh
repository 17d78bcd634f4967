#!/bin/bash
# bench-update.sh [SERVER...]: RFC 2136 UPDATE signed with TSIG hmac-sha256
# over a zone of N names, journal flushed to disk before the answer.
# Points: seq1  = one client, one update outstanding, one record each
#         win64 = 64 outstanding, one record each
#         win512 = 512 outstanding, one record each
#         b50   = 50 records per update, 8 TCP connections, one outstanding on each
# qps counts UPDATE messages; b50 times 50 is records per second.
. "$(dirname "$0")/lib.sh"
ZF=$W/zone-$N/$ZONE.zone; [ -f "$ZF" ] || N=$N "$HERE/gen-zone.sh" >/dev/null
SERVERS=${*:-dnsmesh bind knot}
build
for s in $SERVERS; do
  for p in ${POINTS:-seq1 win64 b50}; do
    ok=0; try=0
    while [ $ok -lt "$R" ] && [ $try -lt $((R * 3)) ]; do try=$((try + 1))
      # a fresh server for each run, so that every record added is new
      case $s in
      knot) KNOTCONF=knot-ddns.conf start knot "${WORKERS:-1}" || exit 1 ;;
      bind) rm -rf "$W/bind"; mkdir -p "$W/bind"; cp "$ZF" "$W/bind/zone.db"; KEEP=1 BINDCONF=named-ddns.conf start bind "${WORKERS:-1}" || exit 1 ;;
      *) start "$s" "${WORKERS:-1}" || exit 1 ;;
      esac
      case $p in
      seq1)  n=${UPD:-60000}; per=1; g="$W/udpgen -B -1 -p $PORT -t 1 -k 1 -w 1 -l $L -T 5" ;;
      win64) n=${UPD:-400000}; per=1; g="$W/udpgen -B -1 -p $PORT -t 1 -k 8 -w 8 -b 8 -l $L -T 5" ;;
      win512) n=${UPD:-400000}; per=1; g="$W/udpgen -B -1 -p $PORT -t 1 -k 16 -w 32 -b 16 -l $L -T 5" ;;
      b50)   n=${UPD50:-12000}; per=50; g= ;;
      esac
      "$HERE/sign-updates.py" $per "$n" "$ZONE" bench.key "$SECRET" "$W/upd.bin" || exit 1
      if [ -n "$g" ]; then set -- $g -f "$W/upd.bin"; else set -- "$HERE/tcpgen.py" "$PORT" "$W/upd.bin" 8 "$L"; fi
      row=$(OUT=/dev/null measure "upd/$s/$p${TAG:-}" "$@")
      stop
      if echo "$row" | awk -v d="${DIRTY:-0.12}" '{match($0,/other_cores=[-0-9.]+/);exit !(substr($0,RSTART+12,RLENGTH-12)+0<d)}'
      then ok=$((ok + 1)); echo "$row" | tee -a "$OUT"; else echo "~$row" | tee -a "$OUT"; fi
    done
  done
done
