# The guest floods its console: journald's limit is for all units of the user.
# Must: another unit's lines are all there.
# Slow.
### root
timeout 20 sh -c 'yes "" >/dev/ttyS0' &
sleep 5
### host
for i in $(seq 30); do
	systemd-run --user --quiet --wait -p SyslogIdentifier=attack-other echo "line $i"
done
[ "$(journalctl --user --no-pager -o cat -t attack-other | sort -u | wc -l)" = 30 ]
