#!/bin/sh
# Boots a throw-away systemd in namespaces of its own, over a copy-on-write view
# of this machine, installs the unit as docs/OPERATIONS.md says, and watches a
# daemon that is not root start, crash, come back and stop. Changes nothing here.
#
#     systemd/boot-test.sh VIPPYD VIPPYCTL
set -eu

# Seconds for everything, the boot included.
limit=60

fail() {
    echo "systemd/boot-test.sh: $*" >&2
    exit 1
}

# Outside: starts the rest, waits for its result, ends it.
outside() {
    [ "$#" -eq 2 ] || fail "expected the paths of vippyd and vippyctl"
    [ "$(id -u)" -eq 0 ] || fail "needs root"
    [ -x /usr/lib/systemd/systemd ] || fail "no systemd (Debian package: systemd)"
    for tool in unshare ip setpriv prlimit; do
        command -v "$tool" >/dev/null || fail "$tool is missing (util-linux, iproute2)"
    done
    work=$(mktemp -d)
    VIPPYD=$(realpath "$1") VIPPYCTL=$(realpath "$2") WORK=$work SOURCE=$here \
        unshare --mount --pid --uts --ipc --net --cgroup --fork --kill-child \
        sh "$here/boot-test.sh" --inside >"$work/console" 2>&1 </dev/null &
    pid=$!
    trap 'kill -9 $pid 2>/dev/null || true; wait $pid 2>/dev/null || true; rm -rf "$work"' EXIT
    while ! grep -qs '^finished' "$work/result"; do
        limit=$((limit - 1))
        if [ "$limit" -eq 0 ] || ! kill -0 "$pid" 2>/dev/null; then
            cat "$work/console" "$work/result" >&2 || true
            fail "the test did not finish"
        fi
        sleep 1
    done
    cat "$work/result"
    grep -q '^finished: fine' "$work/result" || fail "a step failed"
}

# Inside: a root of our own, a LAN of one, then systemd takes over.
inside() {
    mount --make-rprivate /
    overlay=$WORK/overlay
    mkdir "$overlay"
    mount -t tmpfs tmpfs "$overlay"
    mkdir "$overlay/upper" "$overlay/scratch" "$overlay/root"
    root=$overlay/root
    mount -t overlay overlay \
        -o "lowerdir=/,upperdir=$overlay/upper,workdir=$overlay/scratch" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t tmpfs tmpfs "$root/tmp"
    touch "$WORK/result" "$root/result"
    mount --bind "$WORK/result" "$root/result"

    ip link set lo up
    ip link add vip0 type veth peer name vip1
    ip address add 10.88.0.1/24 dev vip0
    ip link set vip0 up
    ip link set vip1 up

    install -D -m 755 "$VIPPYD" "$root/usr/sbin/vippyd"
    install -D -m 755 "$VIPPYCTL" "$root/usr/bin/vippyctl"
    install -D -m 755 "$SOURCE/boot-test.sh" "$root/boot-test.sh"
    install -D -m 644 "$SOURCE/vippyd.service" "$root/etc/systemd/system/vippyd.service"
    for kind in sysusers.d tmpfiles.d; do
        install -D -m 644 "$SOURCE/$kind/vippy.conf" "$root/usr/lib/$kind/vippy.conf"
    done
    cat >"$root/etc/vippy.conf" <<'CONFIG'
{
  "chat": "224.1.1.1:5007", "chat_interface": "vip0",
  "secret_file": "credential:vippy.secret", "version": 1,
  "vips": [[{ "interface": "vip0", "ip": "10.88.0.101/24" }]],
  "nodes": ["node1"], "interval": 0.5, "mature": 1, "stale": 5,
  "realtime": 10,
  "management": "/var/run/vippy.socket", "logging": { "driver": "console" }
}
CONFIG
    echo "only this namespace knows it" >"$root/etc/vippy.credential"
    chmod 600 "$root/etc/vippy.credential"
    # Only what is under test is booted: no other service of this machine.
    install -d "$root/etc/systemd/system/vippyd.service.d"
    cat >"$root/etc/systemd/system/vippyd.service.d/test.conf" <<'UNIT'
[Unit]
DefaultDependencies=no
[Service]
ExecStart=
ExecStart=/usr/sbin/vippyd -c /etc/vippy.conf -n node1
LoadCredential=vippy.secret:/etc/vippy.credential
UNIT
    cat >"$root/etc/systemd/system/boot-test.service" <<'UNIT'
[Unit]
DefaultDependencies=no
Requires=systemd-journald.service
After=systemd-journald.service
[Service]
Type=oneshot
ExecStart=/bin/sh /boot-test.sh --steps
StandardOutput=append:/result
StandardError=inherit
UNIT
    # systemd mounts credentials where the service is to see them.
    mount --make-rshared "$root"
    exec chroot "$root" env container=vippy /usr/lib/systemd/systemd \
        --system --unit=boot-test.service --log-target=console --log-level=warning
}

# What must be seen, and soon.
see() {
    what=$1
    shift
    tries=100
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ "$tries" -eq 0 ]; then
            echo "not seen: $what"
            journalctl -u vippyd --no-pager -o cat || true
            echo "finished: failed"
            exit 1
        fi
        sleep 0.1
    done
    echo "seen: $what"
}

has_address() { ip -o address show dev vip0 | grep -qF 10.88.0.101/24; }
has_no_address() { ! has_address; }
holds() { vippyctl status | grep -qF '1 held here'; }
main_pid() { systemctl show vippyd -p MainPID --value; }
restarted() { [ "$(systemctl show vippyd -p NRestarts --value)" = 1 ] && holds; }
status_field() { grep -qE "^$1:[[:space:]]*$2" "/proc/$(main_pid)/status"; }
# The kernel gives such files of a process that must not be dumped to root.
keeps_its_memory() { [ "$(stat -c %u "/proc/$(main_pid)/environ")" = 0 ]; }
# Real-time priority and policy, in proc(5).
has_class() { [ "$(cut -d' ' -f40,41 "/proc/$(main_pid)/stat")" = "$1" ]; }
may() { has_class "10 2" && status_field VmLck "[1-9]"; }
may_not() { has_class "0 0" && journalctl -u vippyd | grep -q "refuses priority 10"; }
as_member() { setpriv --reuid nobody --regid vippy --clear-groups "$@"; }
not() { ! "$@"; }

# As the only service of the throw-away systemd.
steps() {
    systemd-sysusers vippy.conf
    systemd-tmpfiles --create vippy.conf
    see "the unit starts and reports ready" systemctl start vippyd
    see "it holds its group" holds
    see "the address is there" has_address
    see "it is not root" status_field Uid "$(id -u vippy)"
    see "it has two capabilities and no more" status_field CapBnd 0000000000003000
    see "it leaves no core dump" keeps_its_memory
    see "the usual path leads to the socket" test -S /var/run/vippy.socket
    see "a member of the group may look" as_member vippyctl status
    see "a member of the group may not drain" not as_member vippyctl drain
    # Where root itself may not raise the limit, the unit cannot either.
    if prlimit --rtprio=10 true 2>/dev/null; then realtime=may; else realtime=may_not; fi
    see "its loop $realtime have the real-time class" "$realtime"
    see "a reload succeeds" systemctl reload vippyd
    pid=$(main_pid)
    see "it is replaced" vippyctl restart
    see "under the same process id" test "$(main_pid)" = "$pid"
    see "the service is active" systemctl is-active vippyd
    see "that was no restart to systemd" test "$(systemctl show vippyd -p NRestarts --value)" = 0
    see "it holds its group again" holds
    see "its loop $realtime have the real-time class" "$realtime"
    kill -9 "$(main_pid)"
    see "the address outlives a kill -9" has_address
    see "the daemon is back and holds the group" restarted
    see "the crash did not remove the address" has_address
    # Finding it again moves nothing; taking it anew would.
    see "its log says that it kept it" sh -c 'journalctl -u vippyd | grep -q "found here and kept"'
    see "a stop succeeds" systemctl stop vippyd
    see "the address is gone" has_no_address
    see "the socket is gone" not test -e /var/run/vippy.socket
    see "no restart follows" not systemctl is-active vippyd
    echo "finished: fine"
}

case "${1:-}" in
--inside) inside ;;
--steps) steps ;;
*)
    here=$(cd "$(dirname "$0")" && pwd)
    outside "$@"
    ;;
esac
