#!/bin/bash
# bench-instr.sh [SERVER...]: user-space instructions per query, by callgrind:
# the slope between two runs that differ by 40000 queries. Deterministic within
# a percent or two, so fit for a gate in CI where wall-clock rates are not: with MOST set, more than that is a failure.
. "$(dirname "$0")/lib.sh"
: "${Q1:=20000}" "${Q2:=60000}"
N=${NI:-10000}; build; ZF=$W/zone-$N/$ZONE.zone; [ -f "$ZF" ] || N=$N "$HERE/gen-zone.sh" >/dev/null
Q=$W/zone-$N/hits.txt; while [ "$(wc -l < "$Q")" -lt "$Q2" ]; do cat "$W/zone-$N/hits.txt" >> "$W/q.tmp"; Q=$W/q.tmp; done
one() { local n=$1 s=$2 f=$W/cg.out; rm -f "$f".*
    head -n "$n" "$Q" > "$W/q.$n"
    VG="valgrind --tool=callgrind --trace-children=yes --callgrind-out-file=$f.%p"
    case $s in
    nsd) mkdir -p "$W/nsd"; fill nsd.conf 1; $VG nsd -d -c "$W/nsd.conf" >"$W/vg.log" 2>&1 & ;;
    knot) rm -rf "$W/knot"; mkdir -p "$W/knot"; fill knot.conf 1; $VG knotd -c "$W/knot.conf" >"$W/vg.log" 2>&1 & ;;
    bind) rm -rf "$W/bind"; mkdir -p "$W/bind"; fill named.conf 1; $VG named -g -n 1 -c "$W/named.conf" >"$W/vg.log" 2>&1 & ;;
    dnsmesh) node_settings || exit 1; $VG "$DNSMESH" node run --config "$W/node.toml" >"$W/vg.log" 2>&1 & ;;
    *) (n=1; eval "exec $VG $CMD") >"$W/vg.log" 2>&1 & ;;
    esac
    SRV_PID=$!; for i in $(seq 300); do ready && break; sleep 0.1; done
    "$W/udpgen" -1 -e -p "$PORT" -f "$W/q.$n" -t 1 -k 4 -w 8 -b 8 -l 120 -T 5 | grep -o 'rcvd=[0-9]*' > "$W/cg.n"
    local l; l=$(tree "$SRV_PID"); kill -TERM $l 2>/dev/null; for i in $(seq 100); do kill -0 "$SRV_PID" 2>/dev/null || break; sleep 0.1; done
    kill -9 $l 2>/dev/null; wait "$SRV_PID" 2>/dev/null; SRV_PID=
    cat "$f".* 2>/dev/null | awk '/^totals:/{t+=$2}END{printf "%.0f\n",t}'; }
for s in ${*:-dnsmesh}; do a=$(one "$Q1" "$s"); ra=$(cat "$W/cg.n"); b=$(one "$Q2" "$s"); rb=$(cat "$W/cg.n")
    echo "instr/$s ${ra#rcvd=} ${rb#rcvd=} $a $b" | awk '{printf "%s\tinstructions_per_query=%.0f\n",$1,($5-$4)/($3-$2)}' | tee -a "$OUT"
    n=$(tail -1 "$OUT" | grep -o '[0-9]*$'); [ "$n" -gt 0 ] || exit 1
    if [ "$n" -gt "${MOST:-1000000}" ]; then echo "$s: more than $MOST instructions a query" >&2; exit 1; fi; done
