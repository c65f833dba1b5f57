#!/bin/bash
# usage: image.sh DIR: makes DIR/root.ext4, DIR/vmlinuz and DIR/initrd: a Debian with systemd as its
# first process, nothing but cgroup v2, and the kernel that clouds run. Needs root, debootstrap and
# mke2fs. What it makes depends on this file and on Debian's mirror alone.
set -euo pipefail

dir=$1
suite=bookworm
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
packages=systemd,systemd-sysv,systemd-resolved,libpam-systemd,dbus,udev,kmod,procps,iproute2,iptables,nftables,initramfs-tools,zstd,linux-image-cloud-amd64

root=$dir/root
mkdir -p "$root"
debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$mirror"

# A machine whose disk is virtio's needs no more than this to find its root.
printf '%s\n' virtio_pci virtio_blk >> "$root/etc/initramfs-tools/modules"
sed -i -e 's/^MODULES=.*/MODULES=list/' -e 's/^# *COMPRESS=.*/COMPRESS=zstd/' "$root/etc/initramfs-tools/initramfs.conf"
echo 'RESUME=none' > "$root/etc/initramfs-tools/conf.d/resume"
kernel=$(basename "$(ls -d "$root"/lib/modules/*)")
chroot "$root" update-initramfs -u -k "$kernel"
mv "$root/boot/vmlinuz-$kernel" "$dir/vmlinuz"
mv "$root/boot/initrd.img-$kernel" "$dir/initrd"

echo vm > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 vm\n' > "$root/etc/hosts"
printf '/dev/vda / ext4 defaults,noatime 0 1\nLABEL=payload /payload ext4 ro,nofail 0 0\n' > "$root/etc/fstab"
printf '[Match]\nName=en*\n\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' > "$root/etc/systemd/network/10-en.network"
mkdir -p "$root/payload" "$root/var/log/journal" # that of past boots is kept

# The tests' hand in the machine.
cat > "$root/etc/systemd/system/agent.service" <<'UNIT'
[Unit]
Description=Carries out what tests ask for
RequiresMountsFor=/payload

[Service]
ExecStart=/payload/agent
Restart=always
RestartSec=1
KillMode=process
Environment=HOME=/root PATH=/payload:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl enable agent.service systemd-networkd.service systemd-resolved.service

# What only takes room, and what would change the disk behind a test's back.
chroot "$root" systemctl disable apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
chroot "$root" systemctl mask systemd-networkd-wait-online.service getty@tty1.service
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,info,locale} "$root"/boot/*

mke2fs -q -t ext4 -L root -d "$root" -E lazy_itable_init=1 "$dir/root.ext4" 12G
rm -rf "$root"
