#!/usr/bin/env bash
# Installs a node on a plain Debian or Ubuntu host from a file that you already have: the static program or the Debian package.
# It downloads nothing. `install.sh --help` tells the rest.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: install.sh [options] FILE            FILE is the program `dnsmesh` or a package dnsmesh_*.deb
       install.sh --uninstall [--dry-run]

Makes the user `dnsmesh`, the settings /etc/dnsmesh/node.toml with a new operator token in a file of its own, and the service
dnsmesh-node, and starts it. If FILE.sha256 lies beside FILE, the checksum in it must be right. Refuses where a node is installed
already; settings and data that an earlier one left are kept.

  --zone ZONE         the zone of the node, as mesh.example.com; without it `dnsmesh node setup` asks
  --address ADDRESS   a public address of this host; may be given twice, for IPv4 and IPv6
  --ns-name NAME      the name server as the parent zone names it [default: the zone itself]
  --acme              speak HTTPS on port 443 with a certificate that the node obtains by ACME; you agree to the terms of its CA
  --acme-contact MAIL address that the CA may write to
  --listen ADDRESS    answer on this address of the host only [default: all]
  --free-port-53      switch off the listener of systemd-resolved on port 53 without asking; the host goes on resolving names
  --yes               ask nothing else either
  --dry-run           print every step and do none
  --uninstall         stop and remove the node; settings and data stay

DMP_KEEP_SYSTEMD_RESOLVED=1 leaves systemd-resolved as it is; --listen is needed then.
TEXT
}

die() {
    printf 'install.sh: %s\n' "$1" >&2
    exit 1
}

say() { printf '%s\n' "$1"; }

# do_it COMMAND...: the one way in which this script changes anything.
do_it() {
    if [ -n "$dry_run" ]; then
        say "would run: $*"
    else
        say "+ $*"
        "$@"
    fi
}

# put TEXT FILE: writes a file of root's that everybody may read.
put() {
    if [ -n "$dry_run" ]; then
        say "would write $2"
    else
        say "+ write $2"
        mkdir -p "$(dirname "$2")"
        printf '%s' "$1" >"$2"
        chmod 0644 "$2"
    fi
}

settings=/etc/dnsmesh/node.toml
unit=/etc/systemd/system/dnsmesh-node.service
resolved=/etc/systemd/resolved.conf.d/dnsmesh-node.conf
program=/usr/local/bin/dnsmesh

file='' dry_run='' uninstall='' yes='' free_port='' zone='' listen=''
setup=()
while [ $# -gt 0 ]; do
    case "$1" in
    --acme) setup+=("$1") ;;
    --zone | --address | --ns-name | --listen | --acme-contact)
        [ $# -ge 2 ] || die "$1 needs a value"
        [ "$1" != --zone ] || zone=$2
        [ "$1" != --listen ] || listen=$2
        setup+=("$1" "$2")
        shift
        ;;
    --free-port-53) free_port=1 ;;
    --yes) yes=1 ;;
    --dry-run) dry_run=1 ;;
    --uninstall) uninstall=1 ;;
    --help | -h)
        usage
        exit 0
        ;;
    -*) die "$1 is no option; --help lists them" ;;
    *)
        [ -z "$file" ] || die "one file only"
        file=$1
        ;;
    esac
    shift
done

[ -f /etc/debian_version ] || die "this host is neither Debian nor Ubuntu; docs/operate/install.md tells how to install by hand"
[ -n "$dry_run" ] || [ "$(id -u)" = 0 ] || die "needs root"

# ask QUESTION: whether the answer is yes.
ask() {
    local answer
    [ -z "$yes" ] || return 0
    [ -t 0 ] || return 1
    read -r -p "$1 [y/N] " answer
    [ "$answer" = y ] || [ "$answer" = yes ]
}

is_package_installed() { [ "$(dpkg-query --show --showformat='${db:Status-Abbrev}' dnsmesh 2>/dev/null)" = 'ii ' ]; }

remove() {
    if is_package_installed; then
        do_it systemctl disable --now dnsmesh-node.service
        do_it dpkg --remove dnsmesh
    elif [ -e "$unit" ] || [ -e "$program" ]; then
        [ ! -e "$unit" ] || do_it systemctl disable --now dnsmesh-node.service
        do_it rm -f "$unit" "$program" "$program-node" "$program-node-admin"
        do_it systemctl daemon-reload
    else
        die "no node is installed here"
    fi
    if [ -e "$resolved" ]; then
        do_it rm -f "$resolved"
        if [ -L /etc/resolv.conf.before-dnsmesh ]; then
            do_it mv /etc/resolv.conf.before-dnsmesh /etc/resolv.conf
        fi
        do_it systemctl restart systemd-resolved.service
    fi
    say "Settings (/etc/dnsmesh), data (/var/lib/dmp) and the user dnsmesh stay. Delete them yourself when you no longer need them."
}

if [ -n "$uninstall" ]; then
    remove
    exit 0
fi

refuse_a_second_one() {
    local place
    ! is_package_installed || die "the package dnsmesh is installed: dpkg -i $file upgrades it"
    for place in /usr/bin/dnsmesh "$program" "$unit" /usr/lib/systemd/system/dnsmesh-node.service /opt/dnsmesh; do
        [ ! -e "$place" ] || die "a node is installed already ($place); docs/operate/upgrade.md tells how to upgrade or take over"
    done
}

check_file() {
    [ -n "$file" ] || die "which file? --help"
    [ -f "$file" ] || die "$file is no file"
    file=$(realpath "$file")
    if [ -f "$file.sha256" ]; then
        (cd "$(dirname "$file")" && sha256sum --quiet --check "$file.sha256") || die "$file is not what its checksum says"
        say "checksum of $file: right"
    else
        say "checksum of $file, not compared with anything: $(sha256sum "$file" | cut -d' ' -f1)"
    fi
}

# Who listens on port 53, one line each: transport, address, program.
holders() {
    ss --no-header --listening --numeric --tcp --udp --processes 'sport = :53' |
        sed -E 's/^(tcp|udp) +[A-Z]+ +[0-9]+ +[0-9]+ +([^ ]+) +[^ ]+ *(users:\(\("([^"]*)".*)?$/\1 \2 \4/'
}

free_port_53() {
    local held others
    command -v ss >/dev/null || die "ss is missing, so who holds port 53 cannot be told: apt-get install iproute2"
    held=$(holders)
    others=$(printf '%s\n' "$held" | grep -v -E ' systemd-resolve$' || true)
    if [ -n "$listen" ]; then # only what listens there, or everywhere, is in the way
        others=$(printf '%s\n' "$others" | grep -F -e " $listen:53" -e " [$listen]:53" -e ' 0.0.0.0:53' -e ' *:53' -e ' [::]:53' || true)
    fi
    if [ -n "$others" ]; then
        printf 'port 53 is held by:\n%s\n' "$others" >&2
        die "stop that program, or let it listen elsewhere, and run this again; it is not this script's to stop"
    fi
    [ -n "$held" ] || return 0
    if [ "${DMP_KEEP_SYSTEMD_RESOLVED:-}" = 1 ]; then
        [ -n "$listen" ] || die "systemd-resolved stays on 127.0.0.53:53, so the node cannot listen on all addresses: add --listen ADDRESS"
        return 0
    fi
    [ -z "$listen" ] || return 0
    say "systemd-resolved listens on 127.0.0.53:53, so the node cannot listen on port 53 of all addresses."
    say "Its listener can be switched off; it goes on resolving for this host, which then asks its resolvers itself."
    [ -n "$free_port" ] || ask "Switch it off?" || die "port 53 is not free: --free-port-53, or --listen with one address"
    put '# Made by the installer of dnsmesh-node: the node listens on port 53.
[Resolve]
DNSStubListener=no
' "$resolved"
    case "$(readlink /etc/resolv.conf || true)" in
    *stub-resolv.conf)
        do_it cp --no-dereference /etc/resolv.conf /etc/resolv.conf.before-dnsmesh
        do_it ln -sf /run/systemd/resolve/resolv.conf /etc/resolv.conf
        ;;
    esac
    do_it systemctl restart systemd-resolved.service
}

install_program() {
    local source
    source=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/dnsmesh-node.service
    [ -f "$source" ] || die "$source is missing: it belongs beside this script"
    do_it install -m 0755 "$file" "$program"
    do_it ln -sf dnsmesh "$program-node"
    do_it ln -sf dnsmesh "$program-node-admin"
    if ! getent passwd dnsmesh >/dev/null; then
        do_it useradd --system --user-group --home-dir /var/lib/dmp --shell /usr/sbin/nologin dnsmesh
    fi
    do_it install -d -m 0750 -o root -g dnsmesh /etc/dnsmesh
    do_it install -d -m 0750 -o dnsmesh -g dnsmesh /var/lib/dmp
    put "$(sed "s|=/usr/bin/dnsmesh |=$program |" "$source")
" "$unit"
}

refuse_a_second_one
check_file
free_port_53
case "$file" in
*.deb)
    do_it dpkg --force-confold --install "$file" # settings that are there stay
    program=/usr/bin/dnsmesh
    ;;
*) install_program ;;
esac

has_settings() { [ -f "$settings" ] && grep -q -E '^[^#[:space:][]' "$settings"; }
if has_settings; then
    say "$settings is there already and stays as it is"
else
    [ -z "$yes$zone" ] || setup+=(--yes)
    do_it "$program" node setup --config "$settings" "${setup[@]}"
fi
do_it systemctl daemon-reload
do_it systemctl enable --now dnsmesh-node.service
say "When the records are in the parent zone: dnsmesh node setup --verify"
