# virtiofsd uses the capability with which the share step has mounted what protects paths.
# Must: it was dropped.
# VM: taken
### virtiofsd
grep -e CapEff -e CapPrm -e CapAmb /proc/self/status | grep -v '0000000000000000' | hasnot Cap
fails mount -t tmpfs none /tmp
fails umount /home/dev/share/work/.env
