# QEMU reports a status with escape sequences to systemd.
# Must: status and list print none.
# VM: taken
### qemu
datagram /run/user/1000/systemd/notify "$(printf 'STATUS=red \033[31m \033]0;title\007 \302\233 \342\200\256 end')" || :
### host
sleep 0.5
for verb in 'status -n0' 'list' 'status -n0 --json' 'list --json'; do
	claude-vm-ctl $verb >out
	fails grep -q -e "$(printf '\033')" -e "$(printf '\302\233')" -e "$(printf '\342\200\256')" out
done
