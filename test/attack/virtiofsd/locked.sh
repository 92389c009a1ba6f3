# virtiofsd writes to a read-only path and reads a hidden one.
# Must: the kernel refuses it, whatever virtiofsd does.
# VM: taken
### virtiofsd
cd /home/dev/share/work
cat locked/deep/file | has host
fails sh -c 'echo evil >locked/deep/file'
fails rm -rf locked
fails grep SECRET .env
fails grep -r SECRET .
### host
cat .env locked/deep/file | has SECRET
