# Root in the guest reads a hidden file: as it is, by a copy, a hard link, through /proc, after renaming it.
# Must: never its content.
### root
for try in 'cat .env' 'cp .env copy && cat copy' 'ln .env hard && cat hard' 'cat /proc/self/cwd/.env' 'tar c .env' 'mv .env moved; cat moved' \
	'grep -r SECRET .' 'dd if=.env' 'mount --bind . /mnt && cat /mnt/.env'; do
	sh -c "$try" 2>/dev/null | hasnot SECRET
done
umount /mnt 2>/dev/null || :
rm -f copy hard
### host
[ "$(cat .env)" = SECRET=1 ]
