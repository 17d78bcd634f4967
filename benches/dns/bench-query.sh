#!/bin/bash
# bench-query.sh [SERVER...]: dnsmesh nsd knot bind null1 null64, or any name with CMD
# set to the command that starts it on $PORT.
# Layouts: 1x1 = one worker pinned to core SCPU, generator pinned to GCPU;
#          2w  = two workers and a two-thread generator, the scheduler decides.
. "$(dirname "$0")/lib.sh"
build; ZF=$W/zone-$N/$ZONE.zone; [ -f "$ZF" ] || N=$N "$HERE/gen-zone.sh" >/dev/null
Q=$W/zone-$N/${QLIST:-hits}.txt; T=${QLIST:-hits}
for s in ${*:-null64 dnsmesh nsd knot}; do
  for lay in ${LAYOUTS:-1x1 2w}; do
    if [ $lay = 1x1 ]; then start "$s" 1 "$SCPU" || continue; pin="taskset -c $GCPU"; g=1; else start "$s" 2 || continue; pin=; g=2; fi
    echo "# $s $lay rss(Pss)=$(rss_kb) kB"
    for gen in ${GENS:-udpgen dnsperf}; do
      case $gen in
      udpgen)  point "$s/$lay/$T/udpgen" $pin "$W/udpgen" -p "$PORT" -f "$Q" -e -t $g -k ${SOCKS:-16} -w ${WIN:-16} -b 16 -l "$L" ;;
      dnsperf) point "$s/$lay/$T/dnsperf" $pin dnsperf -s 127.0.0.1 -p "$PORT" -d "$Q" -e -c $((10*g)) -T $g -q $((128*g)) -l "$L" -t 1 ;;
      rate*)   point "$s/$lay/$T/$gen" $pin "$W/udpgen" -p "$PORT" -f "$Q" -e -t 1 -k 64 -l "$L" -r "${gen#rate}" ;;
      esac
    done
    stop
  done
done
