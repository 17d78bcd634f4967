# Shared by the scripts beside it. Everything that is written goes under $W.
# Settings (environment): W working dir, N owner names, L seconds per run,
# R runs per point, PORT, SCPU/GCPU cores for server and generator in 1x1 mode.
set -u
: "${W:=/tmp/dnsbench}" "${N:=100000}" "${L:=10}" "${R:=3}" "${PORT:=15300}" "${SCPU:=0}" "${GCPU:=1}"
: "${ZONE:=mesh.test}"
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# The program that is measured; dist/build-static says where it put it.
: "${DNSMESH:=$HERE/../../target/$(uname -m)-unknown-linux-musl/dist/dnsmesh}"
SECRET=$(printf 'benchmark-key-of-32-octets-only!' | base64)
mkdir -p "$W"
SRV_PID=
OUT=${OUT:-$W/results.tsv}

build() { for b in udpgen nulldns; do
    [ "$W/$b" -nt "$HERE/src/$b.c" ] || cc -O2 -w -pthread -o "$W/$b" "$HERE/src/$b.c" || exit 1; done; }

fill() { sed -e "s#@W@#$W#g" -e "s#@PORT@#$PORT#g" -e "s#@ZONE@#$ZONE#g" -e "s#@WORKERS@#$2#g" \
    -e "s#@ZF@#$ZF#g" -e "s#@SECRET@#${SECRET:-}#g" "$HERE/conf/$1" > "$W/$1"; }

# Settings and database of the node: everything on, but the rate limit for the generator's own address. The zone is loaded once for each
# N, and copied, so that every start finds the same.
node_settings() { local kept=$W/node-$N
    mkdir -p "$W/node"
    printf '%s\n' "zone = \"$ZONE\"" "database = \"$W/node/node.db\"" '[dns]' 'host = "127.0.0.1"' "port = $PORT" \
        'rate_exempt = ["127.0.0.1"]' "apex_ns = [\"ns1.$ZONE\"]" 'apex_a = "127.0.0.1"' '[update]' 'enabled = true' \
        '[http]' 'host = "127.0.0.1"' 'port = 0' '[log]' 'level = "WARNING"' > "$W/node.toml"
    [ -n "${KEEP_NODE:-}" ] && return 0
    rm -rf "$W/node"/*
    if ! [ -d "$kept" ]; then
        printf '%s\n' "$SECRET" > "$W/bench.secret"; chmod 600 "$W/bench.secret"
        "$DNSMESH" node load "$ZF" --ttl 86400 --config "$W/node.toml" > "$W/load.log" 2>&1 &&
            "$DNSMESH" node ctl --config "$W/node.toml" key add bench.key --scope "$ZONE" --secret-file "$W/bench.secret" > /dev/null || return 1
        mkdir "$kept" && cp "$W/node"/node.db* "$kept"
    fi
    rm -rf "$W/node"/*; cp "$kept"/* "$W/node"; sync -f "$W/node"; }

# start NAME WORKERS [PINNED-CPU]: starts the server and waits for its SOA.
start() { local name=$1 n=$2 pin=${3:-} t=; [ -n "$pin" ] && t="taskset -c $pin"
    case $name in
    nsd)  mkdir -p "$W/nsd"; fill nsd.conf "$n"; $t nsd -d -c "$W/nsd.conf" > "$W/nsd.log" 2>&1 & ;;
    knot) mkdir -p "$W/knot"; [ -n "${KEEP:-}" ] || rm -rf "$W/knot"/*; fill "${KNOTCONF:-knot.conf}" "$n"
          $t knotd -c "$W/${KNOTCONF:-knot.conf}" > "$W/knot.log" 2>&1 & ;;
    bind) mkdir -p "$W/bind"; [ -n "${KEEP:-}" ] || rm -rf "$W/bind"/*; fill "${BINDCONF:-named.conf}" "$n"
          $t named -g -n "$n" -c "$W/${BINDCONF:-named.conf}" > "$W/bind.log" 2>&1 & ;;
    null1) $t "$W/nulldns" -p "$PORT" -t "$n" -m 1 & ;;
    null64) $t "$W/nulldns" -p "$PORT" -t "$n" -m 2 -b 64 & ;;
    dnsmesh) node_settings || return 1; $t "$DNSMESH" node run --config "$W/node.toml" > "$W/dnsmesh.log" 2>&1 & ;;
    *) eval "$t ${CMD:?unknown server, set CMD} &" ;;
    esac
    SRV_PID=$!
    local i; for i in $(seq 1200); do
        case $name in null*) sleep 0.3; return 0 ;; esac
        if ready; then return 0; fi
        kill -0 "$SRV_PID" 2>/dev/null || { echo "$name died" >&2; tail -5 "$W/$name.log" >&2; return 1; }
        sleep 0.05; done
    echo "$name not ready" >&2; return 1; }
# ready: an answer for the zone's SOA.
ready() { "$HERE/probe.py" "$PORT" "$ZONE" SOA 1; }

tree() { local p; echo "$1"; for p in $(cat /proc/"$1"/task/*/children 2>/dev/null); do tree "$p"; done; }
stop() { [ -n "$SRV_PID" ] || return 0; local l; l=$(tree "$SRV_PID"); kill $l 2>/dev/null
    local i; for i in $(seq 200); do kill -0 "$SRV_PID" 2>/dev/null || break; sleep 0.05; done
    kill -9 $l 2>/dev/null; wait "$SRV_PID" 2>/dev/null; SRV_PID=; sleep 0.3; }
trap 'stop' EXIT

# CPU of the whole server tree in clock ticks: "user sys"
cpu() { local p; for p in $(tree "$SRV_PID"); do cat "/proc/$p/stat"; done 2>/dev/null |
    awk '{sub(/^.*\) /,"");u+=$12;s+=$13}END{print u+0,s+0}'; }
rss_kb() { local p; for p in $(tree "$SRV_PID"); do cat "/proc/$p/smaps_rollup"; done 2>/dev/null |
    awk '/^Pss:/{s+=$2}END{print s+0}'; }
# whole machine: "busy idle steal" ticks
mach() { awk '/^cpu /{print $2+$3+$4+$7+$8,$5+$6,$9}' /proc/stat; }
med() { sort -g | awk '{a[NR]=$1}END{if(NR)print (NR%2)?a[(NR+1)/2]:(a[NR/2]+a[NR/2+1])/2}'; }

# measure LABEL GENERATOR-COMMAND...: runs it, prints one TSV row with q/s,
# server CPU per million answers, and how busy anything else was.
measure() { local label=$1; shift; local c0 c1 m0 m1 o s0 s1
    local tmp; tmp=$(mktemp "$W/gen.XXXXXX")
    read -r u0 s0 <<< "$(cpu)"; m0=$(mach); local T0; T0=$(date +%s.%N)
    ( "$@" > "$tmp" 2>&1; awk '{sub(/^.*\) /,"");print $14+$15}' /proc/self/stat > /dev/null; times > "$tmp.t" )
    local T1; T1=$(date +%s.%N); read -r u1 s1 <<< "$(cpu)"; m1=$(mach)
    awk -v label="$label" -v u=$((u1-u0)) -v s=$((s1-s0)) -v m0="$m0" -v m1="$m1" -v T=$(echo "$T1 $T0" | awk '{print $1-$2}') -v tf="$tmp.t" '
      function sec(x,  a){split(x,a,/[ms]/);return a[1]*60+a[2]}
      BEGIN{while((getline l < tf)>0)last=l; split(last,tt," "); g=sec(tt[1])+sec(tt[2])}
      /Queries per second:|Updates per second:/{q=$NF}
      /Queries completed:|Updates completed:/{n=$3; p=$4; gsub(/[()%]/,"",p)}
      /Queries lost:|Updates lost:/{lost=$3}
      /Average Latency/{lat=$4*1e6}
      /Latency StdDev/{sd=$4*1e6}
      /Response codes:/{rc=$0; sub(/.*codes: */,"",rc)}
      /^secs=/{for(i=1;i<=NF;i++){split($i,a,"=");v[a[1]]=a[2]} q=v["qps"];n=v["rcvd"];lost=v["lost"];lat=v["p50us"];rc="NOERROR " v["noerror"] " NX " v["nxdomain"] " other " v["otherrcode"];tail="p90=" v["p90us"] " p99=" v["p99us"] " p999=" v["p999us"] " bytes=" v["avgbytes"]}
      END{split(m0,a," ");split(m1,b," ");busy=(b[1]-a[1])/100;idle=(b[2]-a[2])/100;steal=(b[3]-a[3])/100;srv=(u+s)/100
        other=busy-srv-g;
        printf "%s\tqps=%.0f\tsrvcpu_s_per_M=%.3f\tuser=%.3f\tsys=%.3f\tsrv_cores=%.2f\tgen_cores=%.2f\tother_cores=%.2f\tsteal_cores=%.2f\tlost=%d\tlat_us=%.0f\t%s\t%s\n",label,q,n?srv/n*1e6:0,n?u/100/n*1e6:0,n?s/100/n*1e6:0,srv/T,g/T,other/T,steal/T,lost,lat,tail,rc}' "$tmp" | tee -a "$OUT"
    mv "$tmp" "$W/last-gen.txt"; rm -f "$tmp.t"; }
# point LABEL GENERATOR...: repeats measure until R runs are clean, a run being
# clean when other programs and the hypervisor took less than DIRTY cores;
# rows that are not clean are kept, marked with a leading ~, and left out of medians.
: "${DIRTY:=0.12}"
point() { local label=$1 ok=0 try=0 row; shift
    while [ $ok -lt "$R" ] && [ $try -lt $((R * 4)) ]; do try=$((try + 1))
        row=$(OUT=/dev/null measure "$label" "$@")
        if echo "$row" | awk -v d="$DIRTY" '{match($0,/other_cores=[-0-9.]+/);o=substr($0,RSTART+12,RLENGTH-12);match($0,/steal_cores=[-0-9.]+/);t=substr($0,RSTART+12,RLENGTH-12);exit !(o+0<d&&t+0<d)}'
        then ok=$((ok + 1)); echo "$row" | tee -a "$OUT"
        else echo "~$row" | tee -a "$OUT"; sleep 1; fi
    done; }
# median of a field over the rows of one label
median_of() { grep -P "^\Q$1\E\t" "$OUT" | grep -oP "\b$2=\K[0-9.]+" | med; }
