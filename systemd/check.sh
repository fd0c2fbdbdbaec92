#!/bin/sh
# Checks the unit, user and directories as systemd itself reads them, in a
# throw-away root: nothing on this machine is changed. Fails where systemd's
# tools are missing.
set -eu

# The worst exposure accepted from `systemd-analyze security`, times ten.
threshold=22

here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

fail() {
    echo "systemd/check.sh: $*" >&2
    exit 1
}

for tool in systemd-analyze systemd-sysusers systemd-tmpfiles; do
    command -v "$tool" >/dev/null || fail "$tool is missing (Debian package: systemd)"
done

# The unit's commands must exist for `verify`; what they do does not matter.
mkdir -p "$root/etc" "$root/run" "$root/usr/sbin" "$root/bin" "$root/usr/lib"
for command in usr/sbin/vippyd bin/sh bin/kill; do
    printf '#!/bin/sh\n' >"$root/$command"
    chmod 755 "$root/$command"
done
for kind in sysusers.d tmpfiles.d; do
    install -D -m 644 "$here/$kind/vippy.conf" "$root/usr/lib/$kind/vippy.conf"
done
install -D -m 644 "$here/vippyd.service" "$root/usr/lib/systemd/system/vippyd.service"
# The targets that every unit refers to.
for target in sysinit basic shutdown network multi-user; do
    printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$target" \
        >"$root/usr/lib/systemd/system/$target.target"
done

# The lines about credentials as an administrator would use them.
mkdir -p "$root/usr/lib/systemd/system/vippyd.service.d"
{
    echo '[Service]'
    sed -n 's/^#\(LoadCredential.*\)/\1/p' "$here/vippyd.service"
} >"$root/usr/lib/systemd/system/vippyd.service.d/credential.conf"
[ "$(wc -l <"$root/usr/lib/systemd/system/vippyd.service.d/credential.conf")" -eq 3 ] ||
    fail "the unit's examples of credentials are not found"

said=$(systemd-analyze verify --root="$root" --man=no vippyd.service 2>&1) || fail "verify: $said"
[ -z "$said" ] || fail "verify: $said"

systemd-analyze security --offline=yes --root="$root" --threshold="$threshold" --no-pager \
    vippyd.service >"$root/security" || {
    cat "$root/security" >&2
    fail "the unit is more exposed than $threshold"
}
tail -n 1 "$root/security"

if [ "$(id -u)" -ne 0 ]; then
    fail "the checks of users and directories need root"
fi
printf 'secret\n' >"$root/etc/vippy.conf"
printf 'secret\n' >"$root/etc/vippy.secret"
systemd-sysusers --root="$root" vippy.conf >/dev/null
grep -q '^vippy:.*:/var/lib/vippy:/usr/sbin/nologin$' "$root/etc/passwd" || fail "no user vippy"
systemd-tmpfiles --root="$root" --create vippy.conf
user=$(awk -F: '$1 == "vippy" { print $3 }' "$root/etc/passwd")
group=$(awk -F: '$1 == "vippy" { print $3 }' "$root/etc/group")
found=$(stat -c '%a %u %g' "$root/run/vippy")
[ "$found" = "755 $user $group" ] || fail "/run/vippy: found $found, expected 755 $user $group"
for file in /etc/vippy.conf /etc/vippy.secret; do
    found=$(stat -c '%a %u %g' "$root$file")
    [ "$found" = "640 0 $group" ] || fail "$file: found $found, expected 640 0 $group"
done
found=$(readlink "$root/run/vippy.socket")
[ "$found" = vippy/vippy.socket ] || fail "/run/vippy.socket: found a link to $found"
echo "systemd: unit, user and directories are fine"
